//! Streams without an end, as fast as they come: they hold nobody up, and fill no memory.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::time::Duration;

use sagellm_core::{Clock, OutcomeKind};

use support::wire::{Server, keep_answering, read_request};
use support::{Client, options, request};

/// A server whose first connection says the same for ever, while the others answer.
fn endless(said: &str) -> Server {
    let block = said.repeat((1 << 20) / said.len());
    Server::start(move |number, mut stream| {
        if number > 0 {
            return keep_answering(stream);
        }
        read_request(&mut stream);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let mut sent = stream.write_all(head.as_bytes());
        while sent.is_ok() {
            sent = stream.write_all(block.as_bytes());
        }
    })
}

#[test]
fn others_have_their_turn_beside_it_and_its_time_is_limited() {
    let server = endless(": nothing but comments\n\n");
    let mut options = options(&server.url());
    options.timeout_first_token = Some(Duration::from_secs(2));
    let mut client = Client::start(options, Clock::start());
    client.submit(request(0));
    std::thread::sleep(Duration::from_millis(200));
    let requests: Vec<_> = (0..4).map(request).collect();
    requests[1..].iter().for_each(|request| client.submit(request.clone()));
    let ended = client.ends(&requests);
    let (first, others) = ended.split_first().unwrap();
    assert_eq!(first.record.outcome, OutcomeKind::Timeout);
    assert_eq!(first.record.reason.as_deref(), Some("no token within 2 s (--timeout-first-token)"));
    for other in others {
        assert_eq!(other.record.outcome, OutcomeKind::Success, "{:?}", other.record.reason);
        assert!(other.record.end_ns < first.record.end_ns, "nobody waits for it");
    }
}

#[test]
fn a_server_that_ignores_the_limit_on_tokens_is_cut_off_and_its_tokens_are_kept() {
    let server =
        endless("data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\" a\",\"finish_reason\":null}]}\n\n");
    let ended = Client::start(options(&server.url()), Clock::start()).ask(request(0));
    assert_eq!(ended.record.outcome, OutcomeKind::Protocol);
    let reason = "the answer has no end: more than 65536 chunks came, though 16 tokens were asked for";
    assert_eq!(ended.record.reason.as_deref(), Some(reason));
    assert_eq!(ended.record.chunks.len(), (1 << 16) + 1);
}
