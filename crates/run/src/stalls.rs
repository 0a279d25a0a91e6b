//! Notices when the sending thread did not run although it should have.

use sagellm_core::journal::Stalls;
use sagellm_core::{Clock, Nanos};

/// Shorter delays are the scheduler's daily business.
const LEAST: Nanos = 10_000_000;
/// The uptime counts in hundredths of a second.
const LEAST_SUSPENSION: i64 = 50_000_000;

/// Watches the moments at which the thread was to run and did.
#[derive(Debug)]
pub(crate) struct StallWatch {
    clock: Clock,
    found: Stalls,
    /// How far uptime was ahead of the clock at the start.
    behind: Option<i64>,
}

impl StallWatch {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, found: Stalls::default(), behind: clock.behind_uptime_ns() }
    }

    /// The thread ran at `ran`, and was to run at `due` at the latest.
    pub(crate) fn note(&mut self, due: Nanos, ran: Nanos) {
        let late = ran.saturating_sub(due);
        if late >= LEAST {
            self.found.count += 1;
            self.found.total_ns += late;
            self.found.worst_ns = self.found.worst_ns.max(late);
        }
    }

    /// All that was found; `journal_ns` was spent waiting for the journal.
    pub(crate) fn found(&self, journal_ns: Nanos) -> Stalls {
        let suspended = self.behind.zip(self.clock.behind_uptime_ns()).map_or(0, |(before, after)| after - before);
        let suspended = if suspended < LEAST_SUSPENSION { 0 } else { suspended.unsigned_abs() };
        Stalls { journal_ns, suspended_ns: suspended, ..self.found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_delays_count() {
        let mut watch = StallWatch::new(Clock::start());
        watch.note(100_000_000, 100_000_000);
        watch.note(200_000_000, 209_000_000);
        watch.note(300_000_000, 299_000_000);
        watch.note(400_000_000, 900_000_000);
        watch.note(1_000_000_000, 1_020_000_000);
        let found = watch.found(7);
        assert_eq!((found.count, found.total_ns, found.worst_ns), (2, 520_000_000, 500_000_000));
        assert_eq!((found.journal_ns, found.suspended_ns), (7, 0));
    }
}
