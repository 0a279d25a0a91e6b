//! A TCP socket whose reads and writes are stamped by the kernel, where it does that.
//!
//! Linux stamps what it receives and hands the stamp over beside the bytes, as a control message of `recvmsg`; what it
//! sends is stamped when it leaves, and that stamp waits in the socket's error queue under the number of the last byte of
//! the write (<https://docs.kernel.org/networking/timestamping.html>).

use std::io::{self, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use sagellm_core::WallTime;
use sagellm_sys::{TcpState, tcp_state};

/// A connection that never blocks.
pub(crate) struct Socket {
    stream: TcpStream,
    stamping: bool,
    /// Bytes sent since stamping began, as the kernel counts them: the number of the next byte.
    sent: u32,
}

/// Room for the control messages of one read.
pub(crate) struct Control(#[cfg_attr(not(target_os = "linux"), expect(dead_code))] Vec<u8>);

impl Control {
    pub(crate) fn new() -> Self {
        Self(vec![0; 512])
    }
}

impl Socket {
    /// Begins to connect.
    pub(crate) fn connect(to: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(to)?, stamping: false, sent: 0 })
    }

    /// Whether the connection stands by now, or why it will not.
    pub(crate) fn connected(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends small writes at once, and asks the kernel for stamps.
    pub(crate) fn prepare(&mut self, stamping: bool) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        if stamping {
            linux::request_stamps(&self.stream)?;
            self.stamping = true;
        }
        Ok(())
    }

    /// For registration with `mio`.
    pub(crate) fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads what is there, and when the kernel received the last of it.
    pub(crate) fn recv(&mut self, into: &mut [u8], control: &mut Control) -> io::Result<(usize, Option<WallTime>)> {
        loop {
            let read = if self.stamping {
                linux::recv(&self.stream, into, control)
            } else {
                io::Read::read(&mut self.stream, into).map(|length| (length, None))
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Sends what the kernel takes; with it comes the number under which its stamp will be found.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<(usize, u32)> {
        loop {
            match self.stream.write(bytes) {
                Ok(length) => {
                    self.sent = self.sent.wrapping_add(length as u32);
                    return Ok((length, self.sent.wrapping_sub(1)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The kernel's account of the connection.
    pub(crate) fn tcp_state(&self) -> Option<TcpState> {
        tcp_state(&self.stream)
    }

    /// Takes the stamps of what was sent out of the error queue.
    pub(crate) fn sent_stamps(&mut self, control: &mut Control, mut each: impl FnMut(u32, WallTime)) {
        while self.stamping
            && let Some(found) = linux::sent_stamp(&self.stream, control)
        {
            if let Some((number, stamp)) = found {
                each(number, stamp);
            }
        }
    }
}

/// Keeps the kernel stamping: while a socket asks for stamps, all packets get them.
pub(crate) struct StampKeeper {
    _sockets: (std::net::TcpStream, std::net::TcpStream),
}

/// Finds out, over a connection of this process with itself, whether the kernel stamps what is received.
pub(crate) fn try_stamps() -> Option<StampKeeper> {
    linux::try_stamps()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, IoSliceMut, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Duration;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt, sockopt};
    use nix::sys::time::TimeSpec;
    use sagellm_core::WallTime;

    use super::{Control, StampKeeper};

    /// Of the error queue's messages, those with a stamp (`SO_EE_ORIGIN_TIMESTAMPING`).
    const ORIGIN_TIMESTAMPING: u8 = 4;

    pub(super) fn request_stamps(socket: &impl AsFd) -> io::Result<()> {
        let flags = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
        Ok(setsockopt(socket, sockopt::Timestamping, &flags)?)
    }

    pub(super) fn recv(
        socket: &impl AsRawFd,
        into: &mut [u8],
        control: &mut Control,
    ) -> io::Result<(usize, Option<WallTime>)> {
        let mut slices = [IoSliceMut::new(into)];
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control.0), MsgFlags::empty())?;
        let mut stamp = None;
        for found in message.cmsgs()? {
            if let ControlMessageOwned::ScmTimestampsns(stamps) = found {
                stamp = wall(stamps.system);
            }
        }
        Ok((message.bytes, stamp))
    }

    /// The next message of the error queue; `None` when there is no more.
    pub(super) fn sent_stamp(socket: &impl AsRawFd, control: &mut Control) -> Option<Option<(u32, WallTime)>> {
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut [], Some(&mut control.0), flags).ok()?;
        let (mut number, mut stamp) = (None, None);
        for found in message.cmsgs().ok()? {
            match found {
                ControlMessageOwned::ScmTimestampsns(stamps) => stamp = wall(stamps.system),
                ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _)
                    if error.ee_origin == ORIGIN_TIMESTAMPING =>
                {
                    number = Some(error.ee_data);
                }
                _ => {}
            }
        }
        Some(number.zip(stamp))
    }

    fn wall(stamp: TimeSpec) -> Option<WallTime> {
        let seconds = u64::try_from(stamp.tv_sec()).ok().filter(|&seconds| seconds > 0)?;
        let nanos = u64::try_from(stamp.tv_nsec()).ok()?;
        Some(WallTime { unix_ns: seconds.checked_mul(1_000_000_000)?.checked_add(nanos)? })
    }

    pub(super) fn try_stamps() -> Option<StampKeeper> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let reader = TcpStream::connect(listener.local_addr().ok()?).ok()?;
        let (mut writer, _) = listener.accept().ok()?;
        reader.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        writer.set_nodelay(true).ok()?;
        request_stamps(&reader).ok()?;
        let mut control = Control::new();
        // The kernel begins to stamp a moment after it was first asked to.
        for _ in 0..100 {
            writer.write_all(b"?").ok()?;
            let (length, stamp) = recv(&reader, &mut [0; 16], &mut control).ok()?;
            if length == 0 {
                return None;
            }
            if stamp.is_some() {
                return Some(StampKeeper { _sockets: (reader, writer) });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    use std::io;

    use mio::net::TcpStream;
    use sagellm_core::WallTime;

    use super::{Control, StampKeeper};

    pub(super) fn request_stamps(_: &TcpStream) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn recv(_: &TcpStream, _: &mut [u8], _: &mut Control) -> io::Result<(usize, Option<WallTime>)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn sent_stamp(_: &TcpStream, _: &mut Control) -> Option<Option<(u32, WallTime)>> {
        None
    }

    pub(super) fn try_stamps() -> Option<StampKeeper> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use sagellm_core::Clock;

    use super::*;

    /// Runs `attempt` until it gives something; a test that waits in vain is ended by the runner.
    fn wait_for<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    #[test]
    fn the_kernel_stamps_both_ways() {
        let _keeper = try_stamps().expect("Linux stamps");
        let clock = Clock::start();
        let mut control = Control::new();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                assert!(address.starts_with('['), "only IPv6 may be missing");
                continue;
            };
            let mut socket = Socket::connect(listener.local_addr().unwrap()).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            wait_for(|| socket.connected().unwrap().then_some(()));
            socket.prepare(true).unwrap();

            for bytes in [&b"hello"[..], b"x"] {
                let before = clock.now();
                let (length, number) = socket.send(bytes).unwrap();
                assert_eq!(length, bytes.len());
                peer.read_exact(&mut vec![0; length]).unwrap();
                let after = clock.now();
                let (stamped, at) = wait_for(|| {
                    let mut found = None;
                    socket.sent_stamps(&mut control, |number, stamp| found = Some((number, clock.at_wall(stamp))));
                    found
                });
                assert_eq!(stamped, number);
                assert!((before..after + 1000).contains(&(at + 1000)), "{before} {at} {after}");
            }

            let before = clock.now();
            peer.write_all(b"abc").unwrap();
            let after = clock.now();
            std::thread::sleep(Duration::from_millis(5));
            let mut into = [0; 16];
            let (length, stamp) = wait_for(|| socket.recv(&mut into, &mut control).ok());
            let at = clock.at_wall(stamp.unwrap());
            assert_eq!(&into[..length], b"abc");
            assert!(
                (before..after + 1000).contains(&(at + 1000)),
                "when it came, not when it was read: {before} {at} {after}"
            );
        }
    }

    #[test]
    fn a_refused_connection_says_so() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = match Socket::connect(free) {
            Ok(socket) => wait_for(|| match socket.connected() {
                Ok(true) => panic!("connected to nobody"),
                Ok(false) => None,
                Err(error) => Some(error),
            }),
            Err(error) => error,
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
