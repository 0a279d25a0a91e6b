//! One connection: plain or TLS, its requests one after the other.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustls::ServerConnection;
use serde_json::json;

use crate::answer::{Answer, Lexicon, Timing};
use crate::clock::{self, Arrival};
use crate::http;
use crate::truth::Truth;

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    pub timing: Timing,
    pub lexicon: Lexicon,
    /// Completions so far.
    pub requests: u64,
    pub log: Vec<Truth>,
    pub buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    tls: Option<ServerConnection>,
    unread: Vec<u8>,
    /// When the first of the unread bytes arrived.
    arrival: Option<Arrival>,
    /// Bytes that the socket did not take yet.
    unsent: Vec<u8>,
    answer: Option<Answer>,
}

impl Connection {
    pub fn new(socket: TcpStream, tls: Option<ServerConnection>) -> Self {
        Self { socket, tls, unread: Vec::new(), arrival: None, unsent: Vec::new(), answer: None }
    }

    /// Returns when the next token is due, unless there is none or the socket is full.
    pub fn due(&self) -> Option<u64> {
        self.answer.as_ref().filter(|_| self.unsent.is_empty()).and_then(Answer::due)
    }

    /// Returns the notes of an answer that the client did not wait for.
    pub fn close(self) -> Option<Truth> {
        self.answer.map(|answer| answer.truth)
    }

    /// Sends what the socket did not take, and reads all that has arrived.
    ///
    /// # Errors
    /// Any error ends the connection, as does its end by the client.
    pub fn ready(&mut self, shared: &mut Shared) -> io::Result<()> {
        self.flush()?;
        loop {
            match clock::receive(&self.socket, &mut shared.buffer) {
                Ok((0, _)) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok((count, arrival)) => self.accept(&shared.buffer[..count], arrival)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.take_up(shared)
    }

    fn accept(&mut self, mut bytes: &[u8], arrival: Arrival) -> io::Result<()> {
        let former = self.unread.len();
        match &mut self.tls {
            None => self.unread.extend_from_slice(bytes),
            Some(tls) => {
                while !bytes.is_empty() {
                    tls.read_tls(&mut bytes)?;
                    tls.process_new_packets().map_err(io::Error::other)?;
                    match tls.reader().read_to_end(&mut self.unread) {
                        Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                        _ => {}
                    }
                }
                self.send(b"")?;
            }
        }
        if self.unread.len() > former {
            self.arrival.get_or_insert(arrival);
        }
        Ok(())
    }

    fn take_up(&mut self, shared: &mut Shared) -> io::Result<()> {
        while self.answer.is_none()
            && let Some(request) = http::take(&mut self.unread).map_err(io::Error::other)?
        {
            let Some(arrival) = self.arrival.take() else { return Ok(()) };
            let response = match request.path.as_str() {
                "/v1/completions" => match serde_json::from_slice::<http::Completion>(&request.body) {
                    Err(error) => http::error("400 Bad Request", &error.to_string()),
                    Ok(ask) if !ask.stream || ask.max_tokens == 0 => {
                        http::error("400 Bad Request", "expected `stream` and at least one token")
                    }
                    Ok(ask) => {
                        shared.requests += 1;
                        self.answer = Some(Answer::new(&ask, request.id, arrival, shared.requests, &shared.timing));
                        http::STREAM_HEAD.to_vec()
                    }
                },
                "/v1/models" => {
                    let model = json!({"id": "bench", "object": "model", "created": 0, "owned_by": "bench-server"});
                    http::json("200 OK", &json!({"object": "list", "data": [model]}))
                }
                path => http::error("404 Not Found", &format!("`{path}` not found")),
            };
            self.send(&response)?;
        }
        Ok(())
    }

    /// Writes the next token, and after the last what follows it.
    ///
    /// # Errors
    /// Any error ends the connection.
    pub fn write_token(&mut self, shared: &mut Shared) -> io::Result<()> {
        let (Some(due), Some(mut answer)) = (self.due(), self.answer.take()) else { return Ok(()) };
        shared.buffer.clear();
        answer.push_token(&shared.lexicon, &mut shared.buffer);
        self.queue(&shared.buffer)?;
        let before = clock::now();
        let written = self.flush();
        answer.truth.write(due, before, clock::now(), self.unsent.is_empty());
        if answer.due().is_some() || written.is_err() {
            self.answer = Some(answer);
            shared.buffer.resize(BUFFER, 0);
            return written;
        }
        shared.buffer.clear();
        answer.push_end(&mut shared.buffer);
        answer.truth.whole = true;
        shared.log.push(answer.truth);
        let sent = self.send(&shared.buffer);
        shared.buffer.resize(BUFFER, 0);
        sent?;
        self.take_up(shared)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.queue(bytes)?;
        self.flush()
    }

    fn queue(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        };
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.unsent)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Bytes of a read.
pub const BUFFER: usize = 64 << 10;
