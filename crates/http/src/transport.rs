//! From a socket to a connection on which requests can be sent: through a proxy and TLS where asked for. Reads come out
//! decrypted, with the stamp of the bytes they were encrypted in.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use rustls::ClientConnection;
use sagellm_core::{Clock, Nanos};

use crate::answer::Arrival;
use crate::response::{Part, Response};
use crate::socket::{Control, Socket};
use crate::tls::TlsMaker;

/// Bytes of one read. A stream that was left alone for a while is taken up in few reads.
const READ: usize = 256 << 10;
/// The first write of a request is not larger. The kernel stamps the last byte of a write, and so few leave with the first
/// one: what an idle connection may send before it is acknowledged are some ten segments, of which lossy paths leave few.
const FIRST_WRITE: usize = 4 << 10;
/// A stamp of the kernel may seem to lie this much before something that it cannot precede.
const TOLERANCE: Nanos = 1_000_000;

/// How every connection of a client is made.
pub(crate) struct Route {
    /// Where to connect: the server, or its proxy.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Host and port to be named to the proxy, where there is one.
    pub(crate) tunnel: Option<String>,
    pub(crate) tls: Option<TlsMaker>,
    pub(crate) stamping: bool,
    pub(crate) clock: Clock,
}

/// Room that all connections of a thread share for what they read.
pub(crate) struct Buffers {
    raw: Vec<u8>,
    plain: Vec<u8>,
    control: Control,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self { raw: vec![0; READ], plain: Vec::new(), control: Control::new() }
    }
}

/// What a read gave.
pub(crate) enum Received<'a> {
    /// Bytes of the server, and whether more may be there to be read at once.
    Bytes { bytes: &'a [u8], arrival: Arrival, more: bool },
    /// Nothing now.
    Nothing,
    /// The server closed its side.
    Closed,
}

/// When the first byte of a request was written, and the number of its stamp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    pub(crate) at: Nanos,
    pub(crate) number: u32,
}

/// Signs of loss on a connection since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Segments that came out of order.
    pub(crate) out_of_order: u32,
    /// Segments of ours that were transmitted again.
    pub(crate) retransmitted: u32,
}

#[derive(Debug)]
enum Phase {
    Connecting,
    Tunnel(Box<Response>),
    Handshake,
    Ready,
}

/// A connection with the server.
pub(crate) struct Transport {
    socket: Socket,
    phase: Phase,
    tls: Option<Box<ClientConnection>>,
    /// Bytes to be sent, of which so many were.
    out: Vec<u8>,
    written: usize,
    /// Whether the next byte that is sent is the first of a request.
    departing: bool,
    departure: Option<Departure>,
    /// Nothing that is received from now on can have been received before.
    floor: Nanos,
    /// When the last read left nothing unread.
    emptied: Nanos,
    /// Reads that gave bytes, and segments beyond one for each of them when that was last asked.
    reads: u32,
    extra_segments: u32,
    /// What the kernel said of lost segments when it was last asked.
    losses: Losses,
    /// Whether the server announced by TLS that nothing more comes.
    closed: bool,
}

impl Transport {
    /// Begins to connect with one of the addresses of the route.
    pub(crate) fn connect(address: SocketAddr, clock: Clock) -> io::Result<Self> {
        Ok(Self {
            socket: Socket::connect(address)?,
            phase: Phase::Connecting,
            tls: None,
            out: Vec::new(),
            written: 0,
            departing: false,
            departure: None,
            floor: clock.now(),
            emptied: clock.now(),
            reads: 0,
            extra_segments: 0,
            losses: Losses::default(),
            closed: false,
        })
    }

    pub(crate) fn source(&mut self) -> &mut TcpStream {
        self.socket.source()
    }

