//! A port for a server that is launched. It cannot be held until the server takes it, so it is one that nothing else asks
//! for: the system gives neither outgoing connections nor listeners without a port one outside of its own range.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::TcpListener;

/// The ports that are tried: above those of well-known services, below those that systems give out.
const PORTS: std::ops::Range<u16> = 18_000..32_000;
/// Ports that are tried before the system chooses one.
const TRIES: u32 = 64;

/// A port that no other run of this program takes as long as this exists.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) port: u16,
    #[cfg(target_os = "linux")]
    _name: Option<std::os::unix::net::UnixListener>,
}

/// Finds a port that is free.
pub(crate) fn claim() -> io::Result<Claim> {
    let given_out = given_out();
    for _ in 0..TRIES {
        let port = PORTS.start + (RandomState::new().build_hasher().finish() % PORTS.len() as u64) as u16;
        if given_out.contains(&port) || TcpListener::bind(("0.0.0.0", port)).is_err() {
            continue;
        }
        if let Some(claim) = claimed(port) {
            return Ok(claim);
        }
    }
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    Ok(claimed(port).unwrap_or_else(|| unclaimed(port)))
}

/// The ports that the system gives out itself.
fn given_out() -> std::ops::RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().filter_map(|end| end.parse().ok());
    // Elsewhere it is the range of IANA, which is above ours.
    ends.next().zip(ends.next()).map_or(49_152..=65_535, |(first, last)| first..=last)
}

/// Makes a name known to other runs of this program on this machine; `None` when one of them has it.
#[cfg(target_os = "linux")]
fn claimed(port: u16) -> Option<Claim> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let address = SocketAddr::from_abstract_name(format!("sagellm-benchmark-port-{port}")).ok()?;
    match UnixListener::bind_addr(&address) {
        Ok(name) => Some(Claim { port, _name: Some(name) }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        // Where such names are forbidden, chance has to do.
        Err(_) => Some(unclaimed(port)),
    }
}

#[cfg(target_os = "linux")]
fn unclaimed(port: u16) -> Claim {
    Claim { port, _name: None }
}

#[cfg(not(target_os = "linux"))]
fn claimed(port: u16) -> Option<Claim> {
    Some(unclaimed(port))
}

#[cfg(not(target_os = "linux"))]
fn unclaimed(port: u16) -> Claim {
    Claim { port }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_outside_of_what_the_system_gives_out() {
        for claim in (0..50).map(|_| claim().unwrap()) {
            assert!(!given_out().contains(&claim.port), "{}", claim.port);
            TcpListener::bind(("127.0.0.1", claim.port)).unwrap();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_port_that_was_claimed_is_not_claimed_again() {
        let first = claim().unwrap();
        assert!(claimed(first.port).is_none());
        let port = first.port;
        drop(first);
        assert!(claimed(port).is_some());
    }
}
