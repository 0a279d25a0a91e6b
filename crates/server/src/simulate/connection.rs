//! One client's connection within an event loop.

use std::io::{self, Write};
use std::sync::atomic::Ordering;

use mio::net::TcpStream;
use sagellm_core::{Nanos, WallTime};

use super::Shared;
use super::ask::Ask;
use super::generation::Generation;
use super::truth::{Notes, Truth};
use crate::limits::{Share, is_authorized};
use crate::socket::{Arrival, Receiver};
use crate::wire::{FULL, LATE, Parsed, Request, Response, error_body, parse, unauthorized};

/// Bytes that one write carries at most, about.
const WRITE_SIZE: usize = 64 << 10;

/// What is to happen to a connection next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It waits for its client.
    Wait,
    /// A token is due then.
    At(Nanos),
    /// It is over.
    Close,
}

/// Bytes of a buffer that a connection keeps when it is not in use.
const KEPT: usize = 16 << 10;

/// Buffers that the connections of one thread share.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) receiver: Receiver,
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    /// Bytes that are not yet part of a request that was taken up, and when the first of them came.
    unread: Vec<u8>,
    arrival: Option<Arrival>,
    told_to_go_on: bool,
    /// Bytes that the socket did not take yet. While there are any, nothing more is rendered.
    unsent: Vec<u8>,
    sent: usize,
    close_after: bool,
    answer: Option<(Generation, Notes)>,
    /// When it last began to wait for a request, or for its client to read.
    since: Nanos,
    /// Of the connections of the server.
    _place: Share,
    /// Of the memory for requests that are not complete.
    buffered: Share,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, place: Share, shared: &Shared) -> Self {
        Self {
            since: shared.clock.now(),
            _place: place,
            buffered: shared.buffered.share(0),
            socket,
            unread: Vec::new(),
            arrival: None,
            told_to_go_on: false,
            unsent: Vec::new(),
            sent: 0,
            close_after: false,
            answer: None,
        }
    }

    /// Reads all that has arrived and takes up what is a request.
    pub(crate) fn readable(&mut self, shared: &Shared, scratch: &mut Scratch) -> Next {
        loop {
            match scratch.receiver.receive(&self.socket, &mut scratch.input) {
                Ok((0, _)) => return Next::Close,
                Ok((count, arrival)) => {
                    self.arrival.get_or_insert(arrival);
                    self.unread.extend_from_slice(&scratch.input[..count]);
                    if !self.buffered.resize(self.unread.len()) {
                        return self.refuse(503, FULL);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Next::Close,
            }
        }
        self.take_up(shared, scratch)
    }

    /// Goes on with what could not be sent before.
    pub(crate) fn writable(&mut self, shared: &Shared, scratch: &mut Scratch) -> Next {
        if self.unsent.is_empty() {
            return Next::Wait;
        }
        let before = self.sent;
        let flushed = self.flush();
        if self.sent != before {
            self.since = shared.clock.now();
        }
        match flushed {
            Err(_) => Next::Close,
            Ok(false) => Next::Wait,
            Ok(true) if self.answer.is_some() => self.due(shared, scratch),
            Ok(true) if self.close_after => Next::Close,
            Ok(true) => self.take_up(shared, scratch),
        }
    }

    /// Answers requests until one takes time, none is left, or the client does not read.
    fn take_up(&mut self, shared: &Shared, scratch: &mut Scratch) -> Next {
        while self.answer.is_none() && self.unsent.is_empty() && !self.unread.is_empty() {
            let (response, keep_alive) = match parse(&self.unread) {
                Parsed::Partial { waits } => {
                    if !waits || self.told_to_go_on {
                        return Next::Wait;
                    }
                    self.told_to_go_on = true;
                    (b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), true)
                }
                Parsed::Refused(status, why) => {
                    (Response::json(status, &error_body(status, &why, None)).bytes(false), false)
                }
                Parsed::Whole(request, used) => {
                    self.unread.drain(..used);
                    // What a long request took is not kept for the next.
                    self.unread.shrink_to(KEPT);
                    self.buffered.resize(self.unread.len());
                    self.told_to_go_on = false;
                    let arrival = self.arrival.take();
                    let keep_alive = request.keep_alive;
                    match self.begin(&request, arrival, shared) {
                        None => return self.due(shared, scratch),
                        Some(response) => (response.bytes(keep_alive), keep_alive),
                    }
                }
            };
            self.close_after = !keep_alive;
            self.since = shared.clock.now();
            match self.write(&response) {
                Ok(true) if self.close_after => return Next::Close,
                Ok(_) => {}
                Err(_) => return Next::Close,
            }
        }
        Next::Wait
    }

    /// Answers with an error, after which the connection ends.
    fn refuse(&mut self, status: u16, why: &str) -> Next {
        // Nothing more can be done for a client that does not take even this.
        let _ = self.write(&Response::json(status, &error_body(status, why, None)).bytes(false));
        Next::Close
    }

    /// Ends when the client takes too long to send a request, or to read.
    pub(crate) fn expire(&mut self, shared: &Shared, _scratch: &mut Scratch) -> Next {
        let limits = shared.options.limits;
        let (since, limit) = match (&self.answer, self.unsent.is_empty(), self.arrival) {
            (_, false, _) => (self.since, limits.stalled),
            (Some(_), true, _) => return Next::Wait,
            (None, true, Some(arrival)) => (arrival.at, limits.request),
            (None, true, None) => (self.since, limits.idle),
        };
        match u128::from(shared.clock.now().saturating_sub(since)) > limit.as_nanos() {
            false => Next::Wait,
            true if self.unsent.is_empty() && !self.unread.is_empty() => self.refuse(408, LATE),
            true => Next::Close,
        }
    }

    /// Starts to generate, or gives the answer that takes no time.
    fn begin(&mut self, request: &Request, arrival: Option<Arrival>, shared: &Shared) -> Option<Response> {
        let authorization = request.header("authorization");
        if request.path != "/health" && !is_authorized(shared.options.api_key.as_deref(), authorization) {
            return Some(unauthorized());
        }
        let chat = match request.path.as_str() {
            "/v1/completions" => false,
            "/v1/chat/completions" => true,
            _ => return Some(shared.page(request)),
        };
        if request.method != "POST" {
            return Some(Response::json(405, &error_body(405, "requests for tokens are posted", None)));
        }
        let ask = match Ask::read(chat, &request.body, &shared.options) {
            Ok(ask) => ask,
            Err(why) => return Some(Response::json(400, &error_body(400, &why, None))),
        };
        // Pipelined behind another request, it counts as arrived when that was done with.
        let arrival = arrival.unwrap_or(Arrival { at: shared.clock.now(), by_kernel: false });
        let created = WallTime::now().unix_ns / 1_000_000_000;
        let number = shared.next_request();
        let turn = shared.queue.as_ref().map_or(arrival.at, |queue| queue.enter(arrival.at));
        let generation = Generation::new(ask, shared.text, &shared.options, number, turn, created, request.keep_alive);
        let id = request.header("x-request-id").filter(|id| id.len() <= Truth::MAX_REQUEST_ID);
        let notes = Notes::new(id.map(str::to_owned), arrival, shared.truth.keeps_each_write());
        shared.running.fetch_add(1, Ordering::Relaxed);
        self.answer = Some((generation, notes));
        None
    }

    /// When its next token is due, if it is being answered and its client reads.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        let (generation, _) = self.answer.as_ref()?;
        self.unsent.is_empty().then(|| generation.next_due())
    }

    /// Writes the tokens that are due by now.
    pub(crate) fn due(&mut self, shared: &Shared, scratch: &mut Scratch) -> Next {
        if !self.unsent.is_empty() {
            // The client does not read; the socket will say when it does.
            return Next::Wait;
        }
        let Some((generation, notes)) = &mut self.answer else { return Next::Wait };
        let now = shared.clock.now();
        if let Some(cold) = &shared.cold {
            generation.postpone(cold.hold(shared.running.load(Ordering::Relaxed), now));
        }
        let due = generation.next_due();
        if due > now {
            return Next::At(due);
        }
        scratch.output.clear();
        let tokens = generation.render(now, WRITE_SIZE, &mut scratch.output);
        let done = generation.is_done();
        let (next_due, keep_alive) = (generation.next_due(), generation.keep_alive());
        let at = shared.clock.now();
        notes.write(at, tokens, due);
        shared.lateness.add(at.saturating_sub(due), tokens);
        shared.tokens.fetch_add(u64::from(tokens), Ordering::Relaxed);
        self.since = at;
        let written = self.write(&scratch.output);
        if written.is_err() {
            return Next::Close;
        }
        if !done {
            return if written.is_ok_and(|all| all) { Next::At(next_due) } else { Next::Wait };
        }
        self.end(shared, true);
        self.close_after = !keep_alive;
        match written {
            Ok(true) if self.close_after => Next::Close,
            Ok(true) => self.take_up(shared, scratch),
            _ => Next::Wait,
        }
    }

    /// Notes that the client is gone, if it was being answered.
    pub(crate) fn closed(&mut self, shared: &Shared) {
        self.end(shared, false);
    }

    fn end(&mut self, shared: &Shared, whole: bool) {
        if let Some((_, notes)) = self.answer.take() {
            shared.running.fetch_sub(1, Ordering::Relaxed);
            shared.truth.push(notes, shared.clock, whole);
        }
    }

    /// Writes as much as the socket takes and keeps the rest; true when all went.
    fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.socket.write(&bytes[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(&bytes[sent..]);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Sends what is kept; true when none is left.
    fn flush(&mut self) -> io::Result<bool> {
        while self.sent < self.unsent.len() {
            match self.socket.write(&self.unsent[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.unsent.clear();
        self.unsent.shrink_to(KEPT);
        self.sent = 0;
        Ok(true)
    }
}
