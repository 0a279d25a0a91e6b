//! Connections: opened ahead, kept, replaced, and never inside a latency.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::time::Duration;

use sagellm_core::{Backend, Clock, OutcomeKind, UserError};
use sagellm_http::{HttpBackend, HttpError};

use support::wire::{Server, answer, keep_answering, read_request};
use support::{Client, options, request};

/// Makes a close break the connection.
const LINGER: nix::libc::linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
/// Long enough for a thread to take note of something.
const MOMENT: Duration = Duration::from_millis(150);

fn client(server: &Server, connections: usize) -> Client {
    let mut options = options(&server.url());
    options.connections = connections;
    Client::start(options, Clock::start())
}

#[test]
fn connections_are_opened_ahead_and_used_again() {
    let server = Server::start(|_, stream| keep_answering(stream));
    let mut client = client(&server, 3);
    // The kernel completes a connection before the server has taken it.
    let opened = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        server.connections() == 3
    });
    assert!(opened, "{} of 3 connections were opened ahead", server.connections());
    for id in 0..10 {
        let ended = client.ask(request(id));
        assert_eq!(ended.record.outcome, OutcomeKind::Success);
        assert_eq!((ended.http.connect_ns, ended.http.retries), (None, 0));
    }
    assert_eq!(server.connections(), 3, "answers leave their connection usable");
}

#[test]
fn a_connection_that_is_lacking_is_made_and_its_time_told_apart() {
    let server = Server::start(|_, stream| keep_answering(stream));
    let mut client = client(&server, 0);
    assert_eq!(server.connections(), 0);
    let first = client.ask(request(0));
    let took = first.http.connect_ns.expect("nothing was ready");
    assert!(took > 0 && took < 1_000_000_000, "{took}");
    assert_eq!(client.ask(request(1)).http.connect_ns, None);
    assert_eq!(server.connections(), 1);
}

#[test]
fn requests_at_once_have_connections_of_their_own() {
    let server = Server::start(|_, stream| keep_answering(stream));
    let mut options = options(&server.url());
    options.client_threads = 2;
    options.connections = 5;
    let mut client = Client::start(options, Clock::start());
    let requests: Vec<_> = (0..200).map(request).collect();
    requests.iter().for_each(|request| client.submit(request.clone()));
    for ended in client.ends(&requests) {
        assert_eq!((ended.record.outcome, ended.record.output_tokens), (OutcomeKind::Success, 2));
    }
}

#[test]
fn a_connection_that_the_server_gives_up_is_replaced_before_it_is_needed() {
    for headers in ["connection: close\r\n", ""] {
        let server = Server::start(move |_, mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(answer(headers).as_bytes());
            if headers.is_empty() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let mut client = client(&server, 1);
        for id in 0..3 {
            let ended = client.ask(request(id));
            assert_eq!((ended.record.outcome, ended.http.connect_ns), (OutcomeKind::Success, None), "{headers:?}");
            std::thread::sleep(MOMENT);
        }
        assert_eq!(server.connections(), 4);
    }
}

#[test]
fn a_server_that_turns_connections_away_is_not_asked_without_end() {
    for reset in [false, true] {
        let server = Server::start(move |_, stream| {
            if reset {
                nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &LINGER).unwrap();
            }
        });
        let mut client = client(&server, 1);
        std::thread::sleep(MOMENT);
        assert_eq!(server.connections(), 1, "reset: {reset}");
        let ended = client.ask(request(0));
        assert_eq!(ended.record.outcome, OutcomeKind::Connection, "{:?}", ended.record);
    }
}

