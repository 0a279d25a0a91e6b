//! Whatever a server does, a request ends in time, by kind, with words.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use sagellm_core::{Clock, OutcomeKind};
use sagellm_http::{HttpOptions, Secret};
use sagellm_server::{Script, Scripted};

use support::{Client, Ended, options, request};

/// What comes of one request to a server that follows `script`.
fn outcome(script: &str, change: impl FnOnce(&mut HttpOptions)) -> Ended {
    let clock = Clock::start();
    let server = Scripted::start(Script::parse("test", script).unwrap(), ([127, 0, 0, 1], 0).into(), clock).unwrap();
    let mut options = options(&format!("http://{}", server.address()));
    change(&mut options);
    Client::start(options, clock).ask(request(1))
}

const TOKEN: &str = r#"event {"model":"m","choices":[{"index":0,"text":" a","finish_reason":null}]}"#;
const END: &str =
    "event {\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\" b\",\"finish_reason\":\"stop\"}]}\nevent [DONE]";

#[test]
fn errors_are_told_by_kind_with_the_words_of_the_server() {
    for (script, outcome_kind, reason) in [
        ("status 401\nbytes 'no key'", OutcomeKind::Refused, "HTTP 401 Unauthorized: no key"),
        (
            "status 404\nheader Content-Type: application/json\nbytes '{\"error\": \"no model\"}'",
            OutcomeKind::Refused,
            "HTTP 404 Not Found: {\"error\": \"no model\"}",
        ),
        (
            "status 429\nheader Retry-After: 7\nbytes 'slow down'",
            OutcomeKind::Refused,
            "HTTP 429 Too Many Requests, retry after 7: slow down",
        ),
        ("status 500\nbytes '\\x1b[31mboom\\n'", OutcomeKind::ServerError, "HTTP 500 Internal Server Error: [31mboom"),
        ("status 503\nbody length", OutcomeKind::ServerError, "HTTP 503 Service Unavailable: no explanation"),
        (
            "status 307 Temporary Redirect\nheader Location: /elsewhere\nbody length",
            OutcomeKind::Protocol,
            "HTTP 307 Temporary Redirect, moved to /elsewhere (not followed): no explanation",
        ),
        (
            "header Content-Type: text/html\nbytes '<h1>hi</h1>'",
            OutcomeKind::Protocol,
            "HTTP 200 OK, but text/html instead of a stream: <h1>hi</h1>",
        ),
        (
            "header Content-Type: application/json\nbytes '{\"error\":{\"message\":\"x\"}}'",
            OutcomeKind::ServerError,
            "HTTP 200 OK: {\"error\":{\"message\":\"x\"}}",
        ),
        ("event {\"error\":\"x\"}", OutcomeKind::ServerError, "in the stream: {\"error\":\"x\"}"),
        (
            "event {\"choices\":[{\"text\":\" a\",\"finish_reason\":\"abort\"}]}",
            OutcomeKind::ServerError,
            "the server ended the answer with the finish reason `abort`",
        ),
        ("bytes 'hello'", OutcomeKind::Protocol, "the answer is no event stream: hello"),
        (
            "raw 'SSH-2.0-x\\r\\n\\r\\n'",
            OutcomeKind::Protocol,
            "the head of the answer is no HTTP/1: invalid HTTP version",
        ),
        ("status 204\nbody length", OutcomeKind::Empty, "the answer is empty"),
        ("event [DONE]", OutcomeKind::Empty, "no chunk of the answer holds a token"),
        (
            "event {\"choices\":[],\"usage\":{\"completion_tokens\":4}}\nevent [DONE]",
            OutcomeKind::Empty,
            "no chunk of the answer holds a token, though the server counts 4",
        ),
    ] {
        let ended = outcome(script, |_| ());
        assert_eq!(ended.record.outcome, outcome_kind, "{script}: {:?}", ended.record.reason);
        assert_eq!(ended.record.reason.as_deref(), Some(reason), "{script}");
    }
}

#[test]
fn a_connection_is_used_again_after_an_error() {
    let clock = Clock::start();
    let script = format!("answer #1\nstatus 400\nbytes 'no'\nanswer #2\n{TOKEN}\n{END}");
    let server = Scripted::start(Script::parse("test", &script).unwrap(), ([127, 0, 0, 1], 0).into(), clock).unwrap();
    let mut client = Client::start(options(&format!("http://{}", server.address())), clock);
    assert_eq!(client.ask(request(1)).record.outcome, OutcomeKind::Refused);
    let second = client.ask(request(2));
    assert_eq!((second.record.outcome, second.http.connect_ns), (OutcomeKind::Success, None));
    let connections: Vec<u64> = server.truth().iter().map(|exchange| exchange.connection).collect();
    assert_eq!(connections, [0, 0]);
}

#[test]
fn the_key_does_not_come_back() {
    let ended = outcome("status 401\nbytes 'bad key sk-secret'", |options| {
        options.api_key = Some(Secret::new("sk-secret"));
    });
    assert_eq!(ended.record.reason.as_deref(), Some("HTTP 401 Unauthorized: bad key …"));
}

