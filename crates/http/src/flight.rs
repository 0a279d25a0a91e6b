//! A request on its way.

use sagellm_core::{Clock, End, Event, EventKind, EventSink, Nanos, OutcomeKind, Piece, Prepared, TokenSource};

use crate::transport::{Departure, Losses};

/// A request that was handed over and has not ended.
pub(crate) struct Flight {
    pub(crate) request: Prepared,
    pub(crate) sink: EventSink,
    clock: Clock,
    /// What happened and was not told yet.
    events: Vec<Event>,
    /// When the first byte left, by us.
    pub(crate) sent: Option<Nanos>,
    /// Number under which the kernel stamps that byte.
    stamp_number: Option<u32>,
    /// When it left, by the kernel.
    sent_kernel: Option<Nanos>,
    /// When tokens first came.
    first: Option<Nanos>,
    /// What setting up connections took inside this request.
    connect: Option<Nanos>,
    /// Chunks whose time is an interval, and chunks that came behind a gap.
    merged: u32,
    held_back: u32,
    /// Signs of loss on the connections that carried it.
    losses: Losses,
    /// Whether it was sent again because its connection was found closed.
    pub(crate) resent: bool,
    /// Times that it was sent again because it failed.
    pub(crate) tries: u32,
    /// Whether its end was reported.
    landed: bool,
}

impl Flight {
    pub(crate) fn new(request: Prepared, sink: EventSink, clock: Clock) -> Self {
        Self {
            request,
            sink,
            clock,
            events: Vec::new(),
            sent: None,
            stamp_number: None,
            sent_kernel: None,
            first: None,
            connect: None,
            merged: 0,
            held_back: 0,
            losses: Losses::default(),
            resent: false,
            tries: 0,
            landed: false,
        }
    }

    /// Whether something waits to be told.
    pub(crate) fn has_news(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether the kernel's stamp of the departure is awaited.
    pub(crate) fn awaits_stamp(&self) -> bool {
        self.stamp_number.is_some()
    }

    /// A connection of its own was made in this time.
    pub(crate) fn connected_in(&mut self, took: Nanos) {
        self.connect = Some(self.connect.unwrap_or(0) + took);
    }

    /// The first byte left. When the request is sent again, the first time counts.
    pub(crate) fn depart(&mut self, departure: Departure) {
        if self.sent.is_none() {
            self.sent = Some(departure.at);
            self.stamp_number = Some(departure.number);
            self.push(departure.at, EventKind::Sent);
        }
    }

    /// The kernel stamped what it sent.
    pub(crate) fn stamped(&mut self, number: u32, at: Nanos) {
        if self.stamp_number == Some(number) {
            self.stamp_number = None;
            // A clock that was set meanwhile would place the departure before its cause.
            self.sent_kernel = self.sent.filter(|&sent| at + 1_000_000 >= sent).map(|sent| at.max(sent));
        }
    }

    /// It has to be sent again at once, on another connection.
    pub(crate) fn resend(&mut self) {
        self.resent = true;
        self.stamp_number = None;
    }

    /// It failed for now, and is to be tried again.
    pub(crate) fn try_again(&mut self) {
        self.tries += 1;
        self.stamp_number = None;
    }

    /// Tokens came.
    pub(crate) fn piece(&mut self, at: Nanos, piece: Piece) {
        self.first.get_or_insert(at);
        self.push(at, EventKind::Chunk(piece));
    }

    /// Of the last `chunks` pieces, the first `uncertain` may have come this much earlier than their stamp says.
    pub(crate) fn mark_uncertain(&mut self, chunks: usize, uncertain: usize, by: Nanos) {
        let by = u32::try_from(by).unwrap_or(u32::MAX);
        if by == 0 {
            return;
        }
        let first = self.events.len().saturating_sub(chunks);
        for event in self.events.iter_mut().skip(first).take(uncertain) {
            if let EventKind::Chunk(piece) = &mut event.kind {
                piece.uncertainty_ns = by;
                self.merged += 1;
            }
        }
    }

    /// The last `chunks` pieces came behind a gap in the stream of bytes, and were stamped before they could be read.
    pub(crate) fn mark_held_back(&mut self, chunks: usize) {
        self.held_back += chunks as u32;
    }

    /// Segments were lost while a connection carried it.
    pub(crate) fn lost(&mut self, losses: Losses) {
        self.losses.out_of_order += losses.out_of_order;
        self.losses.retransmitted += losses.retransmitted;
    }

    /// What happened since the last time.
    pub(crate) fn news(&mut self) -> impl Iterator<Item = Event> {
        self.events.drain(..)
    }

    /// Tells everything, the end included.
    pub(crate) fn land(mut self, at: Nanos, mut end: End) {
        // A server that answers before it is asked does so before the request has left.
        let first = self.first.unwrap_or(at);
        if let Some(facts) = &mut end.http {
            facts.connect_ns = self.connect;
            facts.sent_kernel_ns = self.sent_kernel.filter(|&sent| sent <= first);
            facts.retries = self.tries + u32::from(self.resent);
            facts.stale_connection = self.resent;
            facts.merged_chunks = self.merged;
            facts.held_back_chunks = self.held_back;
            facts.out_of_order_segments = self.losses.out_of_order;
            facts.retransmitted_segments = self.losses.retransmitted;
        }
        self.push(at.max(self.sent.unwrap_or(0)), EventKind::End(Box::new(end)));
        self.landed = true;
        self.sink.send_all(std::mem::take(&mut self.events));
    }

    fn push(&mut self, at: Nanos, kind: EventKind) {
        self.events.push(Event { request: self.request.id, at, kind });
    }
}

/// A request that goes away without an end was lost by a fault of the client, such as a panic of the thread that carried it:
/// the run would wait for it until its timeout, and take it for a fault of the server.
impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            let at = self.clock.now();
            let reason = Some("the thread of the client that carried it has failed".into());
            let end = End { reason, ..End::new(OutcomeKind::ClientFault, 0, TokenSource::Chunks) };
            self.push(at, EventKind::End(Box::new(end)));
            self.sink.send_all(std::mem::take(&mut self.events));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sagellm_core::{HttpFacts, Prompt, Request, Sampling, event_channel};

