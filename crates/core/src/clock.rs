//! The only place that reads time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nanoseconds since the clock of the run was started.
pub type Nanos = u64;

/// Nanoseconds as milliseconds, the unit of every latency that is reported.
pub fn ms(nanos: Nanos) -> f64 {
    nanos as f64 / 1e6
}

/// Nanoseconds as seconds, the unit of every duration that is reported.
pub fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}

/// One monotonic clock per run. Copies share the origin, so their stamps can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    wall: WallTime,
}

/// A moment in civil time, kept once per run so that stamps can be placed on a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WallTime {
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub unix_ns: u64,
}

impl Clock {
    /// Starts a clock at zero and notes the wall time of that moment.
    #[expect(clippy::disallowed_methods, reason = "the one reader of time")]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            origin: Instant::now(),
            wall: WallTime { unix_ns: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX) },
        }
    }

    /// Nanoseconds since the start.
    #[expect(clippy::disallowed_methods, reason = "the one reader of time")]
    pub fn now(&self) -> Nanos {
        u64::try_from(Instant::now().duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long from now until `at`; zero when that has passed.
    pub fn until(&self, at: Nanos) -> Duration {
        Duration::from_nanos(at.saturating_sub(self.now()))
    }

    /// The wall time at which this clock read zero.
    pub fn started_at(&self) -> WallTime {
        self.wall
    }
}

impl WallTime {
    /// RFC 3339 in UTC to the millisecond, such as `2026-01-31T09:30:00.125Z`.
    pub fn rfc3339(self) -> String {
        let millis = i64::try_from(self.unix_ns / 1_000_000).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(stamp) => format!("{stamp:.3}"),
            Err(_) => format!("unix:{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_prints_as_rfc3339() {
        let wall = WallTime { unix_ns: 1_769_851_800_125_000_000 };
        assert_eq!(wall.rfc3339(), "2026-01-31T09:30:00.125Z");
    }

    #[test]
    fn now_never_goes_back() {
        let clock = Clock::start();
        let stamps: Vec<Nanos> = (0..1000).map(|_| clock.now()).collect();
        assert!(stamps.is_sorted());
    }

    #[test]
    fn until_a_past_moment_is_zero() {
        assert_eq!(Clock::start().until(0), Duration::ZERO);
    }
}
