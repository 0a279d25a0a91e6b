//! A thread for each connection: for servers whose clients are few.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sagellm_core::{Clock, Nanos};

use super::{FULL, LATE, Parsed, Request, Response, error_body, parse};
use crate::ServerError;
use crate::limits::{ConnectionLimits, Quota, Share};
use crate::running::{PATIENCE, Running};
use crate::socket::{self, Arrival, Receiver};

/// Bytes that are read at a time.
const INPUT: usize = 16 << 10;

/// Serves `address`: each connection becomes a [`Peer`] in a thread of its own.
pub(crate) fn listen<F>(
    name: &str,
    address: SocketAddr,
    limits: ConnectionLimits,
    clock: Clock,
    serve: F,
) -> Result<Running, ServerError>
where
    F: Fn(Peer) + Send + Sync + 'static,
{
    let listener = socket::bind(address)?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let stop = Arc::new(AtomicBool::new(false));
    let acceptor = {
        let stop = Arc::clone(&stop);
        let serve = Arc::new(serve);
        std::thread::Builder::new()
            .name(format!("{name}-accept"))
            .spawn(move || accept(&listener, &stop, limits, clock, &serve))?
    };
    Ok(Running::new(address, stop, vec![acceptor]))
}

fn accept<F>(
    listener: &TcpListener,
    stop: &Arc<AtomicBool>,
    limits: ConnectionLimits,
    clock: Clock,
    serve: &Arc<F>,
) -> Result<(), ServerError>
where
    F: Fn(Peer) + Send + Sync + 'static,
{
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::ZERO);
    let mut peers: Vec<std::thread::JoinHandle<()>> = Vec::new();
    let mut number = 0;
    let buffered = Quota::new(limits.buffered);
    while !stop.load(Ordering::Relaxed) {
        if peers.len() >= limits.connections {
            peers.retain(|peer| !peer.is_finished());
            if peers.len() >= limits.connections {
                std::thread::sleep(PATIENCE);
                continue;
            }
        }
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
                match poll(&mut wanted, patience) {
                    Ok(_) | Err(nix::Error::EINTR) => continue,
                    Err(error) => return Err(ServerError::Accept(error.into())),
                }
            }
            Err(error) if socket::is_of_one_connection(&error) => continue,
            // Others will end, some of them because they are idle.
            Err(error) if socket::is_exhausted(&error) => {
                std::thread::sleep(PATIENCE);
                continue;
            }
            Err(error) => return Err(ServerError::Accept(error)),
        };
        // One that has gone meanwhile takes no options.
        let Ok(peer) = Peer::new(stream, number, Arc::clone(stop), limits, buffered.share(0), clock) else { continue };
        number += 1;
        let serve = Arc::clone(serve);
        peers.retain(|peer| !peer.is_finished());
        // Where the system starts no thread, the connection is closed.
        peers.extend(std::thread::Builder::new().name(format!("peer-{number}")).spawn(move || serve(peer)));
    }
    for peer in peers {
        // What one connection met is told where it matters.
        let _ = peer.join();
    }
    Ok(())
}

/// One client's connection.
pub(crate) struct Peer {
    stream: TcpStream,
    number: u64,
    stop: Arc<AtomicBool>,
    clock: Clock,
    receiver: Receiver,
    /// Bytes that are not yet part of a request that was handed out, and when the first of them came.
    unread: Vec<u8>,
    arrival: Option<Arrival>,
    limits: ConnectionLimits,
    /// Of the memory for requests that are not complete.
    buffered: Share,
}

/// What came of waiting for more of a request.
enum More {
    Some,
    /// The connection or the server ends.
    End,
    /// It took too long.
    Late,
    /// All clients together have sent too much that is not complete.
    Full,
}

impl Peer {
    fn new(
        stream: TcpStream,
        number: u64,
        stop: Arc<AtomicBool>,
        limits: ConnectionLimits,
        buffered: Share,
        clock: Clock,
    ) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let receiver = Receiver::new(clock);
        Ok(Self { stream, number, stop, clock, receiver, unread: Vec::new(), arrival: None, limits, buffered })
    }

    /// Its place among the connections, from 0.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The clock of its stamps.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether the server is to end.
    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the client has closed or broken the connection.
    pub(crate) fn is_gone(&self) -> bool {
        socket::is_gone(&self.stream)
    }

    /// The next request and when its first byte came; `None` when there will be none. Bytes that are no request are
    /// answered here.
    pub(crate) fn next_request(&mut self) -> io::Result<Option<(Request, Arrival)>> {
        let mut told_to_go_on = false;
        let begun = self.clock.now();
        loop {
            match parse(&self.unread) {
                Parsed::Whole(request, used) => {
                    let arrival = self.arrival.unwrap_or(Arrival { at: self.clock.now(), by_kernel: false });
                    self.unread.drain(..used);
                    // What a long request took is not kept for the next.
                    self.unread.shrink_to(INPUT);
                    self.buffered.resize(self.unread.len());
                    if self.unread.is_empty() {
                        self.arrival = None;
                    }
                    return Ok(Some((request, arrival)));
                }
                Parsed::Refused(status, why) => return self.refuse(status, &why),
                Parsed::Partial { waits } if waits && !told_to_go_on => {
                    self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                    told_to_go_on = true;
                }
                Parsed::Partial { .. } => {}
            }
            match self.read(begun)? {
                More::Some => {}
                More::End => return Ok(None),
                More::Late if self.unread.is_empty() => return Ok(None),
                More::Late => return self.refuse(408, LATE),
                More::Full => return self.refuse(503, FULL),
            }
        }
    }

    /// Answers with an error, after which the connection ends.
    fn refuse(&mut self, status: u16, why: &str) -> io::Result<Option<(Request, Arrival)>> {
        let response = Response::json(status, &error_body(status, why, None));
        self.write(&response.bytes(false))?;
        Ok(None)
    }

    /// Reads more of a request, for which the server has waited since `begun`.
    fn read(&mut self, begun: Nanos) -> io::Result<More> {
        let mut buffer = [0; INPUT];
        while !self.stopping() {
            match self.receiver.receive(&self.stream, &mut buffer) {
                Ok((0, _)) => return Ok(More::End),
                Ok((count, arrival)) => {
                    self.arrival.get_or_insert(arrival);
                    self.unread.extend_from_slice(&buffer[..count]);
                    if !self.buffered.resize(self.unread.len()) {
                        return Ok(More::Full);
                    }
                    return Ok(if self.is_late(begun) { More::Late } else { More::Some });
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    if self.is_late(begun) {
                        return Ok(More::Late);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(More::End)
    }

    fn is_late(&self, begun: Nanos) -> bool {
        let (since, limit) = match self.arrival {
            // The beginning of a request may have come behind the one before.
            Some(arrival) => (arrival.at.max(begun), self.limits.request),
            None => (begun, self.limits.idle),
        };
        u128::from(self.clock.now().saturating_sub(since)) > limit.as_nanos()
    }

    /// Writes all of `bytes` at once. A client that does not read is waited for until the server is to end, or until
    /// it has read nothing for too long.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut since = self.clock.now();
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    since = self.clock.now();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.stopping() => {
                    if u128::from(self.clock.now().saturating_sub(since)) > self.limits.stalled.as_nanos() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        socket::reset(self.stream);
    }
}