    use super::*;

    const MS: Nanos = 1_000_000;

    /// When a request left by the kernel, which we saw leave at 10 ms, as its end tells it.
    fn departure(stamp: Nanos, first_token: Nanos) -> Option<Nanos> {
        let request = Request {
            id: 0,
            offset_ns: 0,
            session: None,
            prompt: Prompt::text("Hello"),
            max_tokens: 1,
            sampling: Sampling::default(),
            ignore_eos: false,
            keep_answer: false,
        };
        let (sink, mut events) = event_channel();
        let mut flight = Flight::new(Arc::new(request), sink, Clock::start());
        flight.depart(Departure { at: 10 * MS, number: 3 });
        flight.stamped(3, stamp);
        flight.piece(first_token, Piece { tokens: 1, ..Piece::default() });
        let http = Some(HttpFacts::default());
        flight.land(60 * MS, End { http, ..End::new(OutcomeKind::Success, 1, TokenSource::Usage) });
        let told = std::iter::from_fn(|| events.try_next()).last().map(|event| event.kind);
        let Some(EventKind::End(end)) = told else { panic!("no end was told") };
        end.http.and_then(|http| http.sent_kernel_ns)
    }

    #[test]
    fn no_request_left_after_its_answer_came() {
        assert_eq!(departure(11 * MS, 50 * MS), Some(11 * MS));
        assert_eq!(departure(11 * MS, 11 * MS - 1), None, "the server spoke first");
    }

    #[test]
    fn a_stamp_from_long_before_is_of_another_clock() {
        assert_eq!(departure(10 * MS - 5, 50 * MS), Some(10 * MS));
        assert_eq!(departure(5 * MS, 50 * MS), None);
    }

    #[test]
    fn a_request_that_is_lost_ends_as_a_fault_of_the_client() {
        let request = Request {
            id: 4,
            offset_ns: 0,
            session: None,
            prompt: Prompt::text("Hello"),
            max_tokens: 1,
            sampling: Sampling::default(),
            ignore_eos: false,
            keep_answer: false,
        };
        let (sink, mut events) = event_channel();
        let mut flight = Flight::new(Arc::new(request), sink, Clock::start());
        flight.depart(Departure { at: 10 * MS, number: 3 });
        drop(flight);
        let sent = events.try_next().unwrap();
        assert!(matches!(sent.kind, EventKind::Sent));
        let Some(Event { request: 4, kind: EventKind::End(end), .. }) = events.try_next() else { panic!("no end") };
        assert_eq!(end.outcome, OutcomeKind::ClientFault);
    }
}
