//! Runs a script, and keeps what truly happened.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sagellm_core::{Clock, Nanos};

use super::{Answer, Framing, Script, Step};
use crate::ServerError;
use crate::limits::ConnectionLimits;
use crate::running::{PATIENCE, Running};
use crate::socket::Arrival;
use crate::wire::{self, Peer, Request, Response};

/// The last part of a wait is spent awake, since a sleep ends late by about this much.
const AWAKE: Duration = Duration::from_micros(200);

/// A scripted server. It ends when dropped.
#[derive(Debug)]
pub struct Scripted {
    running: Running,
    truth: Truth,
}

type Truth = Arc<Mutex<Vec<Exchange>>>;

/// One request and what was sent for it, by the server's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The connection that it came on, counted from 0.
    pub connection: u64,
    /// Its place among all requests, counted from 1.
    pub number: u64,
    /// The path asked for.
    pub path: String,
    /// The `x-request-id` header, where there is one.
    pub request_id: Option<String>,
    /// The body of the request.
    pub body: String,
    /// When its first byte arrived.
    pub arrival: Arrival,
    /// What was written, in order.
    pub writes: Vec<Write>,
    /// The writes that the script names, by their place among `writes`.
    pub marks: Vec<(String, usize)>,
    /// How it ended; `None` while it runs.
    pub ending: Option<Ending>,
}

/// One write to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Right before the write.
    pub begun: Nanos,
    /// Right after it returned.
    pub done: Nanos,
    /// How many bytes.
    pub bytes: usize,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer was sent whole.
    Whole,
    /// The script broke the connection.
    Reset,
    /// The script closed the connection before the announced end.
    Closed,
    /// The client went while the script hung.
    Hung,
    /// The client went while something was to be sent.
    ClientGone,
    /// The server was stopped.
    Stopped,
}

impl Exchange {
    /// When the write that the script calls `name` began: that is when its bytes left, whatever happened to the server's
    /// thread afterwards.
    pub fn mark(&self, name: &str) -> Option<Nanos> {
        let (_, place) = self.marks.iter().find(|(mark, _)| mark == name)?;
        self.writes.get(*place).map(|write| write.begun)
    }
}

impl Scripted {
    /// Starts to answer by `script` on `address` (port 0 takes a free one), with stamps on `clock`.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn start(script: Script, address: SocketAddr, clock: Clock) -> Result<Self, ServerError> {
        let truth = Truth::default();
        let shared = Arc::clone(&truth);
        let requests = AtomicU64::new(0);
        let running = wire::listen("scripted", address, ConnectionLimits::default(), clock, move |mut peer| {
            // A connection that breaks ends its exchange, which says so.
            while let Ok(Some((request, arrival))) = peer.next_request() {
                let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
                let exchange = Exchange::new(&peer, number, &request, arrival);
                let place = {
                    let mut all = lock(&shared);
                    all.push(exchange);
                    all.len() - 1
                };
                let Some(answer) = script.answer(&request.path, number) else {
                    let _ = peer.write(&not_found(&request.path));
                    return;
                };
                let mut play = Play::new(answer, &mut peer, &shared, place, arrival.at);
                let ending = match play.run() {
                    Ok(ending) => ending,
                    Err(_) if peer.stopping() => Ending::Stopped,
                    Err(_) => Ending::ClientGone,
                };
                lock(&shared)[place].ending = Some(ending);
                match ending {
                    Ending::Whole if request.keep_alive && answer.framing != Framing::Close => {}
                    Ending::Reset => return peer.reset(),
                    _ => return,
                }
            }
        })?;
        Ok(Self { running, truth })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// What has happened so far, in the order of arrival.
    pub fn truth(&self) -> Vec<Exchange> {
        lock(&self.truth).clone()
    }

    /// Serves until `stop` is set.
    ///
    /// # Errors
    /// When no further connection can be taken.
    pub fn wait(self, stop: &AtomicBool) -> Result<(), ServerError> {
        self.running.wait(stop)
    }
}

fn not_found(path: &str) -> Vec<u8> {
    let what = format!("the script has no answer to `{path}`");
    Response::json(404, &wire::error_body(404, &what, None)).bytes(false)
}

fn lock(truth: &Truth) -> std::sync::MutexGuard<'_, Vec<Exchange>> {
    // What a thread that failed had noted is true all the same.
    truth.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    fn new(peer: &Peer, number: u64, request: &Request, arrival: Arrival) -> Self {
        Self {
            connection: peer.number(),
            number,
            path: request.path.clone(),
            request_id: request.header("x-request-id").map(str::to_owned),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            arrival,
            writes: Vec::new(),
            marks: Vec::new(),
            ending: None,
        }
    }
}

