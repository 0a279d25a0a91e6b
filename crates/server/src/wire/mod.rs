//! HTTP/1.1 as far as these servers speak it.

mod listen;
mod request;
mod response;

pub(crate) use listen::{Peer, listen};
pub(crate) use request::{Parsed, Request, parse};
pub(crate) use response::{END_OF_CHUNKS, Response, append_chunk, error_body, reason, status_line, unauthorized};

/// Why a request is refused that takes too long to arrive.
pub(crate) const LATE: &str = "the request did not arrive in time";
/// Why a request is refused when the others have taken all memory.
pub(crate) const FULL: &str = "the server holds too many requests that are not complete";
