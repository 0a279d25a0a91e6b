//! Carrying requests: from the first byte sent to the end of the answer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sagellm_core::{Nanos, OutcomeKind};

use super::Shard;
use super::connection::{Connection, Use};
use super::idle::IdleWatch;
use crate::answer::{Answer, Arrival, Progress};
use crate::flight::Flight;
use crate::transport::{Received, Transport};

/// Bytes that are read of one connection before the others have their turn: as many as one full read gives.
const TURN: usize = 256 << 10;
/// After the end mark of a stream, the end of the body is awaited so long before the request is over without it.
const SETTLE: Nanos = 5_000_000;
/// Before a request is tried again for the first time; twice as long before each further time,
const PAUSE: Nanos = 100_000_000;
/// up to this, where the server does not say how long.
const LONGEST_PAUSE: Nanos = 5_000_000_000;
/// A connection on which the last answer ended may be closed by the server while the next request is on its way to it. Only
/// a close that came within a round trip can have that cause; this stands for one that is not known.
const ROUND_TRIP: Nanos = 1_000_000;
/// A read that comes later than this after the kernel's stamp is looked into: perhaps a segment was missing before it.
const LATE: Nanos = 1_000_000;
/// Stamps of the kernel are placed on the clock of the run as exactly as this.
const CLOCK_ERROR: Nanos = 20_000;

impl Shard {
    /// Sends a request on a connection that is ready.
    pub(super) fn begin(&mut self, place: usize, flight: Flight) {
        let now = self.clock().now();
        self.flights.insert(flight.request.id, place);
        let Some(connection) = &mut self.connections[place] else { return };
        let writer = &mut self.writer;
        connection.answer.reset(&flight.request);
        let begun = connection.transport.begin_request(|out| writer.write(&flight.request, out));
        connection.flight = Some(flight);
        connection.used_for = Use::Busy;
        connection.deadline = self.common.timeouts.first_token(now);
        let deadline = connection.deadline;
        self.remember(deadline);
        match begun {
            Ok(()) => self.flush(place),
            Err(error) => self.broke(place, &error),
        }
    }

    /// Sends what is left of a request.
    pub(super) fn flush(&mut self, place: usize) {
        let clock = self.clock();
        let Some(connection) = &mut self.connections[place] else { return };
        let flushed = connection.transport.flush(clock);
        if let (Some(departure), Some(flight)) = (connection.transport.take_departure(), &mut connection.flight) {
            flight.depart(departure);
            connection.deadline = self.common.timeouts.first_token(departure.at);
            self.has_news(place);
        }
        if let Err(error) = flushed {
            self.broke(place, &error);
        }
    }

    /// Takes up a connection that had more than was its turn. Another may stand in its place by now.
    pub(super) fn read_on(&mut self, place: usize) {
        if let Some(connection) = &mut self.connections[place]
            && std::mem::take(&mut connection.unread)
        {
            self.read(place, false);
        }
    }

