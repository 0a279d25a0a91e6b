//! One thread and its connections.
//!
//! Nothing here blocks but the wait for the next readiness and short rests ([`Pace`]). What happens to requests is told
//! in batches: the end of a request at once, everything else within [`TELL`], so that the receiver is woken a dozen times
//! a second and not for every token. The stamps were taken long before.

mod alarm;
mod carrying;
mod connection;
mod idle;
mod opening;
mod pace;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};
use sagellm_core::{Clock, EventSink, Nanos, OutcomeKind};

use self::alarm::Alarm;
use self::connection::{Connection, Use};
use self::idle::IdleWatch;
use self::pace::Pace;
use crate::answer::{Answer, Reading};
use crate::flight::Flight;
use crate::request::RequestWriter;
use crate::transport::{Buffers, Route};

/// The token of the thread's own wake-up call.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// So long before it is due a request is handed over, so that it does not matter when the thread that hands it over has to
/// wait for a processor.
pub(crate) const LEAD: Nanos = 10_000_000;
/// So long before a request is due the thread looks at nothing but the clock and its sockets: to wake it up takes up to that
/// long.
const SPIN: Nanos = 200_000;
/// Ready connections that are listed by one look.
const MAX_EVENTS: usize = 4096;
/// What happens to a request is told within this time.
const TELL: Nanos = 100_000_000;
/// After the end mark of a stream, the end of the body is awaited so long before the connection is given up.
const DRAIN: Nanos = 1_000_000_000;

/// What a thread is told to do.
pub(crate) enum Command {
    /// To be sent at `due`, or at once when that has passed. A command that no thread takes ends its request.
    Submit {
        flight: Flight,
        due: Nanos,
    },
    Cancel(u64),
    Stop,
}

/// The limits on waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) whole: Option<Duration>,
    pub(crate) connect: Duration,
    pub(crate) first_token: Option<Duration>,
    pub(crate) between: Option<Duration>,
}

impl Timeouts {
    /// When a connection begun at `at` must stand.
    fn connected(&self, at: Nanos) -> Nanos {
        after(at, Some(self.connect))
    }

    /// When a request first sent at `at` must be over.
    fn over(&self, at: Nanos) -> Nanos {
        after(at, self.whole)
    }

    /// When the first token of a request sent at `at` must be there.
    fn first_token(&self, at: Nanos) -> Nanos {
        after(at, self.first_token)
    }

    /// When the token after one that came at `at` must be there.
    fn next_token(&self, at: Nanos) -> Nanos {
        after(at, self.between)
    }
}

fn after(at: Nanos, limit: Option<Duration>) -> Nanos {
    let limit = limit.and_then(|limit| u64::try_from(limit.as_nanos()).ok()).unwrap_or(Nanos::MAX);
    at.saturating_add(limit)
}

/// What a thread shares with others.
pub(crate) struct Common {
    pub(crate) route: Route,
    pub(crate) reading: Reading,
    pub(crate) timeouts: Timeouts,
    /// Times that a request is sent again at most.
    pub(crate) retries: u32,
    /// The server, for messages.
    pub(crate) name: String,
}

/// The connections of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stock {
    /// Kept up from the start.
    pub(crate) ahead: usize,
    /// Kept idle beside those in use.
    pub(crate) reserve: usize,
    /// None is set up for that beyond these.
    pub(crate) room: usize,
}

/// How the thread is reached.
pub(crate) struct Reach {
    pub(crate) commands: Receiver<Command>,
    /// Set by whoever woke the thread, so that others need not.
    pub(crate) woken: Arc<AtomicBool>,
    /// Requests that were submitted and have not ended.
    pub(crate) in_flight: Arc<AtomicUsize>,
}

/// A thread's whole state.
pub(crate) struct Shard {
    common: Arc<Common>,
    writer: RequestWriter,
    poll: Poll,
    reach: Reach,
    connections: Vec<Option<Box<Connection>>>,
    /// Places without a connection.
    vacant: Vec<usize>,
    /// Connections that wait for a request; the last used is the first to be used again.
    idle: Vec<usize>,
    /// Where the requests are.
    flights: HashMap<u64, usize>,
    /// Requests that are not due yet, the earliest first.
    early: VecDeque<(Nanos, Flight)>,
    stock: Stock,
    open: usize,
    /// Connections that are being set up in advance.
    coming: usize,
    /// Who waits for the first connections to stand.
    opener: Option<Sender<Result<(), String>>>,
    /// Connections on which more waits to be read than one of them may at a time.
    unread: Vec<usize>,
    /// Connections whose requests have something to tell, and until when.
    newsy: Vec<usize>,
    tell_at: Nanos,
    /// No deadline is earlier; it may be too early, never too late.
    earliest: Nanos,
    alarm: Alarm,
    pace: Pace,
    idle_watch: IdleWatch,
    buffers: Buffers,
}

