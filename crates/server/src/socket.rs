//! What the standard library does not do with sockets.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{Backlog, MsgFlags, listen, recv, recvmsg, setsockopt, sockopt};
use sagellm_core::{Clock, Nanos};

use crate::ServerError;

/// When bytes arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// On the server's clock.
    pub at: Nanos,
    /// Whether the kernel stamped them; otherwise the stamp was taken when they had been read.
    pub by_kernel: bool,
}

/// Listens on `address` with the longest queue that the system grants, so that a thousand clients may knock at once, and
/// with as many open files. What its connections receive is stamped by the kernel, where it can.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it cannot be raised, fewer connections are served at the same time.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    let listener = TcpListener::bind(address)
        .and_then(|listener| {
            listen(&listener, Backlog::MAXCONN)?;
            Ok(listener)
        })
        .map_err(|why| ServerError::Listen { address, why })?;
    want_stamps(&listener);
    Ok(listener)
}

/// Reads bytes that are stamped by the kernel where it does that. Accepted connections inherit the listener's wish.
#[derive(Debug)]
pub(crate) struct Receiver {
    clock: Clock,
    control: Vec<u8>,
}

impl Receiver {
    #[cfg(target_os = "linux")]
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, control: nix::cmsg_space!(nix::sys::socket::Timestamps) }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, control: Vec::new() }
    }

    /// Reads what is there; 0 bytes mean that the other side has ended.
    pub(crate) fn receive(&mut self, socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, Arrival)> {
        let mut slices = [IoSliceMut::new(buffer)];
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut self.control), MsgFlags::empty())?;
        let read = self.clock.now();
        let arrival = match kernel_stamp(&message) {
            // How long ago it was, so that the two clocks may drift.
            Some(stamp) => {
                let age = sagellm_core::WallTime::now().unix_ns.saturating_sub(stamp);
                Arrival { at: read.saturating_sub(age), by_kernel: true }
            }
            None => Arrival { at: read, by_kernel: false },
        };
        Ok((message.bytes, arrival))
    }
}

#[cfg(target_os = "linux")]
fn want_stamps(socket: &impl AsFd) {
    use nix::sys::socket::TimestampingFlag;
    let flags = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    // A kernel that refuses gives no stamps, which every arrival says.
    let _ = setsockopt(socket, sockopt::Timestamping, &flags);
}

#[cfg(not(target_os = "linux"))]
fn want_stamps(_socket: &impl AsFd) {}

/// The kernel's receive stamp in nanoseconds of Unix time.
#[cfg(target_os = "linux")]
fn kernel_stamp(message: &nix::sys::socket::RecvMsg<'_, '_, ()>) -> Option<u64> {
    use nix::sys::socket::ControlMessageOwned;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampsns(stamps) => {
            let seconds = u64::try_from(stamps.system.tv_sec()).ok()?;
            let nanos = u64::try_from(stamps.system.tv_nsec()).ok()?;
            (seconds > 0).then(|| seconds * 1_000_000_000 + nanos)
        }
        _ => None,
    })
}

#[cfg(not(target_os = "linux"))]
fn kernel_stamp(_message: &nix::sys::socket::RecvMsg<'_, '_, ()>) -> Option<u64> {
    None
}

/// Whether the other side has closed or broken the connection, without waiting and without reading.
pub(crate) fn is_gone(stream: &TcpStream) -> bool {
    let mut byte = [0];
    match recv(stream.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Ok(0) => true,
        Ok(_) | Err(nix::Error::EAGAIN | nix::Error::EINTR) => false,
        Err(_) => true,
    }
}

/// Whether no connection can be accepted until others have ended.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}

/// Whether only this one connection could not be accepted: errors of the network that it had before (accept(2)).
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    use nix::libc::{EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENOPROTOOPT, EOPNOTSUPP, EPERM, EPROTO};
    let network = [EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENOPROTOOPT, EOPNOTSUPP, EPERM, EPROTO];
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
        || error.raw_os_error().is_some_and(|code| network.contains(&code))
}

/// Ends the connection by a reset instead of an orderly close.
pub(crate) fn reset(stream: TcpStream) {
    let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    // On a connection that has gone there is nothing to reset.
    let _ = setsockopt(&stream, sockopt::Linger, &now);
    drop(stream);
}