    /// What is missing until requests can be sent.
    pub(crate) fn missing(&self) -> &'static str {
        match self.phase {
            Phase::Connecting => "connection",
            Phase::Tunnel(_) => "answer of the proxy",
            Phase::Handshake => "TLS handshake",
            Phase::Ready => "request",
        }
    }

    /// Goes on with setting up the connection as far as possible; true when it is ready.
    pub(crate) fn open(&mut self, route: &Route, buffers: &mut Buffers) -> io::Result<bool> {
        loop {
            match &mut self.phase {
                Phase::Connecting => {
                    if !self.socket.connected()? {
                        return Ok(false);
                    }
                    self.socket.prepare(route.stamping)?;
                    if let Some(authority) = &route.tunnel {
                        write!(self.out, "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n")?;
                        self.phase = Phase::Tunnel(Box::new(Response::to_connect()));
                    } else {
                        self.begin_tls(route)?;
                    }
                }
                Phase::Tunnel(response) => {
                    send(&mut self.socket, &mut self.out, &mut self.written)?;
                    let length = match self.socket.recv(&mut buffers.raw, &mut buffers.control) {
                        Ok((0, _)) => return Err(io::Error::other("the proxy closed the connection")),
                        Ok((length, _)) => length,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                        Err(error) => return Err(error),
                    };
                    self.reads += 1;
                    if answered(response, &buffers.raw[..length])? {
                        self.begin_tls(route)?;
                    }
                }
                Phase::Handshake => {
                    let Some(tls) = &mut self.tls else {
                        self.phase = Phase::Ready;
                        continue;
                    };
                    flush_tls(tls, &mut self.socket)?;
                    if !tls.is_handshaking() {
                        self.phase = Phase::Ready;
                        continue;
                    }
                    let length = match self.socket.recv(&mut buffers.raw, &mut buffers.control) {
                        Ok((0, _)) => {
                            return Err(io::Error::other("the server closed the connection during the TLS handshake"));
                        }
                        Ok((length, _)) => length,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                        Err(error) => return Err(error),
                    };
                    self.reads += 1;
                    buffers.plain.clear();
                    decrypt(tls, &mut self.socket, &buffers.raw[..length], &mut buffers.plain)?;
                }
                Phase::Ready => return Ok(true),
            }
        }
    }

    fn begin_tls(&mut self, route: &Route) -> io::Result<()> {
        if let Some(maker) = &route.tls {
            let mut session = Box::new(maker.session()?);
            session.set_buffer_limit(None);
            self.tls = Some(session);
        }
        self.phase = Phase::Handshake;
        Ok(())
    }

    /// Lays the bytes of a request ready; [`Transport::flush`] sends them.
    pub(crate) fn begin_request(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.out.clear();
        self.written = 0;
        write(&mut self.out);
        self.departing = true;
        self.departure = None;
        if let Some(tls) = &mut self.tls {
            // Each write makes records of its own.
            let (first, rest) = self.out.split_at(self.out.len().min(FIRST_WRITE));
            tls.writer().write_all(first)?;
            tls.writer().write_all(rest)?;
            self.out.clear();
        }
        Ok(())
    }

    /// Sends what the kernel takes.
    pub(crate) fn flush(&mut self, clock: Clock) -> io::Result<()> {
        if self.departing {
            let before = clock.now();
            let first = match &mut self.tls {
                Some(tls) => send_record(tls, &mut self.socket)?,
                None => {
                    let end = self.out.len().min(FIRST_WRITE);
                    let sent = accept(self.socket.send(&self.out[..end]))?;
                    self.written += sent.map_or(0, |(length, _)| length);
                    sent.map(|(_, number)| number)
                }
            };
            let Some(number) = first else { return Ok(()) };
            self.departing = false;
            self.floor = before;
            self.departure = Some(Departure { at: before, number });
        }
        match &mut self.tls {
            Some(tls) => flush_tls(tls, &mut self.socket),
            None => send(&mut self.socket, &mut self.out, &mut self.written),
        }
    }

    /// When the request left; given once.
    pub(crate) fn take_departure(&mut self) -> Option<Departure> {
        self.departure.take()
    }

    /// Whether something is left to be sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.departing || self.written < self.out.len() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Takes the stamps of what was sent.
    pub(crate) fn sent_stamps(&mut self, buffers: &mut Buffers, clock: Clock, mut each: impl FnMut(u32, Nanos)) {
        let latest = clock.now() + TOLERANCE;
        self.socket.sent_stamps(&mut buffers.control, |number, stamp| {
            let at = clock.at_wall(stamp);
            // A stamp from the future is of a clock that was set meanwhile.
            if at <= latest {
                each(number, at);
            }
        });
    }

    /// Whether all bytes of the last read came in one segment, as far as that can be known: then its stamp is that of each
    /// of them.
    pub(crate) fn was_one_segment(&mut self) -> bool {
        let Some(state) = self.socket.tcp_state() else { return false };
        let extra = state.data_segments_in.saturating_sub(self.reads);
        extra == std::mem::replace(&mut self.extra_segments, extra)
    }

    /// What was lost since this was last asked.
    pub(crate) fn new_losses(&mut self) -> Losses {
        let Some(state) = self.socket.tcp_state() else { return Losses::default() };
        let all = Losses { out_of_order: state.out_of_order_in, retransmitted: state.retransmitted };
        let before = std::mem::replace(&mut self.losses, all);
        Losses {
            out_of_order: all.out_of_order.saturating_sub(before.out_of_order),
            retransmitted: all.retransmitted.saturating_sub(before.retransmitted),
        }
    }

    /// The shortest round trip that the kernel has seen on this connection; `None` where it does not say.
    pub(crate) fn round_trip(&self) -> Option<Nanos> {
        let state = self.socket.tcp_state()?;
        Some(state.min_round_trip_us).filter(|&us| us > 0).map(|us| Nanos::from(us) * 1000)
    }

    /// When the last read left nothing unread.
    pub(crate) fn emptied(&self) -> Nanos {
        self.emptied
    }

    /// When bytes last came, or a request left, whichever was later.
    pub(crate) fn last_heard(&self) -> Nanos {
        self.floor
    }

    /// Reads what is there.
    pub(crate) fn recv<'a>(&mut self, buffers: &'a mut Buffers, clock: Clock) -> io::Result<Received<'a>> {
        if self.closed {
            return Ok(Received::Closed);
        }
        let (length, stamp) = match self.socket.recv(&mut buffers.raw, &mut buffers.control) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
            Err(error) => return Err(error),
        };
        let now = clock.now();
        if length == 0 {
            // Under TLS the end is announced; otherwise anybody on the way could cut an answer short.
            if self.tls.is_some() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a close_notify of TLS"));
            }
            return Ok(Received::Closed);
        }
        // A stamp from the future, or from before its cause, is of a clock that was set meanwhile.
        let plausible = |at: &Nanos| *at <= now + TOLERANCE && at + TOLERANCE >= self.floor;
        let stamp = stamp.map(|stamp| clock.at_wall(stamp)).filter(plausible);
        let since = self.emptied;
        let arrival = match stamp {
            Some(at) => Arrival { at: at.clamp(self.floor.min(now), now), read: now, since, stamped: true },
            None => Arrival::read_at(now, since),
        };
        self.floor = arrival.at;
        self.reads = self.reads.wrapping_add(1);
        let more = length == buffers.raw.len();
        if !more {
            self.emptied = now;
        }
        let raw = &buffers.raw[..length];
        let Some(tls) = &mut self.tls else { return Ok(Received::Bytes { bytes: raw, arrival, more }) };
        buffers.plain.clear();
        self.closed = decrypt(tls, &mut self.socket, raw, &mut buffers.plain)?;
        Ok(Received::Bytes { bytes: &buffers.plain, arrival, more: more || self.closed })
    }
}

