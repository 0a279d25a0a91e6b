//! The frame of an answer: status line, headers, and how the body is delimited (RFC 9112). Bytes go in as they come from
//! the socket, in pieces of any size; slices of the body come out, not copied.

use std::borrow::Cow;

/// Longest head, and longest trailer section, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Most headers.
const MAX_HEADERS: usize = 128;
/// Most informational answers (1xx) before the real one.
const MAX_INFORMATIONAL: u32 = 32;
/// Longest line that says a chunk's size, extensions included.
const MAX_SIZE_LINE: u32 = 4096;

/// An answer that breaks the protocol, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) Cow<'static, str>);

fn malformed<T>(how: impl Into<Cow<'static, str>>) -> Result<T, Malformed> {
    Err(Malformed(how.into()))
}

/// What the head said, as far as we need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The words after the status.
    pub(crate) reason: String,
    /// Media type in lower case, without parameters; empty when there is none.
    pub(crate) content_type: String,
    /// A content coding other than `identity`.
    pub(crate) coding: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) location: Option<String>,
    /// Whether another request may follow on this connection.
    pub(crate) keep_alive: bool,
}

/// The next thing found in the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The input is used up.
    More,
    /// The head is complete: see [`Response::head`].
    Head,
    /// Some of the body.
    Body(&'a [u8]),
    /// The answer is complete. What is left of the input does not belong to it.
    End,
}

/// What it means that the server closed the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eof {
    /// It ended the body: there was no other delimiter.
    Complete,
    /// Nothing of the answer had come.
    Unanswered,
    /// It cut the answer off.
    Cut,
}

#[derive(Debug)]
enum State {
    /// `line` counts the bytes of the present line, its end not included.
    Head {
        line: usize,
    },
    Length(u64),
    UntilClose,
    Size {
        digits: u32,
        size: u64,
    },
    /// Rest of a size line, of which so many bytes were read.
    Extension {
        size: u64,
        read: u32,
    },
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    Trailers {
        line: usize,
        read: usize,
    },
    Done,
}

/// Reads one answer.
#[derive(Debug)]
pub(crate) struct Response {
    state: State,
    /// Bytes of an unfinished head.
    raw: Vec<u8>,
    head: Head,
    informational: u32,
    /// Whether the answer is to `CONNECT`, so that what follows a 2xx is the tunnel.
    to_connect: bool,
}

impl Response {
    pub(crate) fn new() -> Self {
        let state = State::Head { line: 0 };
        Self { state, raw: Vec::new(), head: Head::default(), informational: 0, to_connect: false }
    }

    /// For the answer to a `CONNECT` request.
    pub(crate) fn to_connect() -> Self {
        Self { to_connect: true, ..Self::new() }
    }

    /// Makes ready for the next answer on the same connection.
    pub(crate) fn reset(&mut self) {
        self.state = State::Head { line: 0 };
        self.raw.clear();
        self.informational = 0;
    }

    /// The head; meaningful once it was reported.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Whether any byte of this answer has come.
    pub(crate) fn begun(&self) -> bool {
        !matches!(self.state, State::Head { .. }) || !self.raw.is_empty() || self.informational > 0
    }

