//! Requests and responses of HTTP/1.1, as far as the two clients need them.

use serde::Deserialize;
use serde_json::Value;

/// Most headers of a request.
const MAX_HEADERS: usize = 32;

/// A request with its body.
#[derive(Debug)]
pub struct Request {
    pub path: String,
    pub id: Option<String>,
    pub body: Vec<u8>,
}

/// What is read of the body of a completion.
#[derive(Debug, Deserialize)]
pub struct Completion {
    pub model: String,
    pub prompt: Value,
    #[serde(default = "default_tokens")]
    pub max_tokens: u32,
    #[serde(default)]
    pub stream: bool,
    #[serde(default)]
    pub stream_options: StreamOptions,
}

#[derive(Debug, Default, Deserialize)]
pub struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

fn default_tokens() -> u32 {
    16
}

impl Completion {
    /// Counts the tokens of the prompt: ids, or the words of a text, for which this server has no tokenizer.
    pub fn prompt_tokens(&self) -> usize {
        match &self.prompt {
            Value::Array(ids) => ids.len(),
            prompt => prompt.as_str().unwrap_or_default().split_whitespace().count(),
        }
    }
}

/// Takes the first request from `bytes`; `None` when it is not complete.
///
/// # Errors
/// What is wrong with it.
pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Request>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(bytes).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(found.value).ok()
    };
    if header("transfer-encoding").is_some() {
        return Err("expected a body with a `content-length`".to_owned());
    }
    let length: usize = header("content-length").unwrap_or("0").parse().map_err(|_| "invalid `content-length`")?;
    let Some(body) = bytes.get(start..).and_then(|rest| rest.get(..length)) else { return Ok(None) };
    let request = Request {
        path: head.path.unwrap_or_default().to_owned(),
        id: header("x-request-id").map(str::to_owned),
        body: body.to_vec(),
    };
    bytes.drain(..start + length);
    Ok(Some(request))
}

/// Returns a response with a JSON body.
pub fn json(status: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    (head + &body).into_bytes()
}

/// Returns a response that says what is wrong with a request.
pub fn error(status: &str, message: &str) -> Vec<u8> {
    json(status, &serde_json::json!({"error": {"message": message, "type": "invalid_request_error"}}))
}

/// The head of a stream of events.
pub const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
    cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// Appends an event of a stream as a chunk of the body.
pub fn push_event(out: &mut Vec<u8>, data: &str) {
    out.extend_from_slice(format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8).as_bytes());
}

/// Appends the end of the stream.
pub fn push_end(out: &mut Vec<u8>) {
    push_event(out, "[DONE]");
    out.extend_from_slice(b"0\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_when_its_body_is_complete() {
        let whole = b"POST /v1/completions HTTP/1.1\r\nX-Request-Id: a1\r\ncontent-length: 4\r\n\r\nbodyGET";
        for cut in 0..whole.len() - 3 {
            assert!(take(&mut whole[..cut].to_vec()).unwrap().is_none(), "{cut}");
        }
        let mut bytes = whole.to_vec();
        let request = take(&mut bytes).unwrap().unwrap();
        assert_eq!((request.path.as_str(), request.id.as_deref()), ("/v1/completions", Some("a1")));
        assert_eq!((request.body.as_slice(), bytes.as_slice()), (b"body".as_slice(), b"GET".as_slice()));
        assert!(take(&mut b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()).is_err());
    }

    #[test]
    fn prompts_are_counted() {
        let tokens = |body: &str| serde_json::from_str::<Completion>(body).unwrap().prompt_tokens();
        assert_eq!(tokens(r#"{"model": "m", "prompt": [5, 6, 7]}"#), 3);
        assert_eq!(tokens(r#"{"model": "m", "prompt": "one two"}"#), 2);
    }

    #[test]
    fn events_are_framed() {
        let mut out = Vec::new();
        push_event(&mut out, "{}");
        push_end(&mut out);
        assert_eq!(out, b"a\r\ndata: {}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    }
}
