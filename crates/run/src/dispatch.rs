//! The loop that sends what is due, takes what happens, and never waits longer than it was told to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use sagellm_core::{
    Backend, Clock, Event, EventSink, Exit, Failure, Nanos, OutcomeKind, Prepared, Record, RecordBuilder, Stamp,
};

use crate::flights::{Flights, Landing};
use crate::{Observer, RunError};

/// The stop flag is looked at this often at least.
const POLL: Nanos = 50_000_000;
/// A sleep may end this much late, so the last stretch before a due time is spent spinning: on an idle Linux a sleep
/// ends 0.1 ms late in the median and 0.18 ms at the 99th percentile. A longer spin would take the core from an engine
/// in the same process.
const SPIN: Nanos = 200_000;
/// What runs gets this long to finish when the run is stopped or the backend is gone.
const DRAIN: Nanos = 1_000_000_000;
/// A cancelled request keeps its slot this long at most while the backend does not confirm.
const GRACE: Nanos = 2_000_000_000;

/// What stays the same for the phases of a workload.
pub(crate) struct Dispatch<'a> {
    pub(crate) backend: &'a dyn Backend,
    pub(crate) clock: Clock,
    pub(crate) stamp: Stamp,
    pub(crate) timeout: Duration,
    pub(crate) stop: &'a AtomicBool,
}

/// A run of requests: the warm-up, or the measured ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) warmup: bool,
    /// Offsets count from here.
    pub(crate) start: Nanos,
    /// Requests in flight at most.
    pub(crate) cap: Option<usize>,
    /// Whether a request is scheduled by its slot becoming free and not by its offset.
    pub(crate) closed_loop: bool,
}

/// How a phase ended.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) interrupted: bool,
    pub(crate) gone: Option<Failure>,
}

/// Receives each record as its request ends.
pub(crate) type Keep<'k> = &'k mut dyn FnMut(Record, &mut dyn Observer) -> Result<(), RunError>;

impl Dispatch<'_> {
    /// Sends the requests and returns when each of them has its record.
    pub(crate) fn run(
        &self,
        requests: &[Prepared],
        phase: Phase,
        observer: &mut dyn Observer,
        keep: Keep<'_>,
    ) -> Result<Ending, RunError> {
        let mut turn = Turn::new(self, requests, phase);
        let result = turn.until_over(observer, keep);
        if result.is_err() {
            turn.flights.running().into_iter().for_each(|id| self.backend.cancel(id));
        }
        result.map(|()| turn.ending)
    }

    /// Records the requests of a phase that cannot begin, because the backend is gone.
    pub(crate) fn give_up(
        &self,
        requests: &[Prepared],
        phase: Phase,
        failure: Failure,
        observer: &mut dyn Observer,
        keep: Keep<'_>,
    ) -> Result<Ending, RunError> {
        let mut turn = Turn::new(self, requests, phase);
        turn.lose_backend(failure);
        turn.until_over(observer, keep)?;
        Ok(turn.ending)
    }
}

/// The state of one phase.
struct Turn<'a> {
    dispatch: &'a Dispatch<'a>,
    phase: Phase,
    requests: &'a [Prepared],
    /// Index of the first request that was not handed over.
    next: usize,
    flights: Flights,
    /// Since when slots are free, oldest first (closed loop only).
    freed: VecDeque<Nanos>,
    /// Records of requests that ended since the last look.
    over: Vec<Record>,
    /// When the drain ends and what still runs is cut off.
    cut_at: Option<Nanos>,
    ending: Ending,
    /// Given up after the last request, so that a backend that lets go of everything closes the channel.
    sink: Option<EventSink>,
    events: Receiver<Event>,
}

enum Wake {
    Event(Event),
    Time,
    BackendLetGo,
}

impl<'a> Turn<'a> {
    fn new(dispatch: &'a Dispatch<'a>, requests: &'a [Prepared], phase: Phase) -> Self {
        let (sink, events) = mpsc::channel();
        Self {
            dispatch,
            phase,
            requests,
            next: 0,
            flights: Flights::new(),
            freed: VecDeque::new(),
            over: Vec::new(),
            cut_at: None,
            ending: Ending::default(),
            sink: Some(sink),
            events,
        }
    }

    fn until_over(&mut self, observer: &mut dyn Observer, keep: Keep<'_>) -> Result<(), RunError> {
        loop {
            self.heed_stop();
            self.send_due();
            // After sending, so that neither the disk nor the terminal makes a due request late.
            for record in self.over.drain(..) {
                keep(record, observer)?;
            }
            if self.next == self.requests.len() {
                self.sink = None;
                if self.flights.is_empty() {
                    return Ok(());
                }
            }
            match self.wait() {
                Wake::Event(event) => self.take(&event, observer),
                Wake::Time => {}
                Wake::BackendLetGo => self.backend_let_go(),
            }
            self.expire(observer);
        }
    }

    fn now(&self) -> Nanos {
        self.dispatch.clock.now()
    }

    fn slot_free(&self) -> bool {
        self.phase.cap.is_none_or(|cap| self.flights.len() < cap)
    }

    /// When the next request is due, if one is left and has a slot.
    fn next_due(&self) -> Option<Nanos> {
        let request = self.requests.get(self.next)?;
        self.slot_free().then(|| self.phase.start.saturating_add(request.offset_ns))
    }

