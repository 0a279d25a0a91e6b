//! One thread and its connections.
//!
//! Nothing here blocks but the wait for the next readiness. What happens to requests is told in batches: the end of a
//! request at once, everything else within [`TELL`], so that the receiver is woken a few dozen times a second and not for
//! every token. The stamps were taken long before.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use sagellm_core::{Clock, EventSink, Nanos, OutcomeKind, Prepared};

use crate::answer::{Answer, Progress, Reading};
use crate::flight::Flight;
use crate::request::RequestWriter;
use crate::transport::{Buffers, Received, Route, Transport};

/// The token of the thread's own wake-up call.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// What happens to a request is told within this time.
const TELL: Nanos = 20_000_000;
/// After the end mark of a stream, the end of the body is awaited so long before the request is over without it.
const SETTLE: Nanos = 5_000_000;
/// And so long before the connection is given up.
const DRAIN: Nanos = 1_000_000_000;
/// A connection that was closed before it lived so long and served a request is not replaced, or a server that turns
/// away connections would be asked without end.
const YOUNG: Nanos = 1_000_000_000;
/// A connection on which the last answer ended may be closed by the server while the next request is on its way to it.
/// Only a close within this time can have that cause.
const STALE: Nanos = 1_000_000_000;

/// What a thread is told to do.
pub(crate) enum Command {
    Submit { request: Prepared, sink: EventSink },
    Cancel(u64),
    Stop,
}

/// The limits on waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) first_token: Option<Duration>,
    pub(crate) between: Option<Duration>,
}

/// What a thread shares with others.
pub(crate) struct Common {
    pub(crate) route: Route,
    pub(crate) reading: Reading,
    pub(crate) timeouts: Timeouts,
    /// The server, for messages.
    pub(crate) name: String,
}

/// How the thread is reached.
pub(crate) struct Reach {
    pub(crate) commands: Receiver<Command>,
    /// Set by whoever woke the thread, so that others need not.
    pub(crate) woken: Arc<AtomicBool>,
    /// Requests that were submitted and have not ended.
    pub(crate) in_flight: Arc<AtomicUsize>,
}

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It is being set up.
    Opening,
    /// It waits for a request.
    Idle,
    /// It carries a request.
    Busy,
    /// It carries a request whose stream is over, but whose body is not.
    Settled,
    /// It carries the end of a body that nobody waits for.
    Draining,
}

struct Connection {
    transport: Transport,
    answer: Answer,
    flight: Option<Flight>,
    used_for: Use,
    /// When it began to be set up.
    opened: Nanos,
    /// Place of its address in the route.
    address: usize,
    /// Whether someone waits to hear that it stands.
    awaited: bool,
    /// Requests that it served.
    served: u32,
    /// When waiting for what comes next has lasted too long.
    deadline: Nanos,
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
    /// Connections to be kept in readiness.
    wanted: usize,
    open: usize,
    /// Who waits for the first connections to stand.
    opener: Option<Sender<Result<(), String>>>,
    /// Connections whose requests have something to tell, and until when.
    newsy: Vec<usize>,
    tell_at: Nanos,
    /// No deadline is earlier; it may be too early, never too late.
    earliest: Nanos,
    buffers: Buffers,
}

impl Shard {
    pub(crate) fn new(common: Arc<Common>, writer: RequestWriter, poll: Poll, reach: Reach) -> Self {
        Self {
            common,
            writer,
            poll,
            reach,
            connections: Vec::new(),
            vacant: Vec::new(),
            idle: Vec::new(),
            flights: HashMap::new(),
            wanted: 0,
            open: 0,
            opener: None,
            newsy: Vec::new(),
            tell_at: Nanos::MAX,
            earliest: Nanos::MAX,
            buffers: Buffers::new(),
        }
    }