#[test]
fn silence_has_its_limits() {
    let limit = |first: u64, between: u64| {
        move |options: &mut HttpOptions| {
            options.timeout_first_token = Some(Duration::from_millis(first));
            options.timeout_between = Some(Duration::from_millis(between));
        }
    };
    let clock = Clock::start();
    for (script, reason) in [
        ("hang".to_owned(), "no token within 0.2 s (--timeout-first-token)"),
        ("bytes ': hi\\n\\n'\nhang".to_owned(), "no token within 0.2 s (--timeout-first-token)"),
        (format!("{TOKEN}\nhang"), "no further token within 0.3 s (--timeout-between)"),
    ] {
        let before = clock.now();
        let ended = outcome(&script, limit(200, 300));
        let took = clock.now() - before;
        assert_eq!((ended.record.outcome, ended.record.reason.as_deref()), (OutcomeKind::Timeout, Some(reason)));
        assert!((200_000_000..2_000_000_000).contains(&took), "{script}: {took}");
    }
    let ended = outcome(&format!("wait 100ms\n{TOKEN}\nwait 100ms\n{TOKEN}\nwait 100ms\n{END}"), limit(200, 200));
    assert_eq!(ended.record.outcome, OutcomeKind::Success, "each is in time: {:?}", ended.record.reason);
}

#[test]
fn tokens_before_a_fault_are_kept() {
    let ended = outcome(&format!("{TOKEN}\nwait 20ms\n{TOKEN}\nwait 20ms\nreset"), |_| ());
    assert_eq!((ended.record.outcome, ended.record.chunks.len()), (OutcomeKind::Connection, 2));
    let reason = ended.record.reason.unwrap();
    assert!(reason.starts_with("the connection broke in the middle of the answer: "), "{reason}");
    let ended = outcome(&format!("body length 9999\n{TOKEN}\nclose"), |_| ());
    assert_eq!(ended.record.reason.as_deref(), Some("the server closed the connection in the middle of the answer"));
}

#[test]
fn a_server_that_goes_and_comes_back_costs_what_it_costs() {
    let clock = Clock::start();
    let start = |address: SocketAddr| {
        let script = format!("{TOKEN}\nwait 200ms\n{END}");
        Scripted::start(Script::parse("test", &script).unwrap(), address, clock).unwrap()
    };
    let server = start(([127, 0, 0, 1], 0).into());
    let address = server.address();
    let mut options = options(&format!("http://{address}"));
    options.connections = 2;
    let mut client = Client::start(options, clock);
    assert_eq!(client.ask(request(1)).record.outcome, OutcomeKind::Success);

    client.submit(request(2));
    std::thread::sleep(Duration::from_millis(100));
    drop(server);
    let caught = client.ends(&[request(2)]).remove(0);
    assert_eq!((caught.record.outcome, caught.record.chunks.len()), (OutcomeKind::Connection, 1));
    let refused = client.ask(request(3));
    assert_eq!(refused.record.outcome, OutcomeKind::Connection);
    assert!(refused.record.reason.unwrap().contains("refused"));

    let _server = start(address);
    let back = client.ask(request(4));
    assert_eq!(back.record.outcome, OutcomeKind::Success, "{:?}", back.record.reason);
}

#[test]
fn a_request_that_is_refused_for_now_is_sent_again_where_that_is_wanted() {
    let refusals = "answer #1\nstatus 429\nheader Retry-After: 1\nanswer #2\nstatus 503\nbytes 'loading'";
    let script = format!("{TOKEN}\n{END}\n{refusals}");
    let ended = outcome(&script, |options| options.retries = 2);
    assert_eq!((ended.record.outcome, ended.http.retries), (OutcomeKind::Success, 2), "{:?}", ended.record.reason);
    assert_eq!((ended.http.status, ended.record.chunks.len()), (Some(200), 2));
    let waited = ended.record.first_token_ns.unwrap() - ended.record.sent_ns.unwrap();
    assert!(waited >= 1_200_000_000, "the first time that it was sent counts, and the server's wish: {waited}");

    let ended = outcome(&script, |options| options.retries = 1);
    assert_eq!((ended.record.outcome, ended.http.retries), (OutcomeKind::ServerError, 1));
    assert_eq!(ended.record.reason.as_deref(), Some("HTTP 503 Service Unavailable: loading"));
    assert_eq!(outcome(&script, |_| ()).http.retries, 0, "nobody asked for it");
}

#[test]
fn what_will_not_pass_in_time_is_not_sent_again() {
    for (script, status) in [
        ("status 429\nheader Retry-After: 7", 429),
        ("status 429\nheader Retry-After: Fri, 31 Dec 2027 23:59:59 GMT", 429),
        ("status 400\nbytes 'no'", 400),
        ("status 500\nbytes 'boom'", 500),
    ] {
        let ended = outcome(script, |options| {
            options.retries = 3;
            options.timeout = Some(Duration::from_secs(2));
        });
        assert!(ended.record.outcome.is_failure());
        assert_eq!((ended.http.status, ended.http.retries), (Some(status), 0), "{script}");
    }
    let ended = outcome(&format!("{TOKEN}\nwait 20ms\nreset"), |options| options.retries = 3);
    assert_eq!((ended.record.outcome, ended.http.retries), (OutcomeKind::Connection, 0), "its answer had begun");
}
