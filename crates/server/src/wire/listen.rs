//! A thread for each connection: for servers whose clients are few.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sagellm_core::Clock;

use super::{Parsed, Request, Response, error_body, parse};
use crate::ServerError;
use crate::running::{PATIENCE, Running};
use crate::socket::{self, Arrival, Receiver};

/// Serves `address`: each connection becomes a [`Peer`] in a thread of its own.
pub(crate) fn listen<F>(name: &str, address: SocketAddr, clock: Clock, serve: F) -> Result<Running, ServerError>
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
            .spawn(move || accept(&listener, &stop, clock, &serve))?
    };
    Ok(Running::new(address, stop, vec![acceptor]))
}

fn accept<F>(listener: &TcpListener, stop: &Arc<AtomicBool>, clock: Clock, serve: &Arc<F>) -> Result<(), ServerError>
where
    F: Fn(Peer) + Send + Sync + 'static,
{
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::ZERO);
    let mut peers: Vec<std::thread::JoinHandle<()>> = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wanted = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
                match poll(&mut wanted, patience) {
                    Ok(_) | Err(nix::Error::EINTR) => continue,
                    Err(error) => return Err(ServerError::Accept(error.into())),
                }
            }
            // The client has gone before it was let in.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(ServerError::Accept(error)),
        };
        let peer = Peer::new(stream, number, Arc::clone(stop), clock)?;
        number += 1;
        let serve = Arc::clone(serve);
        peers.retain(|peer| !peer.is_finished());
        peers.push(std::thread::Builder::new().name(format!("peer-{number}")).spawn(move || serve(peer))?);
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
}

impl Peer {
    fn new(stream: TcpStream, number: u64, stop: Arc<AtomicBool>, clock: Clock) -> Result<Self, ServerError> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let receiver = Receiver::new(clock);
        Ok(Self { stream, number, stop, clock, receiver, unread: Vec::new(), arrival: None })
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
        loop {
            match parse(&self.unread) {
                Parsed::Whole(request, used) => {
                    let arrival = self.arrival.unwrap_or(Arrival { at: self.clock.now(), by_kernel: false });
                    self.unread.drain(..used);
                    if self.unread.is_empty() {
                        self.arrival = None;
                    }
                    return Ok(Some((request, arrival)));
                }
                Parsed::Refused(status, why) => {
                    let response = Response::json(status, &error_body(status, &why, None));
                    self.write(&response.bytes(false))?;
                    return Ok(None);
                }
                Parsed::Partial { waits } if waits && !told_to_go_on => {
                    self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                    told_to_go_on = true;
                }
                Parsed::Partial { .. } => {}
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Reads more; false at the end of the connection or the server.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        while !self.stopping() {
            match self.receiver.receive(&self.stream, &mut buffer) {
                Ok((0, _)) => return Ok(false),
                Ok((count, arrival)) => {
                    self.arrival.get_or_insert(arrival);
                    self.unread.extend_from_slice(&buffer[..count]);
                    return Ok(true);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Writes all of `bytes` at once. A client that does not read is waited for until the server is to end.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.stopping() => {}
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