    /// Opens `wanted` connections, tells `opener` of each how that went, and serves until told to stop.
    pub(crate) fn run(mut self, wanted: usize, opener: Sender<Result<(), String>>) {
        self.wanted = wanted;
        self.opener = Some(opener);
        for _ in 0..wanted {
            self.open(None, 0, true);
        }
        let mut events = Events::with_capacity(1024);
        loop {
            let wait = self.wait();
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Without readiness nothing can go on; the requests see that their channel closes.
                Err(_) => return,
            }
            for event in &events {
                if event.token() != WAKE {
                    self.attend(event.token().0, event);
                }
            }
            if !self.take_commands() {
                return;
            }
            let now = self.clock().now();
            self.heed_deadlines(now);
            if now >= self.tell_at {
                self.tell();
            }
        }
    }

    fn clock(&self) -> Clock {
        self.common.route.clock
    }

    fn wait(&self) -> Option<Duration> {
        match self.earliest.min(self.tell_at) {
            Nanos::MAX => None,
            at => Some(self.clock().until(at)),
        }
    }

    /// False when the thread is to stop.
    fn take_commands(&mut self) -> bool {
        self.reach.woken.store(false, Ordering::SeqCst);
        loop {
            match self.reach.commands.try_recv() {
                Ok(Command::Submit { request, sink }) => self.submit(Flight::new(request, sink)),
                Ok(Command::Cancel(id)) => self.cancel(id),
                Ok(Command::Stop) | Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
            }
        }
    }

    fn submit(&mut self, flight: Flight) {
        match self.idle.pop() {
            Some(place) => self.begin(place, flight),
            None => self.open(Some(flight), 0, false),
        }
    }

    fn cancel(&mut self, id: u64) {
        if let Some(&place) = self.flights.get(&id) {
            let now = self.clock().now();
            self.give_up(place, now, OutcomeKind::Censored, "given up by the client".into());
        }
    }

    /// Sets up a connection, for a request or in advance.
    fn open(&mut self, mut flight: Option<Flight>, address: usize, awaited: bool) {
        let clock = self.clock();
        let opened = clock.now();
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        if let Some(flight) = &flight {
            self.flights.insert(flight.request.id, place);
        }
        let connected = self.common.route.addresses.get(address).ok_or(io::ErrorKind::AddrNotAvailable.into());
        let transport = connected.and_then(|&to| Transport::connect(to, clock)).and_then(|mut transport| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(transport.source(), Token(place), both)?;
            Ok(transport)
        });
        let deadline = opened.saturating_add(nanos(self.common.timeouts.connect));
        match transport {
            Ok(transport) => {
                self.open += 1;
                self.earliest = self.earliest.min(deadline);
                self.connections[place] = Some(Box::new(Connection {
                    transport,
                    answer: Answer::new(self.common.reading.max_line),
                    flight,
                    used_for: Use::Opening,
                    opened,
                    address,
                    awaited,
                    served: 0,
                    deadline,
                }));
            }
            Err(error) => {
                self.vacant.push(place);
                self.cannot_open(flight.take(), address, awaited, &error);
            }
        }
    }

    /// A connection could not be set up: the next address, or the end.
    fn cannot_open(&mut self, flight: Option<Flight>, address: usize, awaited: bool, error: &io::Error) {
        // A limit of this process holds for every address.
        let limit = matches!(error.raw_os_error(), Some(23 | 24));
        if !limit && address + 1 < self.common.route.addresses.len() {
            return self.open(flight, address + 1, awaited);
        }
        let hint = if limit { "; raise the limit of open files (`ulimit -n`)" } else { "" };
        if awaited && let Some(opener) = &self.opener {
            // Who waited may have given up.
            let _ = opener.send(Err(format!("{error}{hint}")));
        }
        if let Some(flight) = flight {
            let now = self.clock().now();
            let mut answer = Answer::new(self.common.reading.max_line);
            let reason = format!("cannot connect to {}: {error}{hint}", self.common.name);
            answer.give_up(now, OutcomeKind::Connection, reason);
            self.land(flight, &mut answer);
        }
    }

    /// Sends a request on a connection that is ready.
    fn begin(&mut self, place: usize, flight: Flight) {
        let now = self.clock().now();
        self.flights.insert(flight.request.id, place);
        let Some(connection) = &mut self.connections[place] else { return };
        let writer = &mut self.writer;
        connection.answer.reset();
        let begun = connection.transport.begin_request(|out| writer.write(&flight.request, out));
        connection.flight = Some(flight);
        connection.used_for = Use::Busy;
        connection.deadline = now.saturating_add(self.common.timeouts.first_token.map_or(Nanos::MAX, nanos));
        self.earliest = self.earliest.min(connection.deadline);
        match begun {
            Ok(()) => self.flush(place),
            Err(error) => self.broke(place, &error),
        }
    }

    /// Sends what is left of a request.
    fn flush(&mut self, place: usize) {
        let clock = self.clock();
        let Some(connection) = &mut self.connections[place] else { return };
        let flushed = connection.transport.flush(clock);
        if let (Some(departure), Some(flight)) = (connection.transport.take_departure(), &mut connection.flight) {
            flight.depart(departure);
            connection.deadline =
                departure.at.saturating_add(self.common.timeouts.first_token.map_or(Nanos::MAX, nanos));
            self.has_news(place);
        }
        if let Err(error) = flushed {
            self.broke(place, &error);
        }
    }

    /// Does what a connection is ready for.
    fn attend(&mut self, place: usize, event: &Event) {
        let clock = self.clock();
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        if event.is_error()
            && let Some(flight) = &mut connection.flight
            && flight.awaits_stamp()
        {
            connection.transport.sent_stamps(&mut self.buffers, clock, |number, at| flight.stamped(number, at));
        }
        if connection.used_for == Use::Opening {
            return self.go_on_opening(place);
        }
        if event.is_writable() && connection.transport.is_sending() {
            self.flush(place);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(place, event.is_read_closed() || event.is_error());
        }
    }

    fn go_on_opening(&mut self, place: usize) {
        let now = self.clock().now();
        let Some(connection) = &mut self.connections[place] else { return };
        match connection.transport.open(&self.common.route, &mut self.buffers) {
            Ok(false) => {}
            Ok(true) => {
                if std::mem::take(&mut connection.awaited)
                    && let Some(opener) = &self.opener
                {
                    // Who waited may have given up.
                    let _ = opener.send(Ok(()));
                }
                let took = now.saturating_sub(connection.opened);
                match connection.flight.take() {
                    Some(mut flight) => {
                        flight.connected_in(took);
                        self.begin(place, flight);
                    }
                    None => self.make_idle(place),
                }
            }
            Err(error) => self.broke(place, &error),
        }
    }

    /// Reads until nothing is there. A read that did not fill the buffer emptied the socket, unless it is `closing`.
    fn read(&mut self, place: usize, closing: bool) {
        let common = Arc::clone(&self.common);
        loop {
            let Some(connection) = &mut self.connections[place] else { return };
            let Connection { transport, answer, flight, used_for, deadline, .. } = &mut **connection;
            let (bytes, arrival, more) = match transport.recv(&mut self.buffers, common.route.clock) {
                Ok(Received::Bytes { bytes, arrival, more }) => (bytes, arrival, more),
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => return self.closed(place),
                Err(error) => return self.broke(place, &error),
            };
            let told = flight.as_ref().is_some_and(Flight::has_news);
            let progress = match used_for {
                // A server that speaks unasked has something against the connection.
                Use::Idle | Use::Opening if !bytes.is_empty() => return self.discard(place),
                Use::Idle | Use::Opening => Progress::Open,
                Use::Busy | Use::Settled | Use::Draining => {
                    answer.read(bytes, arrival, &common.reading, &mut |piece| {
                        if let Some(flight) = flight {
                            flight.piece(arrival.at, piece);
                        }
                    })
                }
            };
            let news = !told && flight.as_ref().is_some_and(Flight::has_news);
            match progress {
                Progress::Open => {
                    if let Some(piece) = answer.last_piece() {
                        let between = common.timeouts.between.map_or(Nanos::MAX, nanos);
                        *deadline = piece.saturating_add(between);
                        self.earliest = self.earliest.min(*deadline);
                    }
                }
                Progress::Settled if *used_for == Use::Busy => {
                    *used_for = Use::Settled;
                    *deadline = common.route.clock.now() + SETTLE;
                    self.earliest = self.earliest.min(*deadline);
                }
                Progress::Settled => {}
                Progress::Over { reusable } => {
                    self.finish(place);
                    if !reusable {
                        return self.discard(place);
                    }
                    self.make_idle(place);
                }
            }
            if news {
                self.has_news(place);
            }
            if !more && !closing {
                return;
            }
        }
    }

    /// The server closed its side.
    fn closed(&mut self, place: usize) {
        let now = self.clock().now();
        if self.is_stale(place, now) {
            return self.send_again(place);
        }
        let Some(connection) = &mut self.connections[place] else { return };
        let Connection { answer, flight: Some(flight), .. } = &mut **connection else { return self.discard(place) };
        answer.eof(now, &self.common.reading, &mut |piece| flight.piece(now, piece));
        self.finish(place);
        self.discard(place);
    }

    /// The connection broke, or could not be set up.
    fn broke(&mut self, place: usize, error: &io::Error) {
        let now = self.clock().now();
        if self.is_stale(place, now) {
            return self.send_again(place);
        }
        let Some(connection) = &mut self.connections[place] else { return };
        if connection.used_for == Use::Opening {
            let (address, awaited) = (connection.address, connection.awaited);
            let flight = connection.flight.take();
            self.forget(place);
            return self.cannot_open(flight, address, awaited, error);
        }
        connection.answer.broke(now, &self.common.reading, error);
        self.finish(place);
        self.discard(place);
    }

    /// Whether the server closed a connection that it had kept alive before it can have seen the request.
    fn is_stale(&self, place: usize, now: Nanos) -> bool {
        let Some(Some(connection)) = self.connections.get(place) else { return false };
        let Some(flight) = &connection.flight else { return false };
        connection.used_for == Use::Busy
            && connection.served > 0
            && flight.retries == 0
            && !connection.answer.begun()
            && flight.sent.is_none_or(|sent| now < sent + STALE)
    }

    /// Sends the request of a connection that was found closed on a new one.
    fn send_again(&mut self, place: usize) {
        let flight = self.connections[place].as_mut().and_then(|connection| connection.flight.take());
        self.forget(place);
        if let Some(mut flight) = flight {
            flight.retry();
            self.open(Some(flight), 0, false);
        }
    }

    /// Ends the request of a connection by our own decision.
    fn give_up(&mut self, place: usize, now: Nanos, outcome: OutcomeKind, reason: String) {
        let Some(connection) = &mut self.connections[place] else { return };
        connection.answer.give_up(now, outcome, reason);
        self.finish(place);
        self.discard(place);
    }

    /// Ends the request of a connection, if it carries one.
    fn finish(&mut self, place: usize) {
        let clock = self.clock();
        let Some(mut connection) = self.connections[place].take() else { return };
        if let Some(mut flight) = connection.flight.take() {
            if flight.awaits_stamp() {
                connection.transport.sent_stamps(&mut self.buffers, clock, |number, at| flight.stamped(number, at));
            }
            self.land(flight, &mut connection.answer);
        }
        connection.served += 1;
        self.connections[place] = Some(connection);
    }

    fn land(&mut self, flight: Flight, answer: &mut Answer) {
        self.flights.remove(&flight.request.id);
        self.reach.in_flight.fetch_sub(1, Ordering::Relaxed);
        let (at, end) = answer.end(&self.common.reading);
        flight.land(at, end);
    }

    fn make_idle(&mut self, place: usize) {
        if let Some(connection) = &mut self.connections[place] {
            connection.used_for = Use::Idle;
            connection.deadline = Nanos::MAX;
            self.idle.push(place);
        }
    }

    /// Closes a connection.
    fn forget(&mut self, place: usize) {
        if let Some(connection) = self.connections[place].take() {
            self.open -= 1;
            self.vacant.push(place);
            if connection.used_for == Use::Idle {
                self.idle.retain(|&idle| idle != place);
            }
        }
    }

    /// Closes a connection and sets up another in its stead, if it is one of those kept in readiness.
    fn discard(&mut self, place: usize) {
        let Some(connection) = &self.connections[place] else { return };
        let lived = self.clock().now().saturating_sub(connection.opened);
        let lasting = connection.served > 0 || lived >= YOUNG;
        self.forget(place);
        if lasting && self.open < self.wanted {
            self.open(None, 0, false);
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

    fn expire(&mut self, place: usize, now: Nanos) {
        let timeouts = self.common.timeouts;
        let Some(connection) = &mut self.connections[place] else { return };
        match connection.used_for {
            Use::Idle => connection.deadline = Nanos::MAX,
            Use::Opening => {
                let waited = format!("no connection within {} s", timeouts.connect.as_secs_f64());
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
        for place in self.newsy.drain(..) {
            if let Some(Some(connection)) = self.connections.get_mut(place)
                && let Some(flight) = &mut connection.flight
            {
                flight.tell();
            }
        }
    }
}

fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
