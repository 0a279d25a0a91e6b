//! A response to bytes.

use serde_json::{Value, json};

/// What ends a chunked body without trailers.
pub(crate) const END_OF_CHUNKS: &[u8] = b"0\r\n\r\n";

/// A response whose body is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A JSON document.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: "application/json", body: body.to_string().into_bytes() }
    }

    /// Plain text.
    pub(crate) fn text(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, body: body.into() }
    }

    /// Head and body.
    pub(crate) fn bytes(&self, keep_alive: bool) -> Vec<u8> {
        let mut bytes = status_line(self.status, reason(self.status)).into_bytes();
        bytes.extend_from_slice(
            format!(
                "content-type: {}\r\ncontent-length: {}\r\n{}\r\n",
                self.content_type,
                self.body.len(),
                connection(keep_alive)
            )
            .as_bytes(),
        );
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The head of an event stream, whose body is chunked.
    pub(crate) fn stream_head(keep_alive: bool) -> String {
        format!(
            "{}content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n{}\r\n",
            status_line(200, reason(200)),
            connection(keep_alive)
        )
    }
}

fn connection(keep_alive: bool) -> &'static str {
    if keep_alive { "" } else { "connection: close\r\n" }
}

/// The first line of a response.
pub(crate) fn status_line(status: u16, reason: &str) -> String {
    format!("HTTP/1.1 {status} {reason}\r\n")
}

/// The usual words for a status.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        103 => "Early Hints",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// Appends `data` as one chunk of a chunked body.
pub(crate) fn append_chunk(out: &mut Vec<u8>, data: &[u8]) {
    // A chunk of no bytes would end the body.
    if !data.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Refuses a request without the key of the server.
pub(crate) fn unauthorized() -> Response {
    let message = "this server expects its API key as `Authorization: Bearer KEY`";
    Response::json(401, &error_body(401, message, None))
}

/// An error in the shape that vLLM gives it.
pub(crate) fn error_body(status: u16, message: &str, param: Option<&str>) -> Value {
    let kind = match status {
        401 => "AuthenticationError",
        404 => "NotFoundError",
        500.. => "InternalServerError",
        _ => "BadRequestError",
    };
    json!({"error": {"message": message, "type": kind, "param": param, "code": status}})
}