/// Reads the proxy's answer; true when the tunnel stands.
fn answered(response: &mut Response, mut input: &[u8]) -> io::Result<bool> {
    loop {
        match response.next(&mut input).map_err(|broken| io::Error::other(format!("the proxy: {}", broken.0)))? {
            Part::More => return Ok(false),
            Part::Head if (200..300).contains(&response.head().status) => {}
            Part::Head => {
                let head = response.head();
                let said = crate::excerpt::excerpt(head.reason.as_bytes(), &[]);
                return Err(io::Error::other(format!("the proxy answered HTTP {} {said}", head.status)));
            }
            Part::Body(_) => {}
            Part::End if input.is_empty() => return Ok(true),
            Part::End => return Err(io::Error::other("the proxy sent more than its answer")),
        }
    }
}

/// What a write took, or nothing when it would have to wait.
fn accept<T>(written: io::Result<T>) -> io::Result<Option<T>> {
    match written {
        Ok(taken) => Ok(Some(taken)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends the rest of `out`, as far as the kernel takes it.
fn send(socket: &mut Socket, out: &mut Vec<u8>, written: &mut usize) -> io::Result<()> {
    while *written < out.len() {
        match accept(socket.send(&out[*written..]))? {
            Some((length, _)) => *written += length,
            None => return Ok(()),
        }
    }
    out.clear();
    *written = 0;
    Ok(())
}

/// Where `rustls` writes its records to.
struct Sink<'a> {
    socket: &'a mut Socket,
    number: Option<u32>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (length, number) = self.socket.send(bytes)?;
        self.number = Some(number);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends the next record; gives the number of its stamp.
fn send_record(tls: &mut ClientConnection, socket: &mut Socket) -> io::Result<Option<u32>> {
    let mut sink = Sink { socket, number: None };
    accept(tls.write_tls(&mut sink))?;
    Ok(sink.number)
}

fn flush_tls(tls: &mut ClientConnection, socket: &mut Socket) -> io::Result<()> {
    while tls.wants_write() {
        if send_record(tls, socket)?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Appends the text of encrypted bytes to `plain`; true when the server announced its end.
fn decrypt(tls: &mut ClientConnection, socket: &mut Socket, mut raw: &[u8], plain: &mut Vec<u8>) -> io::Result<bool> {
    let mut closed = false;
    while !raw.is_empty() && !closed {
        if tls.read_tls(&mut raw)? == 0 {
            break;
        }
        let state = tls.process_new_packets().map_err(|error| {
            // Tell the server why, if it still listens.
            let _ = flush_tls(tls, socket);
            io::Error::new(io::ErrorKind::InvalidData, format!("TLS: {error}"))
        })?;
        let length = state.plaintext_bytes_to_read();
        let from = plain.len();
        plain.resize(from + length, 0);
        tls.reader().read_exact(&mut plain[from..])?;
        closed = state.peer_has_closed();
    }
    flush_tls(tls, socket)?;
    Ok(closed)
}
