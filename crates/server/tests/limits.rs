//! What clients may take up of a server, the same for the simulator and for the server over the engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sagellm_core::{Clock, NoProgress};
use sagellm_engine::EngineOptions;
use sagellm_model::OpenOptions;
use sagellm_server::{ConnectionLimits, EngineServer, EngineServerOptions, SimulateOptions, Simulator};
use support::{anywhere, connect, get, read_all, read_response};

const SOON: Duration = Duration::from_millis(200);
const LATE: Duration = Duration::from_secs(60);

/// Limits of which none is met soon.
fn wide() -> ConnectionLimits {
    ConnectionLimits { idle: LATE, request: LATE, stalled: LATE, ..ConnectionLimits::default() }
}

/// Does the same with either server.
fn with_both(limits: ConnectionLimits, api_key: Option<&str>, act: impl Fn(SocketAddr)) {
    let api_key = api_key.map(str::to_owned);
    let options = SimulateOptions { limits, api_key: api_key.clone(), ..SimulateOptions::default() };
    act(Simulator::start(options, anywhere(), Clock::start()).unwrap().address());
    let engine = EngineOptions {
        threads: 1,
        isa: None,
        dtype: None,
        kv_cache_tokens: 1024,
        max_num_batched_tokens: 64,
        max_num_seqs: 4,
        prefix_caching: true,
        draft_tokens: 0,
        stream_text: false,
    };
    let options = EngineServerOptions { engine, served_model_name: None, api_key, limits };
    let model = sagellm_model::open("synthetic:tiny", &OpenOptions::default(), &NoProgress).unwrap();
    act(EngineServer::start(model, options, anywhere(), Clock::start(), &NoProgress).unwrap().address());
}

fn is_healthy(address: SocketAddr) -> bool {
    let mut stream = connect(address);
    get(&mut stream, "/health");
    read_response(&mut stream).0.starts_with("HTTP/1.1 200 ")
}

/// What comes on a connection until it is closed, after `sent` was sent.
fn answer_to(address: SocketAddr, sent: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(sent.as_bytes()).unwrap();
    read_all(&mut stream)
}

#[test]
fn idle_connections_are_closed() {
    with_both(ConnectionLimits { idle: SOON, ..wide() }, None, |address| {
        assert_eq!(answer_to(address, ""), "");
        let mut used = connect(address);
        get(&mut used, "/health");
        read_response(&mut used);
        assert_eq!(read_all(&mut used), "");
    });
}

#[test]
fn a_request_that_does_not_come_to_its_end_is_answered() {
    with_both(ConnectionLimits { request: SOON, ..wide() }, None, |address| {
        for half in ["GET /hea", "POST /v1/completions HTTP/1.1\r\ncontent-length: 100\r\n\r\n{\"prompt\":"] {
            let answer = answer_to(address, half);
            assert!(answer.starts_with("HTTP/1.1 408 "), "{half}: {answer}");
        }
        // A byte now and then is no way around it.
        let mut slow = connect(address);
        let began = Clock::start();
        while slow.write_all(b"a").is_ok() && began.now() < 10_000_000_000 {
            std::thread::sleep(SOON / 10);
        }
        assert!(began.now() < 10_000_000_000);
        assert!(is_healthy(address));
    });
}

#[test]
fn two_lengths_of_a_body_are_refused() {
    with_both(wide(), None, |address| {
        for lengths in ["content-length: 2\r\nContent-Length: 3", "content-length: 2\r\ncontent-length: 2"] {
            let answer = answer_to(address, &format!("POST /v1/completions HTTP/1.1\r\n{lengths}\r\n\r\n{{}}x"));
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
        for length in ["+2", "-2", "0x2", "2,2", ""] {
            let answer =
                answer_to(address, &format!("POST /v1/completions HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{{}}"));
            assert!(answer.starts_with("HTTP/1.1 400 "), "{length}: {answer}");
        }
        let answer =
            answer_to(address, "POST /v1/completions HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

#[test]
fn half_bodies_take_a_limited_amount_of_memory() {
    with_both(ConnectionLimits { buffered: 4 << 20, ..wide() }, None, |address| {
        let body = vec![b'a'; 1 << 20];
        let mut halves: Vec<TcpStream> = Vec::new();
        for _ in 0..40 {
            let mut stream = connect(address);
            // Those that are refused are closed while they send.
            let _ = write!(stream, "POST /v1/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n", 2 * body.len())
                .and_then(|()| stream.write_all(&body));
            halves.push(stream);
        }
        support::until(|| is_healthy(address));
        for half in &mut halves {
            half.set_nonblocking(true).unwrap();
        }
        let is_open = |half: &mut TcpStream| {
            half.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        };
        let mut kept = || halves.iter_mut().map(is_open).filter(|open| *open).count();
        support::until(|| kept() <= 4);
        assert!(kept() >= 1);
    });
}

#[test]
fn connections_beyond_the_limit_wait() {
    with_both(ConnectionLimits { connections: 2, ..wide() }, None, |address| {
        let first = connect(address);
        let mut second = connect(address);
        get(&mut second, "/health");
        read_response(&mut second);
        let mut third = connect(address);
        get(&mut third, "/health");
        third.set_read_timeout(Some(SOON)).unwrap();
        assert!(third.read(&mut [0]).is_err(), "nothing comes while two are open");
        drop(first);
        third.set_read_timeout(Some(LATE)).unwrap();
        assert!(read_response(&mut third).0.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_server_with_a_key_answers_those_who_have_it() {
    with_both(wide(), Some("k1"), |address| {
        let status = |path: &str, header: &str| {
            let answer = answer_to(address, &format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{header}\r\n"));
            answer.split(' ').nth(1).unwrap_or_default().to_owned()
        };
        assert_eq!(status("/v1/models", ""), "401");
        assert_eq!(status("/metrics", "Authorization: Bearer k2\r\n"), "401");
        assert_eq!(status("/v1/models", "Authorization: Bearer k1\r\n"), "200");
        assert_eq!(status("/health", ""), "200");
    });
}
