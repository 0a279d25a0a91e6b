//! HTTP/1.1 as far as these servers speak it.

mod listen;
mod request;
mod response;

pub(crate) use listen::{Peer, listen};
pub(crate) use request::{Parsed, Request, parse};
pub(crate) use response::{END_OF_CHUNKS, Response, append_chunk, error_body, reason, status_line};
