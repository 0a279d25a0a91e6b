//! A plain client, so that what is tested is the bytes.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "used by tests only")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

pub(crate) fn get(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
}

/// Sends a request on a kept connection.
pub(crate) fn send(stream: &mut TcpStream, path: &str, body: &str) {
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: test\r\nx-request-id: test-1\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
}

/// One request on a connection of its own; everything that came, head included.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> String {
    let mut stream = connect(address);
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .unwrap();
    read_all(&mut stream)
}

pub(crate) fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One response from a kept connection: its head, and its body with the chunks put together.
pub(crate) fn read_response(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    let mut more = |bytes: &mut Vec<u8>| {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the connection ended within {:?}", String::from_utf8_lossy(bytes));
        bytes.extend_from_slice(&buffer[..count]);
    };
    let head_end = loop {
        match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(place) => break place + 4,
            None => more(&mut bytes),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut rest = bytes.split_off(head_end);
    let lower = head.to_ascii_lowercase();
    let body = if let Some((_, length)) = lower.split_once("content-length: ") {
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        while rest.len() < length {
            more(&mut rest);
        }
        assert_eq!(rest.len(), length);
        rest
    } else {
        while !rest.ends_with(b"0\r\n\r\n") {
            more(&mut rest);
        }
        unchunk(&rest)
    };
    (head, String::from_utf8(body).unwrap())
}

/// A chunked body without its chunks.
pub(crate) fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        bytes = &bytes[line + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
}

/// The data of the events of a stream.
pub(crate) fn events(body: &str) -> Vec<String> {
    body.split("\n\n")
        .filter(|event| !event.is_empty())
        .map(|event| event.strip_prefix("data: ").expect("an event has data").to_owned())
        .collect()
}

/// Waits until something is so.
pub(crate) fn until(mut so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not come about within 10 seconds");
}
