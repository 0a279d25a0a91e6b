//! The loop that sends what is due, takes what happens, and never waits longer than it was told to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use sagellm_core::{
    Backend, Clock, Event, EventKind, EventSink, Events, Exit, Failure, Nanos, OutcomeKind, OutputText, Prepared,
    Record, RecordBuilder, Request, Stamp, event_channel,
};

use crate::Observer;
use crate::conversation::Conversations;
use crate::flights::{Flights, Landing};
use crate::stalls::StallWatch;
use crate::supply::Supply;

/// The stop flag is looked at this often at least.
const POLL: Nanos = 50_000_000;
/// A sleep may end this much late, so the last stretch before a due time is spent spinning: on an idle Linux a sleep
/// ends 0.1 ms late in the median and 0.18 ms at the 99th percentile. A longer spin would take the core from an engine
/// in the same process.
const SPIN: Nanos = 200_000;
/// What runs gets this long to finish when the run is stopped or the backend is gone.
const DRAIN: Nanos = 1_000_000_000;
/// The plan is looked at this often while it is read more slowly than it is sent.
const BEHIND: Nanos = 1_000_000;
/// Events that are taken before the clock is looked at again: some ten microseconds of work.
const AT_ONCE: usize = 32;
/// Requests that are dropped before the records of the dropped ones are written.
const DROPPED_AT_ONCE: usize = 256;
/// A cancelled request keeps its slot this long at most while the backend does not confirm.
const GRACE: Nanos = 2_000_000_000;

/// What stays the same for the phases of a workload.
pub(crate) struct Dispatch<'a> {
    pub(crate) backend: &'a dyn Backend,
    pub(crate) clock: Clock,
    pub(crate) stamp: Stamp,
    pub(crate) timeout: Duration,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) hurry: &'a AtomicBool,
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
    /// When nothing more is sent, and how long what runs then may go on.
    pub(crate) until: Option<(Nanos, Nanos)>,
}

/// How a phase ended.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) interrupted: bool,
    pub(crate) gone: Option<Failure>,
    /// Requests that the end of the duration kept from being sent. They have no record.
    pub(crate) unsent: u64,
    /// Whether records could not be kept, so that going on was of no use.
    pub(crate) unkept: bool,
}

/// A finished request, with its text where that is still to be counted.
pub(crate) type Finished = (Record, Option<OutputText>);

/// Receives each record as its request ends; false when it cannot be kept.
pub(crate) type Keep<'k> = &'k mut dyn FnMut(Finished, &mut dyn Observer) -> bool;

impl Dispatch<'_> {
    /// Sends the requests and returns when each of them has its record.
    pub(crate) fn run(
        &self,
        requests: Supply,
        phase: Phase,
        stalls: &mut StallWatch,
        observer: &mut dyn Observer,
        keep: Keep<'_>,
    ) -> Ending {
        let mut turn = Turn::new(self, requests, phase, stalls);
        turn.until_over(observer, keep);
        if turn.ending.unkept {
            turn.flights.running().into_iter().for_each(|id| self.backend.cancel(id));
        }
        turn.ending
    }

    /// Records the requests of a phase that cannot begin, because the backend is gone.
    pub(crate) fn give_up(
        &self,
        requests: Supply,
        phase: Phase,
        failure: Failure,
        stalls: &mut StallWatch,
        observer: &mut dyn Observer,
        keep: Keep<'_>,
    ) -> Ending {
        let mut turn = Turn::new(self, requests, phase, stalls);
        turn.lose_backend(failure);
        turn.until_over(observer, keep);
        turn.ending
    }
}

/// The state of one phase.
struct Turn<'a> {
    dispatch: &'a Dispatch<'a>,
    stalls: &'a mut StallWatch,
    /// When the last wait ended.
    woke: Nanos,
    /// How long before it is due a request is handed over.
    lead: Nanos,
    phase: Phase,
    supply: Supply,
    /// Conversations that were begun; a single request is one, too.
    begun: usize,
    conversations: Conversations,
    flights: Flights,
    /// Since when slots are free, oldest first (closed loop only).
    freed: VecDeque<Nanos>,
    /// Records of requests that ended since the last look.
    over: VecDeque<Finished>,
    /// What becomes of the requests that were not sent, once no more are sent.
    stopped: Option<Unsent>,
    /// When the drain ends and what still runs is cut off.
    cut_at: Option<Nanos>,
    ending: Ending,
    /// Given up after the last request, so that a backend that lets go of everything closes the channel.
    sink: Option<EventSink>,
    events: Events,
}