impl Shard {
    pub(crate) fn new(common: Arc<Common>, writer: RequestWriter, poll: Poll, reach: Reach) -> io::Result<Self> {
        let alarm = Alarm::new(poll.registry())?;
        let pace = Pace::new(common.route.stamping);
        Ok(Self {
            common,
            writer,
            poll,
            reach,
            connections: Vec::new(),
            vacant: Vec::new(),
            idle: Vec::new(),
            flights: HashMap::new(),
            early: VecDeque::new(),
            stock: Stock::default(),
            open: 0,
            coming: 0,
            opener: None,
            unread: Vec::new(),
            newsy: Vec::new(),
            tell_at: Nanos::MAX,
            earliest: Nanos::MAX,
            alarm,
            pace,
            idle_watch: IdleWatch::default(),
            buffers: Buffers::new(),
        })
    }

    /// Opens the connections that are wanted ahead, tells `opener` of each how that went, and serves until told to stop.
    pub(crate) fn run(mut self, stock: Stock, opener: Sender<Result<(), String>>) {
        self.stock = stock;
        self.opener = Some(opener);
        for _ in 0..stock.ahead {
            self.open(None, 0, true);
        }
        self.idle_watch = IdleWatch::of_this_thread();
        let mut events = Events::with_capacity(MAX_EVENTS);
        loop {
            match self.await_events(&mut events) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Without readiness nothing can go on; the requests see that their channel closes.
                Err(_) => return,
            }
            for event in &events {
                if event.token() != WAKE {
                    self.attend(event.token().0, event);
                }
                // What is due does not wait until all have been attended to.
                if !self.heed_commands() {
                    return;
                }
            }
            for place in std::mem::take(&mut self.unread) {
                self.read_on(place);
                if !self.heed_commands() {
                    return;
                }
            }
            if !self.heed_commands() {
                return;
            }
            let now = self.clock().now();
            self.heed_deadlines(now);
            if now >= self.tell_at {
                self.tell();
            }
            self.rest(now);
        }
    }

    /// Waits until something is ready. It looks before it sleeps: only then it is known that nothing was waiting.
    fn await_events(&mut self, events: &mut Events) -> io::Result<()> {
        let now = self.clock().now();
        self.idle_watch.settle(now);
        self.poll.poll(events, Some(Duration::ZERO))?;
        self.idle_watch.looked(now, events.iter().count() < MAX_EVENTS);
        if events.is_empty() {
            let wait = self.wait();
            if wait != Some(Duration::ZERO) {
                self.idle_watch.nothing_ready();
                self.poll.poll(events, wait)?;
                self.idle_watch.woke(self.clock().now());
            }
        }
        Ok(())
    }

    /// Leaves the connections alone for a moment where that costs nothing. A command ends the rest.
    fn rest(&mut self, now: Nanos) {
        let soon = self.early.front().is_some_and(|(due, _)| *due < now + pace::SPAN + SPIN);
        if let Some(rest) = self.pace.rest(now, self.unread.is_empty() && !soon) {
            std::thread::park_timeout(Duration::from_nanos(rest));
        }
    }

    fn clock(&self) -> Clock {
        self.common.route.clock
    }

    fn wait(&mut self) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let clock = self.clock();
        let early = self.early.front().map_or(Nanos::MAX, |(due, _)| self.alarm.set(due.saturating_sub(SPIN), clock));
        match self.earliest.min(self.tell_at).min(early) {
            Nanos::MAX => None,
            at => Some(clock.until(at)),
        }
    }

    /// Takes what was commanded and sends what is due. False when the thread is to stop.
    fn heed_commands(&mut self) -> bool {
        // To look is cheaper than to take, and comes with every token.
        if self.reach.woken.load(Ordering::SeqCst) && self.reach.woken.swap(false, Ordering::SeqCst) {
            loop {
                match self.reach.commands.try_recv() {
                    Ok(Command::Submit { flight, due }) => self.receive(flight, due),
                    Ok(Command::Cancel(id)) => self.cancel(id),
                    Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                    Err(TryRecvError::Empty) => break,
                }
            }
        }
        while self.early.front().is_some_and(|(due, _)| *due <= self.clock().now())
            && let Some((_, flight)) = self.early.pop_front()
        {
            self.submit(flight);
        }
        true
    }

    /// Takes a request over, to be sent at its time.
    fn receive(&mut self, flight: Flight, due: Nanos) {
        if due <= self.clock().now() {
            return self.submit(flight);
        }
        self.keep_until(due, flight);
    }

    fn keep_until(&mut self, due: Nanos, flight: Flight) {
        let place = self.early.partition_point(|(earlier, _)| *earlier <= due);
        self.early.insert(place, (due, flight));
    }

    fn submit(&mut self, flight: Flight) {
        match self.idle.pop() {
            Some(place) => self.begin(place, flight),
            None => self.open(Some(flight), 0, false),
        }
        self.keep_reserve();
    }

    fn cancel(&mut self, id: u64) {
        let now = self.clock().now();
        let reason = "given up by the client";
        if let Some(&place) = self.flights.get(&id) {
            self.give_up(place, now, OutcomeKind::Censored, reason.into());
        } else if let Some(place) = self.early.iter().position(|(_, flight)| flight.request.id == id)
            && let Some((_, flight)) = self.early.remove(place)
        {
            let mut answer = Answer::new(self.common.reading.max_line);
            answer.give_up(now, OutcomeKind::Censored, reason);
            self.land(flight, &mut answer);
        }
    }

    /// Does what a connection is ready for.
    fn attend(&mut self, place: usize, event: &Event) {
        let clock = self.clock();
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        if event.is_error() && self.common.route.stamping {
            // What is not taken would be announced again with every event.
            let flight = &mut connection.flight;
            connection.transport.sent_stamps(&mut self.buffers, clock, |number, at| {
                if let Some(flight) = flight {
                    flight.stamped(number, at);
                }
            });
        }
        if connection.used_for == Use::Opening {
            return self.go_on_opening(place);
        }
        if event.is_writable() && connection.transport.is_sending() {
            self.flush(place);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(place, event.is_read_closed());
        }
    }

    /// Ends what has waited too long.
    fn heed_deadlines(&mut self, now: Nanos) {
        if now < self.earliest {
            return;
        }
        self.earliest = Nanos::MAX;
        for place in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[place] else { continue };
            if connection.deadline <= now {
                self.expire(place, now);
            }
            if let Some(connection) = &self.connections[place] {
                self.earliest = self.earliest.min(connection.deadline);
            }
        }
    }

    /// Notes that something has to be looked at by `deadline`.
    fn remember(&mut self, deadline: Nanos) {
        self.earliest = self.earliest.min(deadline);
    }

    fn expire(&mut self, place: usize, now: Nanos) {
        let timeouts = self.common.timeouts;
        let Some(connection) = &mut self.connections[place] else { return };
        match connection.used_for {
            Use::Idle => connection.deadline = Nanos::MAX,
            Use::Opening => {
                let missing = connection.transport.missing();
                let waited = format!("no {missing} within {} s", timeouts.connect.as_secs_f64());
                self.broke(place, &io::Error::new(io::ErrorKind::TimedOut, waited));
            }
            Use::Busy => {
                let seconds = |limit: Option<Duration>| limit.unwrap_or_default().as_secs_f64();
                let reason = match connection.answer.last_piece() {
                    None => format!("no token within {} s (--timeout-first-token)", seconds(timeouts.first_token)),
                    Some(_) => format!("no further token within {} s (--timeout-between)", seconds(timeouts.between)),
                };
                self.give_up(place, now, OutcomeKind::Timeout, reason);
            }
            Use::Settled => {
                self.finish(place);
                if let Some(connection) = &mut self.connections[place] {
                    connection.used_for = Use::Draining;
                    connection.deadline = now + DRAIN;
                }
            }
            Use::Draining => self.discard(place),
        }
    }

    /// Notes that the request of a connection has something to tell.
    fn has_news(&mut self, place: usize) {
        self.newsy.push(place);
        if self.tell_at == Nanos::MAX {
            self.tell_at = self.clock().now() + TELL;
        }
    }

    /// Tells what happened to all requests.
    fn tell(&mut self) {
        self.tell_at = Nanos::MAX;
        // All but always there is one sink.
        let mut told: Vec<(EventSink, Vec<_>)> = Vec::new();
        for place in self.newsy.drain(..) {
            let Some(Some(connection)) = self.connections.get_mut(place) else { continue };
            let Some(flight) = &mut connection.flight else { continue };
            match told.last_mut() {
                Some((sink, news)) if sink.is_same(&flight.sink) => news.extend(flight.news()),
                _ => told.push((flight.sink.clone(), flight.news().collect())),
            }
        }
        for (sink, news) in told {
            sink.send_all(news);
        }
    }
}
