//! What is slow the first time: kernels that are compiled and graphs that are captured when they are first needed.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sagellm_core::Nanos;

/// Costs of a cold server. While one is paid, no token leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColdOptions {
    /// What the first request costs.
    pub start: Duration,
    /// What every number of requests at once costs when it first occurs.
    pub batch: Duration,
}

/// What has been paid.
#[derive(Debug)]
pub(crate) struct Cold {
    options: ColdOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: HashSet<u64>,
    /// When the last cost is paid.
    until: Nanos,
}

impl Cold {
    pub(crate) fn new(options: ColdOptions) -> Self {
        Self { options, state: Mutex::default() }
    }

    /// When tokens may leave again, now that so many requests are being answered.
    pub(crate) fn hold(&self, running: u64, now: Nanos) -> Nanos {
        // Both fields are whole whatever panicked.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let first = state.seen.is_empty();
        if state.seen.insert(running) {
            let cost = if first { nanos(self.options.start) } else { 0 }.saturating_add(nanos(self.options.batch));
            state.until = state.until.max(now).saturating_add(cost);
        }
        state.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_is_paid_for_once() {
        let options = ColdOptions { start: Duration::from_nanos(100), batch: Duration::from_nanos(10) };
        let cold = Cold::new(options);
        assert_eq!(cold.hold(1, 1000), 1110, "the start and the first size");
        assert_eq!(cold.hold(2, 1050), 1120, "one after the other");
        assert_eq!(cold.hold(1, 2000), 1120, "paid");
        assert_eq!(cold.hold(3, 2000), 2010);
    }
}
