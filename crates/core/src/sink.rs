//! The way of events from a backend to the run.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use std::vec;

use crate::Event;

/// Where a backend puts its events. Cheap to clone, never blocks.
///
/// Waking a thread costs more than a token does, so a backend that has several events at hand sends them at once.
#[derive(Clone, Debug)]
pub struct EventSink {
    batches: Sender<Vec<Event>>,
    channel: Arc<()>,
}

/// The other end: events in the order in which they were sent.
#[derive(Debug)]
pub struct Events {
    batches: Receiver<Vec<Event>>,
    batch: vec::IntoIter<Event>,
}

/// A sink, and where its events come out.
pub fn event_channel() -> (EventSink, Events) {
    let (sender, batches) = channel();
    (EventSink { batches: sender, channel: Arc::new(()) }, Events { batches, batch: Vec::new().into_iter() })
}

impl EventSink {
    /// Sends one event. A receiver that has gone wants nothing.
    pub fn send(&self, event: Event) {
        self.send_all(vec![event]);
    }

    /// Sends events that are then received one after the other.
    pub fn send_all(&self, events: Vec<Event>) {
        if !events.is_empty() {
            let _ = self.batches.send(events);
        }
    }

    /// Whether both lead to the same place.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.channel, &other.channel)
    }
}

impl Events {
    /// The next event if it is already there.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            match self.batch.next() {
                Some(event) => return Some(event),
                None => self.batch = self.batches.try_recv().ok()?.into_iter(),
            }
        }
    }

    /// The next event, awaited for `limit` at most.
    ///
    /// # Errors
    /// When none came in time, or when no sink is left that could send one.
    pub fn next_within(&mut self, limit: Duration) -> Result<Event, RecvTimeoutError> {
        loop {
            match self.batch.next() {
                Some(event) => return Ok(event),
                None => self.batch = self.batches.recv_timeout(limit)?.into_iter(),
            }
        }
    }
}

/// Ends when no sink is left.
impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            match self.batch.next() {
                Some(event) => return Some(event),
                None => self.batch = self.batches.recv().ok()?.into_iter(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventKind;

    fn sent(request: u64) -> Event {
        Event { request, at: 0, kind: EventKind::Sent }
    }

    #[test]
    fn events_come_out_one_by_one_in_the_order_they_were_sent() {
        let (sink, mut events) = event_channel();
        assert!(events.try_next().is_none());
        assert_eq!(events.next_within(Duration::ZERO).unwrap_err(), RecvTimeoutError::Timeout);
        sink.send_all(vec![sent(1), sent(2)]);
        sink.send_all(Vec::new());
        sink.clone().send(sent(3));
        assert_eq!(events.try_next().unwrap().request, 1);
        assert_eq!(events.next_within(Duration::ZERO).unwrap().request, 2);
        drop(sink);
        assert_eq!(events.next().unwrap().request, 3);
        assert!(events.next().is_none());
        assert_eq!(events.next_within(Duration::ZERO).unwrap_err(), RecvTimeoutError::Disconnected);
    }

    #[test]
    fn sinks_are_the_same_where_their_events_come_out_together() {
        let ((one, _), (other, _)) = (event_channel(), event_channel());
        assert!(one.is_same(&one.clone()) && !one.is_same(&other));
    }
}
