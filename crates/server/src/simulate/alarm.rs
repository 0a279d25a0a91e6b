//! Waking an event loop at a time finer than the millisecond that its own timeout knows.

use std::io;
use std::time::Duration;

use mio::{Poll, Token};

/// A timer among the events of a loop.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Alarm(nix::sys::timerfd::TimerFd);

#[cfg(target_os = "linux")]
impl Alarm {
    pub(crate) fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        use std::os::fd::{AsFd, AsRawFd};

        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let descriptor = timer.as_fd().as_raw_fd();
        poll.registry().register(&mut mio::unix::SourceFd(&descriptor), token, mio::Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Waits at most this long: gives the timeout for the loop, after setting the timer if that cannot tell the time as
    /// finely.
    pub(crate) fn timeout(&self, left: Duration, longest: Duration) -> io::Result<Duration> {
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};

        if left.is_zero() || left >= longest {
            return Ok(left.min(longest));
        }
        // Each setting is a new edge, so what the timer tells need not be read.
        self.0.set(Expiration::OneShot(left.into()), TimerSetTimeFlags::empty())?;
        Ok(longest)
    }
}

/// Where the loop's own timeout is fine enough.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new(_poll: &Poll, _token: Token) -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn timeout(&self, left: Duration, longest: Duration) -> io::Result<Duration> {
        Ok(left.min(longest))
    }
}
