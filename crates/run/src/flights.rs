//! The requests that the backend holds.

use std::collections::HashMap;

use sagellm_core::{Event, EventKind, Nanos, OutcomeKind, Record, RecordBuilder};

/// Requests handed to the backend and not given back, by id.
#[derive(Debug)]
pub(crate) struct Flights {
    flights: HashMap<u64, Flight>,
    /// No deadline is earlier than this; it may be too early, never too late.
    earliest: Nanos,
}

/// An answer that was complete only after the limit, but before anybody looked.
fn timed_out(record: Record) -> Record {
    match record.outcome {
        OutcomeKind::Success => Record {
            outcome: OutcomeKind::Timeout,
            reason: Some("the answer was complete only after the limit".into()),
            ..record
        },
        _ => record,
    }
}

#[derive(Debug)]
enum Flight {
    /// Its end is awaited until `deadline`.
    Running { record: Box<RecordBuilder>, deadline: Nanos },
    /// Its record is written, but the backend has not let go of it: it keeps its slot until then, or until `deadline`.
    Cancelled { deadline: Nanos },
}

impl Flight {
    fn deadline(&self) -> Nanos {
        match self {
            Self::Running { deadline, .. } | Self::Cancelled { deadline } => *deadline,
        }
    }
}

/// What came of an event or a deadline.
#[derive(Debug)]
pub(crate) enum Landing {
    /// The request goes on.
    Flying,
    /// The request is over and its slot free since `freed_at`.
    Ended { record: Box<Record>, freed_at: Nanos },
    /// A request whose record is already written gave its slot back.
    Freed { freed_at: Nanos },
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self { flights: HashMap::new(), earliest: Nanos::MAX }
    }

    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// When [`Flights::expire`] has something to look at; `Nanos::MAX` when never.
    pub(crate) fn earliest_deadline(&self) -> Nanos {
        self.earliest
    }

    pub(crate) fn insert(&mut self, id: u64, record: RecordBuilder, deadline: Nanos) {
        self.flights.insert(id, Flight::Running { record: Box::new(record), deadline });
        self.earliest = self.earliest.min(deadline);
    }

    /// Takes back a request that the backend did not accept.
    pub(crate) fn withdraw(&mut self, id: u64) -> Option<RecordBuilder> {
        match self.flights.remove(&id) {
            Some(Flight::Running { record, .. }) => Some(*record),
            _ => None,
        }
    }

    /// Enters an event into the record that it belongs to; `None` when that is closed and its slot not free yet, or there
    /// is none. The limit of a request counts from its `Sent`.
    pub(crate) fn apply(&mut self, event: &Event, timeout: Nanos) -> Option<Landing> {
        let ends = matches!(event.kind, EventKind::End(_));
        match self.flights.get_mut(&event.request)? {
            Flight::Running { record, deadline } => {
                record.apply(event);
                if matches!(event.kind, EventKind::Sent) {
                    *deadline = event.at.saturating_add(timeout);
                    self.earliest = self.earliest.min(*deadline);
                }
                if !ends {
                    return Some(Landing::Flying);
                }
                let late = event.at > *deadline;
                let record = self.withdraw(event.request)?.finish();
                Some(Landing::Ended {
                    record: Box::new(if late { timed_out(record) } else { record }),
                    freed_at: event.at,
                })
            }
            Flight::Cancelled { .. } if ends => {
                self.flights.remove(&event.request);
                Some(Landing::Freed { freed_at: event.at })
            }
            Flight::Cancelled { .. } => None,
        }
    }

    /// Ids of the running requests whose deadline has passed. Cancelled ones that were never given back are dropped;
    /// their number comes second.
    pub(crate) fn expire(&mut self, now: Nanos) -> (Vec<u64>, usize) {
        let before = self.flights.len();
        self.flights.retain(|_, flight| !matches!(flight, Flight::Cancelled { deadline } if *deadline <= now));
        let dropped = before - self.flights.len();
        let late = self.ids_of(|flight| flight.deadline() <= now);
        self.earliest = self.flights.values().map(Flight::deadline).min().unwrap_or(Nanos::MAX);
        (late, dropped)
    }

    /// Ids of all running requests, ascending.
    pub(crate) fn running(&self) -> Vec<u64> {
        self.ids_of(|_| true)
    }

    /// Closes the record of a running request; its slot is held until `hold_until` unless the backend ends it sooner.
    pub(crate) fn close(
        &mut self,
        id: u64,
        now: Nanos,
        outcome: OutcomeKind,
        reason: &str,
        hold_until: Nanos,
    ) -> Option<Record> {
        let mut record = self.withdraw(id)?;
        record.close(now, outcome, reason);
        self.flights.insert(id, Flight::Cancelled { deadline: hold_until });
        self.earliest = self.earliest.min(hold_until);
        Some(record.finish())
    }

    /// Forgets the cancelled requests.
    pub(crate) fn forget_cancelled(&mut self) {
        self.flights.retain(|_, flight| matches!(flight, Flight::Running { .. }));
    }

    fn ids_of(&self, wanted: impl Fn(&Flight) -> bool) -> Vec<u64> {
        let running = self.flights.iter().filter(|(_, flight)| matches!(flight, Flight::Running { .. }));
        let mut ids: Vec<u64> = running.filter(|(_, flight)| wanted(flight)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sagellm_core::{End, Prompt, Request, Sampling, Stamp, TokenSource};

    #[test]
    fn an_answer_that_is_complete_only_after_the_limit_is_no_success() {
        let request = Request {
            id: 1,
            offset_ns: 0,
            session: None,
            prompt: Prompt::text("?"),
            max_tokens: 1,
            sampling: Sampling::default(),
            ignore_eos: true,
            keep_answer: false,
        };
        let outcome = |at| {
            let mut flights = Flights::new();
            flights.insert(1, RecordBuilder::new(&request, 0, false, Stamp::User), 100);
            flights.apply(&Event { request: 1, at: 10, kind: EventKind::Sent }, 100);
            let end = End::new(OutcomeKind::Success, 1, TokenSource::Chunks);
            match flights.apply(&Event { request: 1, at, kind: EventKind::End(Box::new(end)) }, 100) {
                Some(Landing::Ended { record, .. }) => record.outcome,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(outcome(110), OutcomeKind::Success);
        assert_eq!(outcome(111), OutcomeKind::Timeout);
    }
}
