//! The readers of bytes from outside, fed in pieces as a socket might: for fuzz targets and tests, in no other build.

use sagellm_core::{End, Piece};

use crate::Secret;
use crate::answer::{Answer, Arrival, Progress, Reading};
use crate::response::{Malformed, Part, Response};
use crate::sse::EventReader;

/// The pieces of `bytes` that end at `cuts`, which ascend, and at its end.
fn pieces<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut from = 0;
    cuts.iter().copied().chain([bytes.len()]).filter_map(move |to| {
        let piece = bytes.get(from..to)?;
        from = to;
        Some(piece)
    })
}

/// Reads certificates and a key from the text of a PEM file. Returns how many certificates there are, and whether there is
/// a key.
///
/// # Errors
/// Says what is wrong with the certificates.
pub fn pem(text: &[u8]) -> Result<(usize, bool), String> {
    let certificates = crate::tls::certificates_in(text)?;
    Ok((certificates.len(), crate::tls::private_key_in(text).is_ok()))
}

/// Reads the events of a stream; `see` is told of each whether it is named `error`, and its data. False when a line or
/// the data of an event is longer than `max_line` bytes, which ends the reading.
pub fn events(stream: &[u8], cuts: &[usize], max_line: usize, see: &mut impl FnMut(bool, &[u8])) -> bool {
    let mut reader = EventReader::new(max_line);
    for mut piece in pieces(stream, cuts) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(event)) => see(event.error, event.data),
                Ok(None) => break,
                Err(_) => return false,
            }
        }
    }
    match reader.finish() {
        Ok(Some(event)) => see(event.error, event.data),
        Ok(None) => {}
        Err(_) => return false,
    }
    true
}

/// An answer without its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unframed {
    /// The head, as text; of use only to be compared.
    pub head: String,
    /// The body so far.
    pub body: Vec<u8>,
    /// Whether it is complete.
    pub over: bool,
    /// What follows it.
    pub rest: Vec<u8>,
}

/// Takes the frame off an answer, which may be one to `CONNECT`.
///
/// # Errors
/// Says how it breaks the protocol.
pub fn response(bytes: &[u8], cuts: &[usize], to_connect: bool) -> Result<Unframed, String> {
    let mut response = if to_connect { Response::to_connect() } else { Response::new() };
    let (mut body, mut rest, mut over) = (Vec::new(), Vec::new(), false);
    for mut piece in pieces(bytes, cuts) {
        loop {
            match response.next(&mut piece) {
                Ok(Part::More) => break,
                Ok(Part::Head) => {}
                Ok(Part::Body(part)) => body.extend_from_slice(part),
                Ok(Part::End) => {
                    over = true;
                    rest.extend_from_slice(piece);
                    break;
                }
                Err(Malformed(how)) => return Err(how.into_owned()),
            }
        }
    }
    Ok(Unframed { head: format!("{:?}", response.head()), body, over, rest })
}

/// What an answer comes to.
#[derive(Clone, Debug)]
pub struct Read {
    /// How it ended.
    pub end: End,
    /// Tokens of each piece.
    pub tokens: Vec<u32>,
    /// Its text.
    pub text: String,
    /// Whether another request may follow on the connection; `None` when the answer lasts until the connection ends.
    pub reusable: Option<bool>,
}

/// Reads an answer to a request for the model `m`, after which the server closes the connection.
pub fn answer(bytes: &[u8], cuts: &[usize], max_line: usize, key: Option<&str>) -> Read {
    let secrets = key.map(Secret::new).into_iter().collect();
    let reading = Reading { model: "m".into(), max_line, stream_text: true, finish_reason: true, secrets };
    answer_as(bytes, cuts, &reading)
}

/// The same with all that can be set.
pub(crate) fn answer_as(bytes: &[u8], cuts: &[usize], reading: &Reading) -> Read {
    let mut answer = Answer::new(reading.max_line);
    let (mut tokens, mut text) = (Vec::new(), String::new());
    let mut emit = |piece: Piece| {
        tokens.push(piece.tokens);
        text.push_str(piece.text.as_deref().unwrap_or_default());
    };
    let mut reusable = None;
    for piece in pieces(bytes, cuts).filter(|piece| !piece.is_empty()) {
        let arrival = Arrival::read_at(7, 7);
        if let Progress::Over { reusable: found } = answer.read(piece, arrival, reading, &mut emit) {
            reusable = Some(found);
            break;
        }
    }
    if reusable.is_none() {
        answer.eof(7, reading, &mut emit);
    }
    let (_, end) = answer.end();
    Read { end, tokens, text, reusable }
}
