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
    pub fn start() -> Self {
        let (origin, wall) = read_both();
        Self { origin, wall }
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

    /// What this clock read at a moment of civil time, which is how the kernel stamps packets. Zero for a moment before
    /// the start. True to the microsecond as long as [`Clock::wall_drift_ns`] is.
    pub fn at_wall(&self, wall: WallTime) -> Nanos {
        wall.unix_ns.saturating_sub(self.wall.unix_ns)
    }

    /// Nanoseconds by which the system's uptime is ahead of this clock. It grows by the time for which the machine is
    /// suspended, which this clock does not count. `None` where the uptime cannot be read. True to 20 ms.
    pub fn behind_uptime_ns(&self) -> Option<i64> {
        let text = std::fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
        Some((uptime * 1e9) as i64 - self.now().cast_signed())
    }

    /// By how much the system's civil time has moved against this clock since the start. Not near zero when somebody
    /// set the time meanwhile; stamps of the kernel cannot be placed on this clock then.
    pub fn wall_drift_ns(&self) -> i64 {
        let (instant, wall) = read_both();
        let elapsed = u64::try_from(instant.duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        wall.unix_ns.saturating_sub(self.wall.unix_ns).cast_signed().saturating_sub(elapsed.cast_signed())
    }
}

/// One moment on both clocks: of several paired readings the tightest, so that a preemption in between does no harm.
#[expect(clippy::disallowed_methods, reason = "the one reader of time")]
fn read_both() -> (Instant, WallTime) {
    let read = || {
        let before = Instant::now();
        let wall = SystemTime::now();
        let gap = before.elapsed();
        (gap, before, wall)
    };
    let (mut gap, mut before, mut wall) = read();
    for _ in 1..32 {
        let reading = read();
        if reading.0 < gap {
            (gap, before, wall) = reading;
        }
    }
    let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    (before + gap / 2, WallTime { unix_ns: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX) })
}

impl WallTime {
    /// The wall time now, on the clock that the kernel stamps with. It can be set while the program runs, so durations are
    /// never taken from it.
    #[expect(clippy::disallowed_methods, reason = "the one reader of time")]
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { unix_ns: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// Reads a date as in a header of HTTP, such as `Sun, 06 Nov 1994 08:49:37 GMT`. `None` for anything else, and for a
    /// date before 1970.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let stamp = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Self { unix_ns: u64::try_from(stamp.as_nanosecond()).ok()? })
    }

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
    fn dates_of_http_are_read() {
        let read = |text| WallTime::from_http_date(text).map(|wall| wall.unix_ns / 1_000_000_000);
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for other in ["", "12", "tomorrow", "Sun, 06 Nov 1960 08:49:37 GMT", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn now_never_goes_back() {
        let clock = Clock::start();
        let stamps: Vec<Nanos> = (0..1000).map(|_| clock.now()).collect();
        assert!(stamps.is_sorted());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "compares the clock with the system's")]
    fn civil_time_is_placed_on_the_clock() {
        let clock = Clock::start();
        std::thread::sleep(Duration::from_millis(20));
        // A preemption between the two readings makes one attempt look worse than the clock is.
        let nearest = (0..100).map(|_| {
            let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            clock.now().abs_diff(clock.at_wall(WallTime { unix_ns }))
        });
        assert!(nearest.min().unwrap() < 20_000);
        assert!((0..100).map(|_| clock.wall_drift_ns().unsigned_abs()).min().unwrap() < 20_000);
        assert_eq!(clock.at_wall(WallTime { unix_ns: 0 }), 0);
    }

    #[test]
    fn until_a_past_moment_is_zero() {
        assert_eq!(Clock::start().until(0), Duration::ZERO);
    }
}