/// Why requests are not sent.
#[derive(Clone)]
enum Unsent {
    /// They have a record that says so.
    Recorded(OutcomeKind, String),
    /// The duration is over before their turn came: they are counted.
    Counted,
    /// So are those that would have been due after this; those that were due before have a record.
    After(Nanos),
}

enum Wake {
    Event(Event),
    Time,
    BackendLetGo,
}

impl<'a> Turn<'a> {
    fn new(dispatch: &'a Dispatch<'a>, supply: Supply, phase: Phase, stalls: &'a mut StallWatch) -> Self {
        let (sink, events) = event_channel();
        Self {
            dispatch,
            stalls,
            woke: dispatch.clock.now(),
            lead: dispatch.backend.lead(),
            phase,
            supply,
            begun: 0,
            conversations: Conversations::default(),
            flights: Flights::new(),
            freed: VecDeque::new(),
            over: VecDeque::new(),
            stopped: None,
            cut_at: None,
            ending: Ending::default(),
            sink: Some(sink),
            events,
        }
    }

    fn until_over(&mut self, observer: &mut dyn Observer, keep: Keep<'_>) {
        loop {
            self.heed_stop();
            self.heed_deadline();
            self.drop_some();
            // In turns, so that neither the disk nor the terminal makes a due request late.
            loop {
                self.send_due();
                let Some(finished) = self.over.pop_front() else { break };
                if !keep(finished, observer) {
                    self.ending.unkept = true;
                    return;
                }
            }
            if self.nothing_to_send() {
                self.sink = None;
                if self.flights.is_empty() {
                    return;
                }
            }
            match self.wait() {
                Wake::Event(event) => {
                    self.take(event, observer);
                    for _ in 1..AT_ONCE {
                        let Some(event) = self.events.try_next() else { break };
                        self.take(event, observer);
                    }
                }
                Wake::Time => {}
                Wake::BackendLetGo => self.backend_let_go(),
            }
            self.expire(observer);
        }
    }

    fn now(&self) -> Nanos {
        self.dispatch.clock.now()
    }

    /// Whether every request has been sent, or never will be.
    fn nothing_to_send(&mut self) -> bool {
        if !self.conversations.is_empty() {
            return false;
        }
        match self.supply.over() {
            None => false,
            Some(Ok(())) => true,
            Some(Err(failure)) => {
                if self.ending.gone.is_none() {
                    self.ending.gone = Some(failure);
                }
                true
            }
        }
    }

    fn slot_free(&self) -> bool {
        // Who thinks about the next turn keeps the slot.
        self.phase.cap.is_none_or(|cap| self.flights.len() + self.conversations.waiting() < cap)
    }

    /// When the next request is due, if one is left and has a slot.
    fn next_due(&mut self) -> Option<Nanos> {
        if self.stopped.is_some() {
            return None;
        }
        let begin = if self.slot_free() { self.begin_due() } else { None };
        let go_on = self.conversations.next_due();
        begin.into_iter().chain(go_on).min()
    }

    /// When the next conversation is due by its offset.
    fn begin_due(&mut self) -> Option<Nanos> {
        let start = self.phase.start;
        self.supply.peek().map(|next| start.saturating_add(next.first.offset_ns))
    }

    /// Hands over what is due, or will be within the backend's lead.
    fn send_due(&mut self) {
        while self.stopped.is_none() {
            let now = self.now();
            // What is due after the duration is not sent, not even a moment before its end.
            let last = self.phase.until.map_or(Nanos::MAX, |(deadline, _)| deadline.saturating_sub(1));
            let horizon = now.saturating_add(self.lead).min(last).max(now);
            let sent = if self.conversations.next_due().is_some_and(|due| due <= horizon) {
                self.conversations.next().map(|(request, due)| self.send(request, due))
            } else if self.slot_free() && self.begin_due().is_some_and(|due| due <= horizon) {
                self.begin_next()
            } else {
                None
            };
            if sent != Some(true) {
                return;
            }
        }
    }

    /// Sends the next request of the plan. `false` when the backend is gone.
    fn begin_next(&mut self) -> Option<bool> {
        let next = self.supply.next()?;
        let in_first_round = self.phase.cap.is_none_or(|cap| self.begun < cap);
        let freed = if self.phase.closed_loop && !in_first_round { self.freed.pop_front() } else { None };
        let scheduled = freed.unwrap_or(self.phase.start.saturating_add(next.first.offset_ns));
        self.begun += 1;
        self.conversations.begin(&next.first, next.later);
        Some(self.send(next.first, scheduled))
    }