    /// Takes the next part off the front of `input`.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Part<'a>, Malformed> {
        loop {
            if let State::Done = self.state {
                return Ok(Part::End);
            }
            // A length of zero ends without another byte.
            if let State::Length(0) = self.state {
                self.state = State::Done;
                continue;
            }
            let Some(&byte) = input.first() else { return Ok(Part::More) };
            match &mut self.state {
                State::Head { line } => {
                    let Some(complete) = take_lines(input, line, Some(&mut self.raw), MAX_HEAD)? else {
                        return Ok(Part::More);
                    };
                    if complete && self.read_head()? {
                        return Ok(Part::Head);
                    }
                }
                State::Length(left) => {
                    let body = take(input, left);
                    return Ok(Part::Body(body));
                }
                State::UntilClose => return Ok(Part::Body(std::mem::take(input))),
                State::Size { digits, size } => {
                    if let Some(digit) = char::from(byte).to_digit(16) {
                        if *digits == 15 {
                            return malformed("a chunk's size has more than 15 digits");
                        }
                        *digits += 1;
                        *size = *size << 4 | u64::from(digit);
                        *input = &input[1..];
                    } else if *digits == 0 {
                        return malformed("a chunk's size is no hexadecimal number");
                    } else if matches!(byte, b'\r' | b'\n' | b';' | b' ' | b'\t') {
                        self.state = State::Extension { size: *size, read: 0 };
                    } else {
                        return malformed("a chunk's size is no hexadecimal number");
                    }
                }
                State::Extension { size, read } => {
                    *input = &input[1..];
                    *read += 1;
                    if byte == b'\n' {
                        let size = *size;
                        self.state = if size == 0 { State::Trailers { line: 0, read: 0 } } else { State::Chunk(size) };
                    } else if *read > MAX_SIZE_LINE {
                        return malformed("the line of a chunk's size has no end");
                    }
                }
                State::Chunk(left) => {
                    let body = take(input, left);
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                    return Ok(Part::Body(body));
                }
                State::ChunkEnd => {
                    *input = &input[1..];
                    match byte {
                        b'\r' => {}
                        b'\n' => self.state = State::Size { digits: 0, size: 0 },
                        _ => return malformed("a chunk is longer than its size"),
                    }
                }
                State::Trailers { line, read } => {
                    let before = input.len();
                    let over = take_lines(input, line, None, MAX_HEAD)?;
                    *read += before - input.len();
                    if *read > MAX_HEAD {
                        return malformed("the trailers are longer than 64 KiB");
                    }
                    match over {
                        Some(_) => self.state = State::Done,
                        None => return Ok(Part::More),
                    }
                }
                State::Done => return Ok(Part::End),
            }
        }
    }

    /// Says that the server closed its side.
    pub(crate) fn eof(&mut self) -> Eof {
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Eof::Complete
            }
            _ if !self.begun() => Eof::Unanswered,
            _ => Eof::Cut,
        }
    }

    /// Parses the head in `raw`. False for an informational one, after which another follows.
    fn read_head(&mut self) -> Result<bool, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        match httparse::ParserConfig::default().parse_response(&mut parsed, &self.raw) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return malformed("the head of the answer ends too soon"),
            Err(error) => return malformed(format!("the head of the answer is no HTTP/1: {error}")),
        }
        let status = parsed.code.unwrap_or_default();
        if (100..200).contains(&status) {
            if status == 101 {
                return malformed("the server switches to a protocol that was not asked for");
            }
            self.informational += 1;
            if self.informational > MAX_INFORMATIONAL {
                return malformed("the server sends informational answers without end");
            }
            self.raw.clear();
            self.state = State::Head { line: 0 };
            return Ok(false);
        }
        let (head, body) = describe(&parsed, self.to_connect)?;
        self.head = head;
        self.state = body;
        self.raw.clear();
        Ok(true)
    }
}

/// Takes up to `left` bytes off the front.
fn take<'a>(input: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    let (body, rest) = input.split_at(length);
    *input = rest;
    *left -= length as u64;
    body
}

/// Takes lines off the front up to and including an empty one. `None` when the input ends before that; `Some(false)`
/// for an empty line before the first, which is to be ignored (RFC 9112, section 2.2).
fn take_lines(
    input: &mut &[u8],
    line: &mut usize,
    mut keep: Option<&mut Vec<u8>>,
    max: usize,
) -> Result<Option<bool>, Malformed> {
    let mut used = 0;
    let mut over = false;
    for &byte in *input {
        used += 1;
        match byte {
            b'\n' => {
                over = *line == 0;
                *line = 0;
            }
            b'\r' => {}
            _ => *line += 1,
        }
        if over {
            break;
        }
    }
    let (taken, rest) = input.split_at(used);
    *input = rest;
    let Some(keep) = keep.as_mut() else { return Ok(over.then_some(true)) };
    if keep.len() + taken.len() > max {
        return malformed("the head of the answer is longer than 64 KiB");
    }
    keep.extend_from_slice(taken);
    if !over {
        return Ok(None);
    }
    let blank = keep.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
    if blank {
        keep.clear();
    }
    Ok(Some(!blank))
}

