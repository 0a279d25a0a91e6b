//! Probes over connections that are closed, and to places that have moved.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sagellm_core::{Exit, NoProgress, UserError};
use sagellm_http::{Access, BlockingClient, EndpointType, NoAnswer, ProbeOptions, Profile, Target, prepare};

fn client(address: SocketAddr) -> BlockingClient {
    BlockingClient::new(Access::new(Target::parse(&format!("http://{address}")).unwrap())).unwrap()
}

/// A server that keeps a connection open after its first answer, and closes it on the next request without an answer.
fn forgetful() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while reader.read_line(&mut head).unwrap() > 2 {}
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                reader.read_line(&mut head).unwrap();
            });
        }
    });
    (address, connections)
}

#[test]
fn a_kept_connection_that_was_closed_is_replaced() {
    let (address, connections) = forgetful();
    let (client, timeout) = (client(address), Duration::from_secs(10));
    for asked in 1..=4 {
        assert_eq!(client.get("/metrics", timeout).unwrap().body, "ok", "{asked}");
        assert_eq!(client.post("/v1/completions", b"", timeout, timeout).unwrap().body, "ok", "{asked}");
    }
    assert!(connections.load(Ordering::Relaxed) > 1);
}

#[test]
fn a_server_that_never_answers_is_asked_twice_at_most() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(listener.local_addr().unwrap());
    let count = std::thread::spawn(move || {
        listener.set_nonblocking(false).unwrap();
        let mut count = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0];
            if stream.read(&mut first).unwrap() == 0 {
                return count;
            }
            count += 1;
        }
        count
    });
    let timeout = Duration::from_secs(10);
    let address = client.target().authority();
    assert_eq!(client.get("/health", timeout), Err(NoAnswer::Closed));
    drop(TcpStream::connect(address).unwrap());
    assert!(count.join().unwrap() <= 2);
}

#[test]
fn a_move_is_named_with_its_target_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut head).unwrap() > 2 {}
            let moved = "HTTP/1.1 308 x\r\nlocation: /v1/models/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(moved.as_bytes()).unwrap();
        }
    });
    let options = ProbeOptions::new(Profile::named("openai").unwrap(), EndpointType::Completions);
    let options = ProbeOptions { ready_timeout: Duration::from_secs(600), ..options };
    let error = prepare(&client(address), &options, &|| Ok(()), &NoProgress).unwrap_err();
    let expected =
        format!("`http://{address}/v1/models` has moved to `/v1/models/` (status 308), and redirects are not followed");
    assert_eq!((error.to_string(), error.exit()), (expected, Exit::Backend));
    assert!(error.hint().unwrap().contains("--base-url"));
}