    /// Hands a request over. `false` when the backend is gone.
    fn send(&mut self, request: Prepared, scheduled: Nanos) -> bool {
        let Some(sink) = &self.sink else { return false };
        let record = RecordBuilder::new(&request, scheduled, self.phase.warmup, self.dispatch.stamp);
        self.flights.insert(request.id, record, self.now().max(scheduled).saturating_add(self.timeout()));
        let id = request.id;
        let Err(failure) = self.dispatch.backend.submit_at(request, scheduled, sink) else { return true };
        if let Some(mut record) = self.flights.withdraw(id) {
            record.close(self.now(), blamed(&failure, OutcomeKind::Connection), unsent_because(&failure));
            self.over.push_back((record.finish(), None));
        }
        self.lose_backend(failure);
        false
    }

    /// Waits for an event, but no longer than until something is to be done.
    fn wait(&mut self) -> Wake {
        let now = self.now();
        self.stalls.note(self.woke, now);
        let mut wake = self.flights.earliest_deadline().min(now + POLL).min(self.cut_at.unwrap_or(Nanos::MAX));
        if self.supply.over().is_none() {
            if self.supply.peek().is_none() {
                wake = wake.min(now + BEHIND);
            } else if self.stopped.is_some() {
                wake = now;
            }
        }
        if let Some((deadline, _)) = self.phase.until {
            wake = wake.min(deadline.max(now));
        }
        if let Some(due) = self.next_due() {
            // A backend with a lead does the waiting of the last stretch itself.
            let ahead = if self.lead > 0 { self.lead } else { SPIN };
            if self.lead == 0 && due <= now + SPIN {
                return self.spin(due);
            }
            wake = wake.min(due.saturating_sub(ahead)).max(now);
        }
        let waited = self.events.next_within(Duration::from_nanos(wake.saturating_sub(now)));
        self.woke = self.now();
        self.stalls.note(wake, self.woke);
        match waited {
            Ok(event) => Wake::Event(event),
            Err(RecvTimeoutError::Timeout) => Wake::Time,
            Err(RecvTimeoutError::Disconnected) => Wake::BackendLetGo,
        }
    }

    /// The last stretch before a due time. An event that is already there is taken first: at high rates there would be
    /// no other time for it.
    fn spin(&mut self, due: Nanos) -> Wake {
        if let Some(event) = self.events.try_next() {
            self.woke = self.now();
            return Wake::Event(event);
        }
        while self.now() < due {
            std::hint::spin_loop();
        }
        self.woke = self.now();
        self.stalls.note(due, self.woke);
        Wake::Time
    }

    fn take(&mut self, mut event: Event, observer: &mut dyn Observer) {
        let text = match &mut event.kind {
            EventKind::End(end) => end.output_text.take(),
            _ => None,
        };
        let landing = self.flights.apply(&event, self.timeout());
        if let Some(Landing::Flying | Landing::Ended { .. }) = landing {
            observer.on_event(&event, self.phase.warmup);
        }
        match landing {
            Some(Landing::Ended { record, freed_at }) => self.landed((*record, text), &event, freed_at),
            Some(Landing::Freed { freed_at }) => self.free(freed_at),
            Some(Landing::Flying) | None => {}
        }
    }

    /// A request is over: its conversation goes on, or its slot is free.
    fn landed(&mut self, finished: Finished, event: &Event, freed_at: Nanos) {
        let record = &finished.0;
        let answered = record.outcome == OutcomeKind::Success && self.stopped.is_none();
        let goes_on = match &event.kind {
            EventKind::End(end) if answered => {
                let nothing = Default::default();
                self.conversations.answered(record.id, freed_at, end.answer.as_ref().unwrap_or(&nothing))
            }
            _ => false,
        };
        if !goes_on {
            self.end_conversation(record.id, record.outcome);
            self.free(freed_at);
        }
        self.over.push_back(finished);
    }