#[test]
fn a_request_that_the_server_took_is_not_sent_again() {
    let server = Server::start(|number, mut stream| {
        read_request(&mut stream);
        stream.write_all(answer("").as_bytes()).unwrap();
        if number == 0 {
            // It takes the next request, works on it for longer than a round trip, and closes without a byte.
            let _ = stream.read(&mut [0; 4096]);
            std::thread::sleep(Duration::from_millis(50));
            return;
        }
        keep_answering(stream);
    });
    let mut client = client(&server, 0);
    assert_eq!(client.ask(request(0)).http.retries, 0);
    let taken = client.ask(request(1));
    assert_eq!((taken.record.outcome, taken.http.retries), (OutcomeKind::Connection, 0), "{:?}", taken.record);
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_request_on_a_new_connection_is_not_sent_again() {
    let server = Server::start(|_, mut stream| {
        read_request(&mut stream);
    });
    let ended = client(&server, 0).ask(request(0));
    assert_eq!((ended.record.outcome, ended.http.retries), (OutcomeKind::Connection, 0));
    assert!(ended.record.sent_ns.is_some());
    std::thread::sleep(MOMENT);
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_request_whose_connection_breaks_before_the_answer_is_sent_again_where_that_is_wanted() {
    let server = Server::start(|number, mut stream| {
        if number == 0 {
            read_request(&mut stream);
            return;
        }
        keep_answering(stream);
    });
    let mut options = options(&server.url());
    options.retries = 1;
    let ended = Client::start(options, Clock::start()).ask(request(0));
    assert_eq!((ended.record.outcome, ended.http.retries), (OutcomeKind::Success, 1), "{:?}", ended.record.reason);
    assert_eq!(server.connections(), 2);
}

#[test]
fn an_open_loop_finds_connections_ready_however_many_are_in_use() {
    let server = Server::start(|_, mut stream| {
        read_request(&mut stream);
        std::thread::sleep(Duration::from_secs(1));
        let _ = stream.write_all(answer("").as_bytes());
    });
    let mut options = options(&server.url());
    (options.connections, options.reserve) = (4, 4);
    let mut client = Client::start(options, Clock::start());
    let requests: Vec<_> = (0..20).map(request).collect();
    for request in &requests {
        client.submit(request.clone());
        std::thread::sleep(Duration::from_millis(20));
    }
    for ended in client.ends(&requests) {
        assert_eq!((ended.record.outcome, ended.http.connect_ns), (OutcomeKind::Success, None));
    }
    assert!(server.connections() >= 20);
}

#[test]
fn a_body_that_does_not_end_after_its_stream_holds_nobody_up() {
    let server = Server::start(|_, mut stream| {
        read_request(&mut stream);
        let open = answer("").replace("content-length: ", "content-length: 1");
        stream.write_all(open.as_bytes()).unwrap();
        let _ = stream.read(&mut [0; 1]);
    });
    let mut client = client(&server, 0);
    let clock = client.backend.clock();
    let before = clock.now();
    let ended = client.ask(request(0));
    assert_eq!(ended.record.outcome, OutcomeKind::Success);
    assert!(clock.now() - before < 500_000_000);
    assert_eq!(ended.record.end_ns, ended.record.last_token_ns.unwrap(), "it ended with its end mark");
    assert_eq!(client.ask(request(1)).record.outcome, OutcomeKind::Success, "on another connection");
}

#[test]
fn a_connection_on_which_a_request_was_not_taken_to_its_end_carries_no_other() {
    let server = Server::start(|number, mut stream| {
        if number > 0 {
            return keep_answering(stream);
        }
        let mut head = [0; 1000];
        stream.read_exact(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\nno").unwrap();
        // Whatever follows would be the rest of the first request to it, of which it takes no more.
        std::thread::park();
    });
    let mut client = client(&server, 1);
    let mut large = request(0);
    large.prompt.text = "x".repeat(32_000_000);
    assert_eq!(client.ask(large).record.outcome, OutcomeKind::Refused);
    let ended = client.ask(request(1));
    assert_eq!(ended.record.outcome, OutcomeKind::Success, "{:?}", ended.record.reason);
}

#[test]
fn a_prompt_larger_than_any_buffer_arrives_whole() {
    let server = Server::start(|_, mut stream| {
        std::thread::sleep(Duration::from_millis(50));
        let (_, body) = read_request(&mut stream).unwrap();
        assert!(body.len() > 8_000_000);
        assert!(body.ends_with(b"}"));
        stream.write_all(answer("").as_bytes()).unwrap();
        let _ = stream.read(&mut [0; 1]);
    });
    let mut request = request(0);
    request.prompt.text = "x".repeat(8_000_000);
    let ended = client(&server, 0).ask(request);
    assert_eq!(ended.record.outcome, OutcomeKind::Success, "{:?}", ended.record.reason);
}

#[test]
fn a_server_that_is_not_there_stops_the_start_and_fails_a_request() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = options(&format!("http://{nobody}"));
    let ended = Client::start(options.clone(), Clock::start()).ask(request(0));
    assert_eq!((ended.record.outcome, ended.record.sent_ns), (OutcomeKind::Connection, None));
    let reason = ended.record.reason.unwrap();
    assert!(reason.starts_with(&format!("cannot connect to http://{nobody}: Connection refused")), "{reason}");

    options.connections = 2;
    let error = HttpBackend::start(options.clone(), None, Clock::start()).err().unwrap();
    assert!(matches!(&error, HttpError::Connect { why, .. } if why.contains("refused")), "{error}");
    assert_eq!(error.exit(), sagellm_core::Exit::Backend);

    options.target.host = "no-such-host.invalid".into();
    assert!(matches!(HttpBackend::start(options, None, Clock::start()).err(), Some(HttpError::Resolve { .. })));
}

#[test]
fn more_connections_than_files_are_refused_before_the_start() {
    let server = Server::start(|_, stream| keep_answering(stream));
    let mut options = options(&server.url());
    options.most_connections = usize::MAX / 2;
    let error = HttpBackend::start(options, None, Clock::start()).err().unwrap();
    assert!(matches!(error, HttpError::OpenFiles { .. }), "{error}");
}

#[test]
fn a_request_can_be_given_up() {
    let server = Server::start(|_, mut stream| {
        read_request(&mut stream);
        let _ = stream.read(&mut [0; 1]);
    });
    let mut client = client(&server, 0);
    client.submit(request(7));
    std::thread::sleep(MOMENT);
    client.backend.cancel(7);
    client.backend.cancel(8);
    let ended = client.ends(&[request(7)]).remove(0);
    assert_eq!(ended.record.outcome, OutcomeKind::Censored);
    assert!(ended.record.sent_ns.is_some());
}

#[test]
fn requests_that_come_ahead_of_their_time_are_sent_at_it_and_in_its_order() {
    let server = Server::start(|_, stream| keep_answering(stream));
    let mut client = client(&server, 2);
    let now = client.backend.clock().now();
    let due = [now + 120_000_000, now + 60_000_000];
    for (id, due) in (0..).zip(due) {
        client.submit_at(request(id), due);
    }
    let ended = client.ends(&[request(0), request(1)]);
    for (ended, due) in ended.iter().zip(due) {
        assert_eq!(ended.record.outcome, OutcomeKind::Success);
        assert!(ended.record.sent_ns.unwrap() >= due, "never early");
    }
    assert!(ended[1].record.sent_ns < ended[0].record.sent_ns);
}

#[test]
fn a_request_can_be_given_up_before_its_time() {
    let server = Server::start(|_, stream| keep_answering(stream));
    let mut client = client(&server, 1);
    let in_a_minute = client.backend.clock().now() + 60_000_000_000;
    client.submit_at(request(7), in_a_minute);
    client.backend.cancel(7);
    let ended = client.ends(&[request(7)]).remove(0);
    assert_eq!((ended.record.outcome, ended.record.sent_ns), (OutcomeKind::Censored, None));
}

#[test]
fn the_end_of_the_client_ends_its_threads_and_connections() {
    let server = Server::start(|_, stream| keep_answering(stream));
    let client = client(&server, 4);
    client.submit(request(0));
    // Hangs if a thread does not stop.
    drop(client);
}
