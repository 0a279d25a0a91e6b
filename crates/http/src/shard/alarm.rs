//! A wake-up call to the microsecond: on Linux the wait for readiness counts whole milliseconds.

use std::io;

use mio::Registry;
use sagellm_core::{Clock, Nanos};

/// Wakes the thread that waits for readiness.
#[cfg(target_os = "linux")]
pub(super) struct Alarm {
    timer: nix::sys::timerfd::TimerFd,
    set_for: Option<Nanos>,
}

#[cfg(target_os = "linux")]
impl Alarm {
    pub(super) fn new(registry: &Registry) -> io::Result<Self> {
        use std::os::fd::{AsFd, AsRawFd};

        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let source = timer.as_fd().as_raw_fd();
        registry.register(&mut mio::unix::SourceFd(&source), super::WAKE, mio::Interest::READABLE)?;
        Ok(Self { timer, set_for: None })
    }

    /// Sets the alarm, which rings once. Until when the wait itself must end.
    pub(super) fn set(&mut self, at: Nanos, clock: Clock) -> Nanos {
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};

        let wait = clock.until(at);
        // A timer of no time would never ring.
        if wait.is_zero() {
            return at;
        }
        if self.set_for != Some(at) {
            if self.timer.set(Expiration::OneShot(wait.into()), TimerSetTimeFlags::empty()).is_err() {
                return at;
            }
            self.set_for = Some(at);
        }
        Nanos::MAX
    }
}

/// Elsewhere the wait for readiness is precise itself.
#[cfg(not(target_os = "linux"))]
pub(super) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(super) fn new(_registry: &Registry) -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn set(&mut self, at: Nanos, _clock: Clock) -> Nanos {
        at
    }
}
