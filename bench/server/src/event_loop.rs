//! The loop of the only thread: connections, and the times at which their tokens are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rustls::{ServerConfig, ServerConnection};

use crate::answer::{Lexicon, Timing};
use crate::clock;
use crate::connection::{BUFFER, Connection, Shared};
use crate::truth::Truth;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// Writes after which arrivals are looked for even when more tokens are due.
const BURST: usize = 64;

const LISTENER: u64 = 0;
const TIMER: u64 = 1;
const INPUT: u64 = 2;
const FIRST_SLOT: u64 = 3;

pub struct EventLoop {
    epoll: Epoll,
    timer: TimerFd,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// When a token of which slot is due.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    shared: Shared,
}

impl EventLoop {
    /// # Errors
    /// When the system refuses a descriptor.
    pub fn new(listener: TcpListener, tls: Option<Arc<ServerConfig>>, timing: Timing) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        listen(&listener, Backlog::new(BACKLOG)?)?;
        // Connections inherit it, so that a request that comes before `accept` is stamped too.
        setsockopt(&listener, sockopt::ReceiveTimestampns, &true)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER))?;
        epoll.add(io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN, INPUT))?;
        let (lexicon, buffer) = (Lexicon::new(), vec![0; BUFFER]);
        let shared = Shared { timing, lexicon, requests: 0, log: Vec::new(), buffer };
        Ok(Self { epoll, timer, listener, tls, slots: Vec::new(), free: Vec::new(), due: BinaryHeap::new(), shared })
    }

    /// Serves until the end of standard input; returns what was noted.
    ///
    /// # Errors
    /// When the system fails to wait or to accept.
    pub fn run(mut self) -> io::Result<Vec<Truth>> {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let timeout = self.timeout()?;
            let count = match self.epoll.wait(&mut events, timeout) {
                Err(nix::Error::EINTR) => 0,
                other => other?,
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept()?,
                    TIMER => {}
                    INPUT => {
                        if io::stdin().read(&mut [0; 64])? == 0 {
                            let open = self.slots.into_iter().flatten();
                            self.shared.log.extend(open.filter_map(Connection::close));
                            return Ok(self.shared.log);
                        }
                    }
                    token => {
                        let slot = (token - FIRST_SLOT) as usize;
                        let queued = self.slots[slot].as_ref().and_then(Connection::due);
                        self.with(slot, queued, Connection::ready);
                    }
                }
                self.write_due();
            }
            self.write_due();
        }
    }

    /// Sets the timer to the next token; returns how long the wait itself may take.
    fn timeout(&self) -> io::Result<EpollTimeout> {
        let Some(&Reverse((due, _))) = self.due.peek() else { return Ok(EpollTimeout::NONE) };
        let left = due.saturating_sub(clock::now());
        if left == 0 {
            return Ok(EpollTimeout::ZERO);
        }
        self.timer.set(Expiration::OneShot(Duration::from_nanos(left).into()), TimerSetTimeFlags::empty())?;
        Ok(EpollTimeout::NONE)
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(error) => return Err(error),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let tls = self.tls.clone().map(ServerConnection::new).transpose().map_err(io::Error::other)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
            self.epoll.add(&socket, EpollEvent::new(interest, slot as u64 + FIRST_SLOT))?;
            self.slots[slot] = Some(Connection::new(socket, tls));
        }
    }

    /// Writes tokens that are due, up to a burst.
    fn write_due(&mut self) {
        for _ in 0..BURST {
            let Some(&Reverse((due, slot))) = self.due.peek() else { return };
            if due > clock::now() {
                return;
            }
            self.due.pop();
            // A time may be left over from a connection that has ended, or be in the queue twice.
            if self.slots[slot].as_ref().and_then(Connection::due) == Some(due) {
                self.with(slot, None, Connection::write_token);
            }
        }
    }

    /// Lets a connection act, and queues the time of its next token unless it is the one that is `queued`.
    fn with(
        &mut self,
        slot: usize,
        queued: Option<u64>,
        act: impl FnOnce(&mut Connection, &mut Shared) -> io::Result<()>,
    ) {
        let Some(connection) = &mut self.slots[slot] else { return };
        match act(connection, &mut self.shared) {
            Ok(()) => {
                if let Some(due) = connection.due().filter(|_| queued.is_none()) {
                    self.due.push(Reverse((due, slot)));
                }
            }
            Err(_) => {
                // Dropping the socket also takes it off the event queue.
                let truth = self.slots[slot].take().and_then(Connection::close);
                self.shared.log.extend(truth);
                self.free.push(slot);
            }
        }
    }
}
