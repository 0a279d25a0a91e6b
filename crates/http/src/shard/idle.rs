//! Since when bytes that are read now can have been waiting.
//!
//! A connection that a look did not find ready held nothing unread at that moment, and one that it did find was read after
//! it. So what is read now came after the look before the last.
//!
//! While a thread sleeps in its wait for readiness, nothing waits to be read: the first byte that comes makes it runnable.
//! So whatever it finds on waking came after it became runnable, which is the moment at which it ran again less the time
//! that it waited for a processor. Linux accounts for that time. It does not account for the time from the stamp of a segment
//! until the thread becomes runnable, in which a processor may have to leave a state of rest: that is learned from segments
//! that are read alone.

use sagellm_core::Nanos;
use sagellm_sys::RunDelay;

/// From the stamp of a segment until a thread that waits for it runs takes this long at most on a free processor. It is what
/// counts while nothing is known of this machine, and never exceeded.
pub(super) const DELIVERY: Nanos = 500_000;
/// Segments after which it is known.
const KNOWN: u32 = 64;
/// What is allowed for is twice the longest delivery of late, and at least this.
const LEAST_DELIVERY: Nanos = 50_000;
/// A long delivery is forgotten by this share with each further one.
const FORGOTTEN: Nanos = 512;

/// The account is read again after so long, so that the delays of one wait are not charged to another.
const FRESH: Nanos = 1_000_000;

/// Knows when every connection of the thread was last empty.
#[derive(Debug, Default)]
pub(super) struct IdleWatch {
    delay: Option<RunDelay>,
    /// When the account was read, and what it said.
    read: (Nanos, u64),
    /// Every connection was empty then, or later.
    empty_at: Nanos,
    /// When the last look that listed all that was ready began.
    looked: Nanos,
    /// When the last sleep ended, if it has not been looked into.
    woke: Option<Nanos>,
    /// The same, if nothing has been read since.
    ended: Option<Nanos>,
    /// Deliveries that were looked at, and the longest of late.
    deliveries: u32,
    longest: Nanos,
}

impl IdleWatch {
    /// Watches the calling thread.
    pub(super) fn of_this_thread() -> Self {
        let delay = RunDelay::of_this_thread();
        let read = (0, delay.as_ref().and_then(RunDelay::nanos).unwrap_or(0));
        Self { delay, read, ..Self::default() }
    }

    /// A look began at `at`, and listed `all` that was ready, or as much as there was room for.
    pub(super) fn looked(&mut self, at: Nanos, all: bool) {
        self.empty_at = self.empty_at.max(self.looked);
        if all {
            self.looked = at;
        }
    }

    /// That look found nothing.
    pub(super) fn nothing_ready(&mut self) {
        self.empty_at = self.empty_at.max(self.looked);
    }

    /// The thread slept, after nothing had been ready, and runs again since `at`.
    pub(super) fn woke(&mut self, at: Nanos) {
        self.woke = Some(at);
        self.ended = Some(at);
    }

    /// A moment at which every connection was empty: what is read now came after it.
    pub(super) fn empty_since(&mut self) -> Nanos {
        if let Some(woke) = self.woke.take()
            && let Some(total) = self.delay.as_ref().and_then(RunDelay::nanos)
        {
            let waited = total.saturating_sub(self.read.1);
            self.read = (woke, total);
            self.empty_at = self.empty_at.max(woke.saturating_sub(waited));
        }
        self.empty_at
    }

    /// A segment with the stamp `at` was read alone. If it ended the sleep, it is known how long that took.
    pub(super) fn delivered(&mut self, at: Nanos) {
        let Some(woke) = self.ended.take() else { return };
        let mut took = woke.saturating_sub(at);
        if took > self.longest && self.delay.is_some() {
            took = self.empty_since().saturating_sub(at).min(took);
        }
        self.deliveries = self.deliveries.saturating_add(1);
        self.longest = took.max(self.longest - self.longest / FORGOTTEN);
    }

    /// How long before it was readable a segment may have been stamped.
    pub(super) fn delivery(&self) -> Nanos {
        if self.deliveries < KNOWN { DELIVERY } else { (2 * self.longest).clamp(LEAST_DELIVERY, DELIVERY) }
    }

    /// Everything that was ready has been read. Called before each wait.
    pub(super) fn settle(&mut self, now: Nanos) {
        self.woke = None;
        self.ended = None;
        if now >= self.read.0 + FRESH
            && let Some(total) = self.delay.as_ref().and_then(RunDelay::nanos)
        {
            self.read = (now, total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    #[test]
    fn without_an_account_the_last_look_counts() {
        let mut idle = IdleWatch::default();
        assert_eq!(idle.empty_since(), 0);
        idle.looked(3 * MS, true);
        idle.nothing_ready();
        idle.woke(9 * MS);
        assert_eq!(idle.empty_since(), 3 * MS);
    }

    #[test]
    fn what_a_look_does_not_list_was_empty_then() {
        let mut idle = IdleWatch::default();
        idle.looked(3 * MS, true);
        assert_eq!(idle.empty_since(), 0, "what it lists may have waited for long");
        idle.looked(4 * MS, true);
        assert_eq!(idle.empty_since(), 3 * MS);
        idle.looked(5 * MS, false);
        idle.looked(6 * MS, true);
        assert_eq!(idle.empty_since(), 4 * MS, "a list without room says nothing of what is not on it");
    }

    #[test]
    fn deliveries_are_learned_and_forgotten() {
        const US: Nanos = 1000;
        let mut idle = IdleWatch::default();
        let mut deliver = |took: Nanos, times: u32| {
            for _ in 0..times {
                idle.woke(9 * MS);
                idle.delivered(9 * MS - took);
                idle.delivered(0);
            }
            idle.delivery()
        };
        assert_eq!(deliver(10 * US, KNOWN - 1), DELIVERY, "not known yet");
        assert_eq!(deliver(10 * US, 1), LEAST_DELIVERY);
        assert_eq!(deliver(100 * US, 1), 200 * US, "twice the longest");
        assert!((100 * US..130 * US).contains(&deliver(10 * US, 300)), "half of it is forgotten");
        assert_eq!(deliver(MS, 1), DELIVERY, "never more");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_sleep_ends_when_the_first_byte_comes() {
        let mut idle = IdleWatch::of_this_thread();
        if idle.delay.is_none() {
            return;
        }
        idle.settle(MS);
        idle.looked(MS, true);
        idle.nothing_ready();
        std::thread::sleep(std::time::Duration::from_millis(1));
        // It ran again within a minute, whatever else runs here.
        let woke = 60_000 * MS;
        idle.woke(woke);
        let since = idle.empty_since();
        assert!(since > MS && since <= woke, "{since}");
        assert_eq!(idle.empty_since(), since, "known until the next sleep");
    }
}
