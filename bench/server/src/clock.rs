//! Time in nanoseconds of the monotonic clock, and the kernel's receive stamps on it.

use std::io::{self, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// When bytes arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Monotonic time in nanoseconds.
    pub at: u64,
    /// Whether the kernel took it; otherwise it is the time right after the read.
    pub by_kernel: bool,
}

/// Returns the monotonic time in nanoseconds.
pub fn now() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

fn read(clock: ClockId) -> u64 {
    nanos(clock_gettime(clock).unwrap_or(TimeSpec::new(0, 0)))
}

fn nanos(time: TimeSpec) -> u64 {
    time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned()
}

/// Reads from a socket that has `ReceiveTimestampns`. The stamp is that of the last segment that this read took from.
///
/// # Errors
/// Those of the read.
pub fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Arrival)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut control = nix::cmsg_space!(TimeSpec);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
    let (monotonic, wall) = (now(), read(ClockId::CLOCK_REALTIME));
    let stamp = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmTimestampns(time) => Some(nanos(time)),
        _ => None,
    });
    let at = stamp.map_or(monotonic, |stamp| monotonic.saturating_sub(wall.saturating_sub(stamp)));
    Ok((message.bytes, Arrival { at, by_kernel: stamp.is_some() }))
}