/// Reads what the headers say of the answer and of its body.
fn describe(parsed: &httparse::Response<'_, '_>, to_connect: bool) -> Result<(Head, State), Malformed> {
    let status = parsed.code.unwrap_or_default();
    let persistent = parsed.version == Some(1);
    let mut head =
        Head { status, reason: parsed.reason.unwrap_or_default().into(), keep_alive: persistent, ..Head::default() };
    let mut length = None;
    let mut encoded = false;
    let mut chunked = false;
    for header in parsed.headers.iter() {
        let value = || String::from_utf8_lossy(header.value).trim().to_owned();
        let name = |name: &str| header.name.eq_ignore_ascii_case(name);
        if name("content-length") {
            for part in value().split(',') {
                let part = part.trim();
                let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
                match part.parse::<u64>() {
                    Ok(given) if digits && length.is_none_or(|known| known == given) => length = Some(given),
                    _ => return malformed("content-length is no number, or two that differ"),
                }
            }
        } else if name("transfer-encoding") {
            for coding in value().split(',') {
                encoded = true;
                match coding.trim().to_ascii_lowercase().as_str() {
                    "chunked" if !chunked => chunked = true,
                    other => return malformed(format!("transfer coding `{other}` was not asked for")),
                }
            }
        } else if name("connection") {
            for option in value().split(',') {
                match option.trim().to_ascii_lowercase().as_str() {
                    "close" => head.keep_alive = false,
                    "keep-alive" if !persistent => head.keep_alive = true,
                    _ => {}
                }
            }
        } else if name("content-encoding") {
            let coding = value().to_ascii_lowercase();
            if !coding.is_empty() && coding != "identity" {
                head.coding = Some(coding);
            }
        } else if name("content-type") {
            head.content_type = value().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        } else if name("retry-after") {
            head.retry_after = Some(value());
        } else if name("location") {
            head.location = Some(value());
        }
    }
    let body = if (to_connect && (200..300).contains(&status)) || matches!(status, 204 | 304) {
        State::Length(0)
    } else if encoded {
        // With both, the transfer coding rules (RFC 9112, section 6.3), but the connection is not to be trusted.
        head.keep_alive &= length.is_none();
        State::Size { digits: 0, size: 0 }
    } else if let Some(length) = length {
        State::Length(length)
    } else {
        head.keep_alive = false;
        State::UntilClose
    };
    Ok((head, body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzzing::Unframed;

    /// What an answer comes to when it is fed in pieces that end at `cuts`.
    fn read(bytes: &[u8], cuts: &[usize]) -> Result<Unframed, String> {
        crate::fuzzing::response(bytes, cuts, false)
    }

    /// The head of an answer.
    fn head(bytes: &[u8]) -> Head {
        let mut response = Response::new();
        assert_eq!(response.next(&mut &bytes[..]), Ok(Part::Head));
        response.head.clone()
    }

    fn body(bytes: &[u8]) -> (Vec<u8>, bool) {
        let read = read(bytes, &[]).unwrap();
        (read.body, read.over)
    }

    const CHUNKED: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
        Content-Type: Text/Event-Stream; charset=utf-8\r\n\r\n4;x=y\r\nWiki\r\n00A\r\npedia is \n\r\n0\r\nA: b\r\n\r\nHTTP";

    #[test]
    fn chunks_are_joined_and_trailers_skipped() {
        let read = read(CHUNKED, &[]).unwrap();
        assert_eq!((&read.body[..], read.over, &read.rest[..]), (&b"Wikipedia is \n"[..], true, &b"HTTP"[..]));
        let head = head(&CHUNKED[25..]);
        assert_eq!((head.status, head.content_type.as_str(), head.keep_alive), (200, "text/event-stream", true));
    }

    #[test]
    fn where_the_bytes_are_cut_makes_no_difference() {
        let whole = read(CHUNKED, &[]).unwrap();
        for cut in 0..CHUNKED.len() {
            assert_eq!(read(CHUNKED, &[cut]).unwrap(), whole, "cut at {cut}");
        }
        assert_eq!(read(CHUNKED, &(0..CHUNKED.len()).collect::<Vec<_>>()).unwrap(), whole);
    }

    #[test]
    fn bodies_end_by_length_or_by_the_end_of_the_connection() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"), (b"ab".into(), true));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), (b"".into(), true));
        assert_eq!(body(b"HTTP/1.1 204 No Content\r\n\r\n"), (b"".into(), true));
        assert_eq!(body(b"HTTP/1.0 200 OK\r\n\r\nab"), (b"ab".into(), false));
        assert_eq!(body(b"\r\nHTTP/1.1 200 OK\nContent-Length: 1\n\nx"), (b"x".into(), true));
    }

    #[test]
    fn keep_alive_is_as_the_server_says() {
        let keeps = |lines: &str| head(format!("{lines}\r\n\r\n").as_bytes()).keep_alive;
        assert!(keeps("HTTP/1.1 200 OK\r\ncontent-length: 1"));
        assert!(!keeps("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nConnection: foo, Close"));
        assert!(!keeps("HTTP/1.0 200 OK\r\ncontent-length: 1"));
        assert!(keeps("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive"));
        assert!(!keeps("HTTP/1.1 200 OK"), "only its end delimits the body");
    }

    #[test]
    fn what_the_end_of_the_connection_means() {
        let eof = |bytes: &[u8]| {
            let mut response = Response::new();
            let mut input = bytes;
            while !matches!(response.next(&mut input).unwrap(), Part::More | Part::End) {}
            response.eof()
        };
        assert_eq!(eof(b""), Eof::Unanswered);
        assert_eq!(eof(b"HTTP/1.1 2"), Eof::Cut);
        assert_eq!(eof(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"), Eof::Cut);
        assert_eq!(eof(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"), Eof::Cut);
        assert_eq!(eof(b"HTTP/1.1 200 OK\r\n\r\nab"), Eof::Complete);
        assert_eq!(eof(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"), Eof::Complete);
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(MAX_HEAD));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1));
        let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;{}", "x".repeat(5000));
        for bytes in [
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
            &"HTTP/1.1 100 Continue\r\n\r\n".repeat(40),
            &long,
            &many,
            &endless,
        ] {
            assert!(read(bytes.as_bytes(), &[]).is_err(), "{bytes:.80}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(read(&bytes, &[cut]), read(&bytes, &[]));
            let mut framed = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            framed.extend_from_slice(&bytes);
            let cut = cut.min(framed.len());
            prop_assert_eq!(read(&framed, &[cut]), read(&framed, &[]));
        }
    }
}
