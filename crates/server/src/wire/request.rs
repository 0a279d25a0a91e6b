//! Bytes of a request to a request.

/// Longest request line with headers.
const HEAD_LIMIT: usize = 64 << 10;
/// Longest body: more than a prompt of a million tokens, as text or as token ids.
const BODY_LIMIT: usize = 16 << 20;
const HEADER_COUNT: usize = 100;

/// A request that has arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without scheme, host and query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the client lets the connection be used again.
    pub(crate) keep_alive: bool,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// What the bytes so far hold.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A request, and how many bytes it took.
    Whole(Request, usize),
    /// The beginning of one; `waits` when the client waits to be told to go on.
    Partial { waits: bool },
    /// Something that is not answered: the status to say so by, and why.
    Refused(u16, String),
}

/// Reads one request from the beginning of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT];
    let mut head = httparse::Request::new(&mut headers);
    let head_bytes = match head.parse(bytes) {
        Ok(httparse::Status::Complete(count)) if count <= HEAD_LIMIT => count,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_LIMIT => return Parsed::Partial { waits: false },
        Ok(_) => return Parsed::Refused(431, format!("the request's head is longer than {HEAD_LIMIT} bytes")),
        Err(error) => return Parsed::Refused(400, format!("this is no HTTP/1.1 request: {error}")),
    };
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Parsed::Partial { waits: false };
    };
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned()))
        .collect();
    if find(&headers, "transfer-encoding").is_some() {
        return Parsed::Refused(411, "the length of the body has to be told by Content-Length".into());
    }
    let mut lengths = headers.iter().filter(|(name, _)| name == "content-length").map(|(_, value)| value.as_str());
    let length = lengths.next().map(|value| value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse()));
    if lengths.next().is_some() {
        // Two readers of the request could disagree on where the next one begins.
        return Parsed::Refused(400, "there is more than one Content-Length".into());
    }
    let length = match length {
        None => 0,
        Some(Some(Ok(length))) if length <= BODY_LIMIT => length,
        Some(Some(Err(error))) if *error.kind() != std::num::IntErrorKind::PosOverflow => {
            return Parsed::Refused(400, "Content-Length must be a number".into());
        }
        Some(Some(_)) => return Parsed::Refused(413, format!("the request's body is longer than {BODY_LIMIT} bytes")),
        Some(None) => return Parsed::Refused(400, "Content-Length must be a number".into()),
    };
    let end = head_bytes + length;
    if bytes.len() < end {
        let waits = find(&headers, "expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
        return Parsed::Partial { waits };
    }
    let connection = find(&headers, "connection").unwrap_or_default().to_ascii_lowercase();
    let keep_alive = if version == 0 { connection.contains("keep-alive") } else { !connection.contains("close") };
    let request = Request {
        method: method.into(),
        path: path_of(target).into(),
        body: bytes[head_bytes..end].to_vec(),
        keep_alive,
        headers,
    };
    Parsed::Whole(request, end)
}

/// The path of a request target; clients of a proxy put scheme and host before it.
fn path_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    };
    path.split('?').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_however_its_bytes_arrive() {
        let bytes = b"POST http://h:1/v1/completions?x=1 HTTP/1.1\r\nHost: h\r\nX-Request-Id:  7 \r\ncontent-length: 3\r\n\r\nabcGET";
        let whole = bytes.len() - 3;
        for count in 0..whole {
            assert!(matches!(parse(&bytes[..count]), Parsed::Partial { waits: false }), "{count}");
        }
        let Parsed::Whole(request, used) = parse(bytes) else { panic!("not whole") };
        assert_eq!((request.method.as_str(), request.path.as_str(), used), ("POST", "/v1/completions", whole));
        assert_eq!((request.header("x-request-id"), request.body.as_slice()), (Some("7"), &b"abc"[..]));
        assert!(request.keep_alive);
    }

    #[test]
    fn clients_say_whether_the_connection_stays() {
        for (text, stays) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ] {
            let Parsed::Whole(request, _) = parse(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(request.keep_alive, stays, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        let status = |text: &str| match parse(text.as_bytes()) {
            Parsed::Refused(status, _) => status,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(status("\x16\x03\x01\x02\x00\x01"), 400);
        assert_eq!(status("POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n"), 413);
        assert_eq!(status("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), 411);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\na: {}", "x".repeat(HEAD_LIMIT))), 431);
        let waiting = "POST / HTTP/1.1\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
        assert!(matches!(parse(waiting.as_bytes()), Parsed::Partial { waits: true }));
    }
}
