//! One thread of a simulator: an event loop, its connections, and the times at which their tokens are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as Inbox, Sender, channel};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use sagellm_core::Nanos;

use super::Shared;
use super::alarm::Alarm;
use super::connection::{Connection, Next, Scratch};
use crate::ServerError;
use crate::limits::Share;
use crate::running::PATIENCE;
use crate::socket::{self, Receiver};

/// The last part of a wait is spent awake, since a sleep ends late by about this much.
const AWAKE: Duration = Duration::from_micros(100);
/// Writes after which the loop looks for new arrivals even if more are due.
const BURST: usize = 64;
/// Connections that are looked at for being late, each time around the loop.
const EXPIRED_AT_ONCE: usize = 16;

const LISTENER: Token = Token(0);
const INBOX: Token = Token(1);
const ALARM: Token = Token(2);
const FIRST_SLOT: usize = 3;

/// How a shard is given connections.
pub(crate) struct Hand {
    inbox: Sender<(TcpStream, Share)>,
    waker: Waker,
}

pub(crate) struct Shard {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    poll: Poll,
    alarm: Alarm,
    inbox: Inbox<(TcpStream, Share)>,
    door: Option<Door>,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The slot that was last looked at for being late.
    looked_at: usize,
    /// When the tokens of which slot are due.
    timers: BinaryHeap<Reverse<(Nanos, usize)>>,
    scratch: Scratch,
}

/// Where connections come in, and whom they are dealt out to.
struct Door {
    listener: mio::net::TcpListener,
    hands: Vec<Hand>,
    next: usize,
    /// Whether connections wait that could not be accepted, or were not to be.
    is_paused: bool,
}

impl Shard {
    pub(crate) fn new(shared: Arc<Shared>, stop: Arc<AtomicBool>) -> Result<(Self, Hand), ServerError> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), INBOX)?;
        let alarm = Alarm::new(&poll, ALARM)?;
        let (sender, inbox) = channel();
        let scratch = Scratch { receiver: Receiver::new(shared.clock), input: vec![0; 64 << 10], output: Vec::new() };
        let shard = Self {
            shared,
            stop,
            poll,
            alarm,
            inbox,
            door: None,
            slots: Vec::new(),
            free: Vec::new(),
            looked_at: 0,
            timers: BinaryHeap::new(),
            scratch,
        };
        Ok((shard, Hand { inbox: sender, waker }))
    }

    /// Makes this the shard that accepts connections for all.
    pub(crate) fn accept_for(&mut self, listener: TcpListener, hands: Vec<Hand>) -> Result<(), ServerError> {
        let mut listener = mio::net::TcpListener::from_std(listener);
        self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        self.door = Some(Door { listener, hands, next: 0, is_paused: false });
        Ok(())
    }

    /// Works until the server is to end.
    pub(crate) fn run(&mut self) -> Result<(), ServerError> {
        let mut events = Events::with_capacity(64);
        while !self.stop.load(Ordering::Relaxed) {
            let timeout = self.timeout()?;
            match self.poll.poll(&mut events, Some(timeout)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    INBOX => {
                        while let Ok((socket, place)) = self.inbox.try_recv() {
                            self.admit(socket, place);
                        }
                    }
                    ALARM => {}
                    Token(token) => {
                        let slot = token - FIRST_SLOT;
                        if event.is_readable() || event.is_read_closed() || event.is_error() {
                            self.with(slot, Connection::readable);
                        }
                        if event.is_writable() {
                            self.with(slot, Connection::writable);
                        }
                    }
                }
                self.write_due();
            }
            self.write_due();
            if self.door.as_ref().is_some_and(|door| door.is_paused) {
                self.accept()?;
            }
            self.expire();
        }
        Ok(())
    }

    /// Looks whether some of the connections have taken too long.
    fn expire(&mut self) {
        for _ in 0..EXPIRED_AT_ONCE.min(self.slots.len()) {
            self.looked_at = (self.looked_at + 1) % self.slots.len();
            self.with(self.looked_at, Connection::expire);
        }
    }

    /// How long the loop may sleep.
    fn timeout(&self) -> io::Result<Duration> {
        match self.timers.peek() {
            None => Ok(PATIENCE),
            Some(&Reverse((due, _))) => {
                self.alarm.timeout(self.shared.clock.until(due).saturating_sub(AWAKE), PATIENCE)
            }
        }
    }

    fn accept(&mut self) -> Result<(), ServerError> {
        let Some(door) = &mut self.door else { return Ok(()) };
        loop {
            // Those that wait are not announced again: the loop tries until it has accepted all.
            door.is_paused = self.shared.connections.is_exhausted();
            if door.is_paused {
                return Ok(());
            }
            match door.listener.accept() {
                Ok((socket, _)) => {
                    let place = self.shared.connections.share(1);
                    let hand = &door.hands[door.next % door.hands.len()];
                    door.next += 1;
                    // A shard that has ended wants no more connections: the server is ending.
                    if hand.inbox.send((socket, place)).is_ok() {
                        hand.waker.wake()?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if socket::is_of_one_connection(&error) => {}
                // Others will end, some of them because they are idle.
                Err(error) if socket::is_exhausted(&error) => {
                    door.is_paused = true;
                    return Ok(());
                }
                Err(error) => return Err(ServerError::Accept(error)),
            }
        }
    }

    fn admit(&mut self, mut socket: TcpStream, place: Share) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        // A client that has gone meanwhile is found out by the first read.
        let _ = socket.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().register(&mut socket, Token(slot + FIRST_SLOT), interest) {
            Ok(()) => self.slots[slot] = Some(Connection::new(socket, place, &self.shared)),
            // The system watches no more sockets: this one is closed.
            Err(_) => self.free.push(slot),
        }
    }

    /// Writes what is due, up to a burst.
    fn write_due(&mut self) {
        for _ in 0..BURST {
            match self.timers.peek() {
                Some(&Reverse((due, slot))) if due <= self.shared.clock.now() => {
                    self.timers.pop();
                    // Not if it was set for a connection that has gone meanwhile.
                    let connection = self.slots.get(slot).and_then(Option::as_ref);
                    if connection.and_then(Connection::next_due) == Some(due) {
                        self.with(slot, Connection::due);
                    }
                }
                _ => return,
            }
        }
    }

    /// Lets a connection act, and sees to what it wants next.
    fn with(&mut self, slot: usize, act: impl FnOnce(&mut Connection, &Shared, &mut Scratch) -> Next) {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        match act(connection, &self.shared, &mut self.scratch) {
            Next::Wait => {}
            Next::At(due) => self.timers.push(Reverse((due, slot))),
            Next::Close => {
                connection.closed(&self.shared);
                // Dropping the socket closes it, which also takes it off the event queue.
                self.slots[slot] = None;
                self.free.push(slot);
            }
        }
    }
}
