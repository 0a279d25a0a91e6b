//! A port for a server that is launched.
//!
//! The port is found by binding it, and free again until the server binds it. Meanwhile another run on this machine could find the
//! same one, whose server would then be measured in place of the own one. So runs reserve their ports among each other.

use std::io;
use std::net::TcpListener;

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::unix::net::{SocketAddr, UnixListener};

/// Ports that are tried.
const MAX_TRIES: u32 = 64;

/// A free port that no other run on this machine has chosen, until this is dropped.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    pub(crate) number: u16,
    #[cfg(target_os = "linux")]
    _reservation: UnixListener,
}

impl ReservedPort {
    /// Finds one.
    ///
    /// # Errors
    /// When the system has no free port.
    pub(crate) fn find() -> io::Result<Self> {
        let mut last = None;
        for _ in 0..MAX_TRIES {
            let number = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            match Self::reserve(number) {
                Ok(port) => return Ok(port),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("no port is free")))
    }

    /// Names in the abstract namespace belong to a network namespace, as ports do, and end with the process.
    #[cfg(target_os = "linux")]
    fn reserve(number: u16) -> io::Result<Self> {
        let name = SocketAddr::from_abstract_name(format!("sagellm-benchmark/launch/{number}"))?;
        Ok(Self { number, _reservation: UnixListener::bind_addr(&name)? })
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve(number: u16) -> io::Result<Self> {
        Ok(Self { number })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reserved_once_until_it_is_dropped() {
        let port = ReservedPort::find().unwrap();
        let number = port.number;
        assert_eq!(ReservedPort::reserve(number).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(port);
        ReservedPort::reserve(number).unwrap();
    }
}
