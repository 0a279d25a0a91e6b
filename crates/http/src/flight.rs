//! A request on its way.

use sagellm_core::{End, Event, EventKind, EventSink, Nanos, Piece, Prepared};

use crate::transport::Departure;

/// A request that was handed over and has not ended.
pub(crate) struct Flight {
    pub(crate) request: Prepared,
    pub(crate) sink: EventSink,
    /// What happened and was not told yet.
    events: Vec<Event>,
    /// When the first byte left, by us.
    pub(crate) sent: Option<Nanos>,
    /// Number under which the kernel stamps that byte.
    stamp_number: Option<u32>,
    /// When it left, by the kernel.
    sent_kernel: Option<Nanos>,
    /// What setting up connections took inside this request.
    connect: Option<Nanos>,
    /// Whether it was sent again because its connection was found closed.
    pub(crate) resent: bool,
    /// Times that it was sent again because it failed.
    pub(crate) tries: u32,
}

impl Flight {
    pub(crate) fn new(request: Prepared, sink: EventSink) -> Self {
        Self {
            request,
            sink,
            events: Vec::new(),
            sent: None,
            stamp_number: None,
            sent_kernel: None,
            connect: None,
            resent: false,
            tries: 0,
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
        self.push(at, EventKind::Chunk(piece));
    }

    /// What happened since the last time.
    pub(crate) fn news(&mut self) -> impl Iterator<Item = Event> {
        self.events.drain(..)
    }

    /// Tells everything, the end included.
    pub(crate) fn land(mut self, at: Nanos, mut end: End) {
        if let Some(facts) = &mut end.http {
            facts.connect_ns = self.connect;
            facts.sent_kernel_ns = self.sent_kernel;
            facts.retries = self.tries + u32::from(self.resent);
        }
        self.push(at.max(self.sent.unwrap_or(0)), EventKind::End(Box::new(end)));
        self.sink.send_all(self.events);
    }

    fn push(&mut self, at: Nanos, kind: EventKind) {
        self.events.push(Event { request: self.request.id, at, kind });
    }
}