    fn send_due(&mut self) {
        while self.next_due().is_some_and(|due| due <= self.now()) {
            let Some(sink) = &self.sink else { return };
            let request = &self.requests[self.next];
            let in_first_round = self.phase.cap.is_none_or(|cap| self.next < cap);
            let freed = if self.phase.closed_loop && !in_first_round { self.freed.pop_front() } else { None };
            let scheduled = freed.unwrap_or(self.phase.start.saturating_add(request.offset_ns));
            let record = RecordBuilder::new(request, scheduled, self.phase.warmup, self.dispatch.stamp);
            self.flights.insert(request.id, record, self.now().saturating_add(self.timeout()));
            if let Err(failure) = self.dispatch.backend.submit(Arc::clone(request), sink) {
                self.flights.withdraw(request.id);
                self.lose_backend(failure);
                return;
            }
            self.next += 1;
        }
    }

    /// Waits for an event, but no longer than until something is to be done.
    fn wait(&self) -> Wake {
        let now = self.now();
        let mut wake = self.flights.earliest_deadline().min(now + POLL).min(self.cut_at.unwrap_or(Nanos::MAX));
        if let Some(due) = self.next_due()
            && due < wake + SPIN
        {
            if due <= now + SPIN {
                return self.spin(due);
            }
            wake = due - SPIN;
        }
        match self.events.recv_timeout(Duration::from_nanos(wake.saturating_sub(now))) {
            Ok(event) => Wake::Event(event),
            Err(RecvTimeoutError::Timeout) => Wake::Time,
            Err(RecvTimeoutError::Disconnected) => Wake::BackendLetGo,
        }
    }

    /// The last stretch before a due time. An event that is already there is taken first: at high rates there would be
    /// no other time for it.
    fn spin(&self, due: Nanos) -> Wake {
        if let Ok(event) = self.events.try_recv() {
            return Wake::Event(event);
        }
        while self.now() < due {
            std::hint::spin_loop();
        }
        Wake::Time
    }

    fn take(&mut self, event: &Event, observer: &mut dyn Observer) {
        if self.flights.is_running(event.request) {
            observer.on_event(event, self.phase.warmup);
        }
        match self.flights.apply(event, self.timeout()) {
            Some(Landing::Ended { record, freed_at }) => {
                self.over.push(*record);
                self.free(freed_at);
            }
            Some(Landing::Freed { freed_at }) => self.free(freed_at),
            None => {}
        }
    }

    fn free(&mut self, at: Nanos) {
        if self.phase.closed_loop {
            self.freed.push_back(at);
        }
    }

    fn timeout(&self) -> Nanos {
        u64::try_from(self.dispatch.timeout.as_nanos()).unwrap_or(Nanos::MAX)
    }

    /// Cuts off what is over its limit.
    fn expire(&mut self, observer: &mut dyn Observer) {
        if self.now() < self.flights.earliest_deadline() {
            return;
        }
        // What came in time but was not looked at yet must not be taken for late.
        while let Ok(event) = self.events.try_recv() {
            self.take(&event, observer);
        }
        let now = self.now();
        let (late, dropped) = self.flights.expire(now);
        (0..dropped).for_each(|_| self.free(now));
        if !late.is_empty() {
            let reason = format!("no complete answer within {} s", self.dispatch.timeout.as_secs_f64());
            self.cut(&late, OutcomeKind::Timeout, &reason);
        }
    }

    /// Cancels running requests and closes their records.
    fn cut(&mut self, ids: &[u64], outcome: OutcomeKind, reason: &str) {
        for &id in ids {
            self.dispatch.backend.cancel(id);
            let now = self.now();
            self.over.extend(self.flights.close(id, now, outcome, reason, now.saturating_add(GRACE)));
        }
    }

    fn heed_stop(&mut self) {
        if !self.ending.interrupted && self.dispatch.stop.load(Ordering::Relaxed) {
            self.ending.interrupted = true;
            self.drop_unsent(OutcomeKind::NotSent, "the run was interrupted before it could be sent");
            self.cut_at.get_or_insert(self.now().saturating_add(DRAIN));
        }
        if self.cut_at.is_some_and(|at| at <= self.now()) {
            self.cut_at = None;
            let running = self.flights.running();
            match &self.ending.gone {
                Some(failure) => {
                    let reason = format!("the backend is gone: {failure}");
                    self.cut(&running, OutcomeKind::ServerError, &reason);
                }
                None => self.cut(&running, OutcomeKind::Censored, "still running when the run was interrupted"),
            }
        }
    }

    /// Nothing more can be sent.
    fn lose_backend(&mut self, failure: Failure) {
        self.drop_unsent(OutcomeKind::Connection, &format!("not sent, because the backend is gone: {failure}"));
        self.cut_at.get_or_insert(self.now().saturating_add(DRAIN));
        self.ending.gone = Some(failure);
    }

    /// The channel is closed: no event will come for what still runs.
    fn backend_let_go(&mut self) {
        let running = self.flights.running();
        if !running.is_empty() {
            let reason = "the backend let go of the request without ending it";
            self.cut(&running, OutcomeKind::ServerError, reason);
            let message = format!("the backend let go of {} requests without ending them", running.len());
            self.ending.gone.get_or_insert(Failure::new(Exit::Backend, message));
        }
        self.flights.forget_cancelled();
    }

    /// Records what was never handed over.
    fn drop_unsent(&mut self, outcome: OutcomeKind, reason: &str) {
        let now = self.now();
        for request in &self.requests[self.next..] {
            let scheduled = self.phase.start.saturating_add(request.offset_ns);
            let mut record = RecordBuilder::new(request, scheduled, self.phase.warmup, self.dispatch.stamp);
            record.close(now, outcome, reason);
            self.over.push(record.finish());
        }
        self.next = self.requests.len();
    }
}