    /// The later turns of a conversation cannot follow one that failed, and fail with it.
    fn end_conversation(&mut self, id: u64, outcome: OutcomeKind) {
        for request in self.conversations.give_up(id) {
            let reason = format!("not sent, because request {id} of the same conversation failed");
            self.drop_request(&request, None, &Unsent::Recorded(outcome, reason));
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
        while let Some(event) = self.events.try_next() {
            self.take(event, observer);
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
            let closed = self.flights.close(id, now, outcome, reason, now.saturating_add(GRACE));
            self.over.extend(closed.map(|record| (record, None)));
            self.end_conversation(id, outcome);
        }
    }

    fn heed_stop(&mut self) {
        if !self.ending.interrupted && self.dispatch.stop.load(Ordering::Relaxed) {
            self.ending.interrupted = true;
            let reason = "the run was interrupted before it could be sent";
            self.stop_sending(Unsent::Recorded(OutcomeKind::NotSent, reason.into()));
            // The drain after a duration may take longer than who interrupts it will wait.
            let soon = self.now().saturating_add(DRAIN);
            self.cut_at = Some(self.cut_at.map_or(soon, |at| at.min(soon)));
        }
        let hurried = self.ending.interrupted && self.dispatch.hurry.load(Ordering::Relaxed);
        if hurried {
            self.cut_at = self.cut_at.map(|_| 0);
        }
        if self.cut_at.is_some_and(|at| at <= self.now()) {
            self.cut_at = None;
            let running = self.flights.running();
            match &self.ending.gone {
                Some(failure) => {
                    let reason = format!("the backend is gone: {failure}");
                    self.cut(&running, blamed(failure, OutcomeKind::ServerError), &reason);
                }
                None if self.ending.interrupted => {
                    self.cut(&running, OutcomeKind::Censored, "still running when the run was interrupted");
                }
                None => {
                    self.cut(&running, OutcomeKind::Censored, "still running when the drain after the duration ended")
                }
            }
        }
        if hurried {
            self.flights.forget_cancelled();
        }
    }

    /// Stops sending when the duration is over.
    fn heed_deadline(&mut self) {
        let Some((deadline, drain)) = self.phase.until else { return };
        if self.now() < deadline {
            return;
        }
        self.phase.until = None;
        // In a closed loop nothing was due but what a slot was free for.
        self.stop_sending(if self.phase.closed_loop { Unsent::Counted } else { Unsent::After(deadline) });
        self.cut_at.get_or_insert(deadline.saturating_add(drain));
    }

    /// Nothing more can be sent.
    fn lose_backend(&mut self, failure: Failure) {
        self.stop_sending(Unsent::Recorded(blamed(&failure, OutcomeKind::Connection), unsent_because(&failure)));
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

    /// From now on nothing is sent: neither the turns that wait nor the rest of the plan.
    fn stop_sending(&mut self, why: Unsent) {
        for (request, due) in self.conversations.give_up_all() {
            self.drop_request(&request, due, &why);
        }
        self.stopped = Some(why);
    }

    /// Drops a part of what was never handed over, so that the records of millions do not fill the memory.
    fn drop_some(&mut self) {
        let Some(why) = self.stopped.clone() else { return };
        for _ in 0..DROPPED_AT_ONCE {
            let Some(next) = self.supply.next() else { break };
            let due = self.phase.start.saturating_add(next.first.offset_ns);
            self.drop_request(&next.first, Some(due), &why);
            next.later.iter().for_each(|request| self.drop_request(request, None, &why));
        }
    }

    /// Takes note of a request that is not sent; a later turn of a conversation is due only once the one before is answered.
    fn drop_request(&mut self, request: &Request, due: Option<Nanos>, why: &Unsent) {
        let (outcome, reason) = match why {
            Unsent::Recorded(outcome, reason) => (*outcome, reason.clone()),
            Unsent::After(deadline) if due.is_some_and(|due| due < *deadline) => {
                (OutcomeKind::NotSent, "no slot was free for it until the duration was over".into())
            }
            Unsent::After(_) | Unsent::Counted => {
                self.ending.unsent += 1;
                return;
            }
        };
        let now = self.now();
        let mut record = RecordBuilder::new(request, due.unwrap_or(now), self.phase.warmup, self.dispatch.stamp);
        record.close(now, outcome, reason);
        self.over.push_back((record.finish(), None));
    }
}

/// What a request is that a failure ended: a fault in this program is not the server's.
fn blamed(failure: &Failure, otherwise: OutcomeKind) -> OutcomeKind {
    if failure.exit == Exit::Bug { OutcomeKind::ClientFault } else { otherwise }
}

fn unsent_because(failure: &Failure) -> String {
    format!("not sent, because the backend is gone: {failure}")
}