/// One answer on its way.
struct Play<'a> {
    answer: &'a Answer,
    peer: &'a mut Peer,
    truth: &'a Truth,
    place: usize,
    /// When the next step is due. Waits add to it, so that the time that steps take does not.
    due: Nanos,
    head_sent: bool,
    /// Raw bytes were sent: from there on nothing is framed, and the script ends the answer itself.
    raw: bool,
    split: usize,
    held: Option<Vec<u8>>,
}

impl<'a> Play<'a> {
    fn new(answer: &'a Answer, peer: &'a mut Peer, truth: &'a Truth, place: usize, arrival: Nanos) -> Self {
        Self { answer, peer, truth, place, due: arrival, head_sent: false, raw: false, split: 0, held: None }
    }

    fn run(&mut self) -> io::Result<Ending> {
        for step in &self.answer.steps {
            match step {
                Step::Interim(status) => {
                    self.write(format!("{}\r\n", wire::status_line(*status, wire::reason(*status))).as_bytes())?
                }
                Step::Head => self.head()?,
                Step::Wait(duration) => {
                    self.due += u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
                    if !self.wait() {
                        return Ok(Ending::Stopped);
                    }
                }
                Step::Body(bytes) => {
                    self.head()?;
                    match self.answer.framing {
                        Framing::Chunked if !self.raw => {
                            let mut chunk = Vec::new();
                            wire::append_chunk(&mut chunk, bytes);
                            self.write(&chunk)?;
                        }
                        _ => self.write(bytes)?,
                    }
                }
                Step::Raw(bytes) => {
                    self.raw = true;
                    self.write(bytes)?;
                }
                Step::Split(count) => self.split = *count,
                Step::Hold => self.held = Some(self.held.take().unwrap_or_default()),
                Step::Send => self.send()?,
                Step::Mark(name) => {
                    let mut all = lock(self.truth);
                    let next = all[self.place].writes.len();
                    all[self.place].marks.push((name.clone(), next));
                }
                Step::Hang => return Ok(self.hang()),
                Step::Reset => return Ok(Ending::Reset),
                Step::Close => return Ok(Ending::Closed),
            }
        }
        self.finish()?;
        Ok(Ending::Whole)
    }

    fn finish(&mut self) -> io::Result<()> {
        if !self.raw {
            self.head()?;
            if self.answer.framing == Framing::Chunked {
                let mut end = String::from("0\r\n");
                for (name, value) in &self.answer.trailers {
                    end.push_str(&format!("{name}: {value}\r\n"));
                }
                end.push_str("\r\n");
                self.write(end.as_bytes())?;
            }
        }
        self.send()
    }

    fn head(&mut self) -> io::Result<()> {
        if self.head_sent || self.raw {
            return Ok(());
        }
        self.head_sent = true;
        let (status, reason) = self.answer.status.clone().unwrap_or((200, wire::reason(200).into()));
        let mut head = wire::status_line(status, &reason);
        if !self.answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            head.push_str("Content-Type: text/event-stream\r\n");
        }
        for (name, value) in &self.answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match self.answer.framing {
            Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::Length(told) => {
                let length = told.unwrap_or_else(|| self.answer.body_length());
                head.push_str(&format!("Content-Length: {length}\r\n"));
            }
            Framing::Close => head.push_str("Connection: close\r\n"),
        }
        head.push_str("\r\n");
        self.write(head.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(held) = &mut self.held {
            held.extend_from_slice(bytes);
            return Ok(());
        }
        let size = if self.split == 0 { bytes.len().max(1) } else { self.split };
        for part in bytes.chunks(size) {
            let begun = self.peer.clock().now();
            self.peer.write(part)?;
            let write = Write { begun, done: self.peer.clock().now(), bytes: part.len() };
            lock(self.truth)[self.place].writes.push(write);
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        match self.held.take() {
            Some(held) => self.write(&held),
            None => Ok(()),
        }
    }

    /// Waits until the next step is due; false when the server is to end.
    fn wait(&self) -> bool {
        let clock = self.peer.clock();
        loop {
            let left = clock.until(self.due);
            if left.is_zero() {
                return true;
            }
            if self.peer.stopping() {
                return false;
            }
            match left.checked_sub(AWAKE) {
                Some(asleep) if !asleep.is_zero() => std::thread::sleep(asleep.min(PATIENCE)),
                _ => std::hint::spin_loop(),
            }
        }
    }

    fn hang(&self) -> Ending {
        while !self.peer.stopping() {
            if self.peer.is_gone() {
                return Ending::Hung;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ending::Stopped
    }
}

impl Answer {
    /// Bytes of the body that the steps send.
    fn body_length(&self) -> usize {
        self.steps.iter().map(|step| if let Step::Body(bytes) = step { bytes.len() } else { 0 }).sum()
    }
}