    /// Reads until nothing is there, or its turn is over: readiness is announced once, so that the rest is remembered. A
    /// read that did not fill the buffer emptied the socket, unless it is `closing`; then what is left is no more than the
    /// kernel holds.
    pub(super) fn read(&mut self, place: usize, closing: bool) {
        let common = Arc::clone(&self.common);
        let mut left = TURN;
        loop {
            let Some(connection) = &mut self.connections[place] else { return };
            let Connection { transport, answer, flight, used_for, deadline, .. } = &mut **connection;
            let before = transport.last_heard();
            let (bytes, arrival, more) = match transport.recv(&mut self.buffers, common.route.clock) {
                Ok(Received::Bytes { bytes, arrival, more }) => (bytes, arrival, more),
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => return self.closed(place),
                Err(error) => return self.broke(place, &error),
            };
            left = left.saturating_sub(bytes.len());
            let (arrival, held_back) = readable(arrival, transport, flight.as_mut(), &mut self.idle_watch);
            let mut chunks = 0;
            let told = flight.as_ref().is_some_and(Flight::has_news);
            let progress = match used_for {
                // TLS has something to say for itself now and then.
                Use::Idle | Use::Opening if bytes.is_empty() => Progress::Open,
                // A server that speaks unasked has something against the connection.
                Use::Idle | Use::Opening => return self.discard(place),
                Use::Busy | Use::Settled | Use::Draining => {
                    answer.read(bytes, arrival, &common.reading, &mut |piece| {
                        chunks += 1;
                        if let Some(flight) = flight {
                            flight.piece(arrival.at, piece);
                        }
                    })
                }
            };
            self.pace.heard(arrival.at, arrival.at.saturating_sub(before), chunks);
            if chunks > 0
                && let Some(flight) = flight
            {
                let all = held_back || !arrival.stamped;
                let uncertain = if all { chunks } else { chunks - usize::from(answer.ends_with_piece()) };
                if uncertain > 0 && (all || !transport.was_one_segment()) {
                    let since = waiting_since(arrival, &mut self.idle_watch);
                    flight.mark_uncertain(chunks, uncertain, arrival.at - since);
                } else if !all {
                    self.idle_watch.delivered(arrival.at);
                }
                if held_back {
                    flight.mark_held_back(chunks);
                }
            }
            let news = !told && flight.as_ref().is_some_and(Flight::has_news);
            match progress {
                Progress::Open => {
                    if let Some(piece) = answer.last_piece() {
                        *deadline = common.timeouts.next_token(piece);
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
                    // The server would take the next request for the rest of one that it did not read to its end.
                    let reusable = reusable && !transport.is_sending();
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
            if left == 0
                && !closing
                && let Some(connection) = &mut self.connections[place]
            {
                if !std::mem::replace(&mut connection.unread, true) {
                    self.unread.push(place);
                }
                return;
            }
        }
    }

    /// The server closed its side.
    pub(super) fn closed(&mut self, place: usize) {
        let now = self.clock().now();
        if self.is_stale(place) {
            return self.send_again(place);
        }
        let Some(connection) = &mut self.connections[place] else { return };
        let Connection { answer, flight: Some(flight), .. } = &mut **connection else { return self.discard(place) };
        answer.eof(now, &self.common.reading, &mut |piece| flight.piece(now, piece));
        self.finish(place);
        self.discard(place);
    }

    /// The connection broke, or could not be set up.
    pub(super) fn broke(&mut self, place: usize, error: &io::Error) {
        let now = self.clock().now();
        if self.is_stale(place) {
            return self.send_again(place);
        }
        let Some(connection) = &mut self.connections[place] else { return };
        if connection.used_for == Use::Opening {
            let (address, awaited) = (connection.address, connection.awaited);
            let flight = connection.flight.take();
            self.coming -= usize::from(flight.is_none());
            self.forget(place);
            return self.cannot_open(flight, address, awaited, error);
        }
        connection.answer.broke(now, &self.common.reading, error);
        self.finish(place);
        self.discard(place);
    }

    /// Whether the server closed a connection that it had kept alive before it can have seen the request: what it did after
    /// that takes at least a round trip to show.
    fn is_stale(&mut self, place: usize) -> bool {
        let Some(Some(connection)) = self.connections.get(place) else { return false };
        let Some(flight) = &connection.flight else { return false };
        let possible =
            connection.used_for == Use::Busy && connection.served > 0 && !flight.resent && !connection.answer.begun();
        if !possible {
            return false;
        }
        let closed = connection.transport.emptied().max(self.idle_watch.empty_since());
        let round_trip = connection.transport.round_trip().unwrap_or(ROUND_TRIP);
        flight.sent.is_none_or(|sent| is_unseen(sent, closed, round_trip))
    }

    /// Sends the request of a connection that was found closed on a new one.
    fn send_again(&mut self, place: usize) {
        let flight = self.connections[place].as_mut().and_then(|connection| connection.flight.take());
        self.forget(place);
        if let Some(mut flight) = flight {
            flight.resend();
            self.open(Some(flight), 0, false);
        }
    }

    /// Ends the request of a connection by our own decision.
    pub(super) fn give_up(&mut self, place: usize, now: Nanos, outcome: OutcomeKind, reason: String) {
        let Some(connection) = &mut self.connections[place] else { return };
        connection.answer.cut_off(now, &self.common.reading, outcome, reason);
        self.finish(place);
        self.discard(place);
    }

    /// Ends the request of a connection, if it carries one.
    pub(super) fn finish(&mut self, place: usize) {
        let clock = self.clock();
        let Some(mut connection) = self.connections[place].take() else { return };
        if let Some(mut flight) = connection.flight.take() {
            if flight.awaits_stamp() {
                connection.transport.sent_stamps(&mut self.buffers, clock, |number, at| flight.stamped(number, at));
            }
            flight.lost(connection.transport.new_losses());
            self.land(flight, &mut connection.answer);
            connection.served += 1;
        }
        self.connections[place] = Some(connection);
    }

    /// Tells the end of a request, unless it is to be tried again.
    pub(super) fn land(&mut self, mut flight: Flight, answer: &mut Answer) {
        self.flights.remove(&flight.request.id);
        if let Some(due) = self.try_again_at(&flight, answer) {
            flight.try_again();
            return self.keep_until(due, flight);
        }
        self.reach.in_flight.fetch_sub(1, Ordering::Relaxed);
        let (at, end) = answer.end();
        flight.land(at, end);
    }

    /// When a request that failed for now is sent again, where that is wanted and its time allows it.
    fn try_again_at(&self, flight: &Flight, answer: &Answer) -> Option<Nanos> {
        if flight.tries >= self.common.retries {
            return None;
        }
        let usual = (PAUSE << flight.tries.min(16)).min(LONGEST_PAUSE);
        let pause = answer.may_pass_after(usual)?;
        let due = self.clock().now().saturating_add(pause);
        let in_time = |sent| due < self.common.timeouts.over(sent);
        flight.sent.is_none_or(in_time).then_some(due)
    }
}

/// Whether a request can have met a close on its way: one that may have come as early as `closed`, before the server's answer
/// to the request could have come.
fn is_unseen(sent: Nanos, closed: Nanos, round_trip: Nanos) -> bool {
    closed <= sent.saturating_add(round_trip)
}

/// The stamp as a reader could have had it. The kernel stamps a segment when it comes, even behind a gap, but nothing behind a
/// gap can be read before that is filled: then only the moment of the read is known, and that the bytes were not readable
/// when the connection was last empty. True for such a read. A stamp may also precede the moment from which on the bytes were
/// readable because this machine was slow to deliver them: then it is the right one.
fn readable(
    arrival: Arrival,
    transport: &mut Transport,
    flight: Option<&mut Flight>,
    idle: &mut IdleWatch,
) -> (Arrival, bool) {
    let prompt = arrival.read - arrival.at < LATE && arrival.at + CLOCK_ERROR >= arrival.since;
    if !arrival.stamped || prompt {
        return (arrival, false);
    }
    let losses = transport.new_losses();
    if let Some(flight) = flight {
        flight.lost(losses);
    }
    if losses.out_of_order == 0 {
        return (arrival, false);
    }
    let since = arrival.since.max(idle.empty_since());
    // It was read as soon as it was readable, as far as is known: the client added nothing.
    (Arrival { stamped: true, ..Arrival::read_at(arrival.read, since) }, true)
}

/// Since when the bytes of a read can have been waiting.
fn waiting_since(arrival: Arrival, idle: &mut IdleWatch) -> Nanos {
    let empty = idle.empty_since();
    let stamped_after = empty.saturating_sub(idle.delivery());
    // A stamp from long before is of bytes that this machine delivered late: of others before them nothing more is known.
    let since = if arrival.at < stamped_after { arrival.since } else { arrival.since.max(stamped_after) };
    since.min(arrival.at)
}

#[cfg(test)]
mod tests {
    use super::super::idle::DELIVERY;
    use super::*;

    #[test]
    fn only_a_close_within_the_round_trip_met_the_request_on_its_way() {
        const MS: Nanos = 1_000_000;
        assert!(is_unseen(10 * MS, 9 * MS, 0), "closed before it was sent");
        assert!(is_unseen(10 * MS, 30 * MS, 20 * MS));
        assert!(!is_unseen(10 * MS, 31 * MS, 20 * MS), "the server may have seen it");
    }

    #[test]
    fn a_late_stamp_of_this_machine_bounds_nothing_but_itself() {
        let mut idle = IdleWatch::default();
        const US: Nanos = 1000;
        idle.looked(5000 * US, true);
        idle.nothing_ready();
        let arrival = |at| Arrival { at: at * US, read: 9000 * US, since: 200 * US, stamped: true };
        assert_eq!(waiting_since(arrival(8000), &mut idle), 5000 * US - DELIVERY);
        let early = waiting_since(arrival(4900), &mut idle);
        assert_eq!(early, 5000 * US - DELIVERY, "stamped before a reader could wake up");
        assert_eq!(waiting_since(arrival(4000), &mut idle), 200 * US, "delivered late");
    }
}
