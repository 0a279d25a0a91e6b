//! The scripted server over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot start has failed")]

mod support;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use sagellm_core::Clock;
use sagellm_server::{Ending, Script, Scripted, conformance};
use support::{anywhere, connect, get, post, read_all, read_response};

fn start(text: &str) -> Scripted {
    Scripted::start(Script::parse("test", text).unwrap(), anywhere(), Clock::start()).unwrap()
}

#[test]
fn every_byte_is_as_prescribed() {
    let server = start("header X-A: b\nevent {\"a\":1}\nbytes 'x\\r\\n'\ntrailer X-T: 1");
    let answer = post(server.address(), "/v1/completions", "{}");
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n\
        f\r\ndata: {\"a\":1}\n\n\r\n3\r\nx\r\n\r\n0\r\nX-T: 1\r\n\r\n";
    assert_eq!(answer, expected);
}

#[test]
fn lengths_and_raw_bytes() {
    let server = start("body length\nstatus 418 Teapot\nbytes 'abc'\nanswer #2\nraw 'any'\nfill 2 'xy'\nclose");
    let first = post(server.address(), "/", "");
    assert_eq!(first, "HTTP/1.1 418 Teapot\r\nContent-Type: text/event-stream\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(post(server.address(), "/", ""), "anyxyxy");
    let server = start("answer /a\nhang");
    assert!(post(server.address(), "/b", "").contains("the script has no answer to `/b`"));
}

#[test]
fn answers_are_chosen_by_path_and_order_and_connections_are_kept() {
    let server = start(
        "body length\nbytes 'rest'\nanswer /health\nbody length\nbytes 'ok'\nanswer /x #3\nbody length\nbytes 'third'",
    );
    let mut stream = connect(server.address());
    let mut ask = |path: &str| {
        get(&mut stream, path);
        read_response(&mut stream).1
    };
    let answers = ["/health", "/x", "/x", "/x"].map(&mut ask);
    assert_eq!(answers, ["ok", "rest", "third", "rest"]);
    support::until(|| server.truth().iter().all(|exchange| exchange.ending == Some(Ending::Whole)));
    let truth = server.truth();
    assert!(truth.iter().all(|exchange| exchange.connection == 0));
    assert_eq!(truth.iter().map(|exchange| exchange.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn waits_are_kept_and_the_truth_says_when() {
    let server = start("wait 40ms\nmark first_token\nevent a\nwait 10ms\nevent b\nwait 10ms\nmark last_token\nevent c");
    post(server.address(), "/", "");
    let exchange = server.truth().remove(0);
    let after = |name: &str| Duration::from_nanos(exchange.mark(name).unwrap() - exchange.arrival.at);
    // The head goes right before the first event, so the mark names the head's write.
    assert_eq!(exchange.writes.len(), 5);
    for (name, due) in [("first_token", 40), ("last_token", 60)] {
        let (taken, due) = (after(name), Duration::from_millis(due));
        assert!(taken >= due && taken < due + Duration::from_millis(20), "{name}: {taken:?}");
    }
    assert_eq!(exchange.mark("other"), None);
    assert!(exchange.arrival.by_kernel || cfg!(not(target_os = "linux")));
}

#[test]
fn writes_are_split_and_gathered() {
    let server = start("body close\nhead\nsplit 2\nbytes 'abcde'\nsplit 0\nhold\nbytes 'f'\nbytes 'g'\nsend");
    let answer = post(server.address(), "/", "");
    assert!(answer.ends_with("\r\n\r\nabcdefg"), "{answer}");
    let sizes: Vec<usize> = server.truth()[0].writes.iter().skip(1).map(|write| write.bytes).collect();
    assert_eq!(sizes, [2, 2, 1, 2]);
}

#[test]
fn connections_break_close_and_hang_as_told() {
    let server = start("reset\nanswer #2\nhead\nevent x\nclose\nanswer #3\nhang");
    let mut broken = connect(server.address());
    get(&mut broken, "/");
    assert_eq!(broken.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut closed = connect(server.address());
    get(&mut closed, "/");
    assert!(read_all(&mut closed).ends_with("9\r\ndata: x\n\n\r\n"));

    let mut hanging = connect(server.address());
    get(&mut hanging, "/");
    hanging.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
    assert_eq!(hanging.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(server.truth()[2].ending, None);
    drop(hanging);
    support::until(|| server.truth()[2].ending == Some(Ending::Hung));
    let endings: Vec<_> = server.truth().iter().map(|exchange| exchange.ending).collect();
    assert_eq!(endings, [Some(Ending::Reset), Some(Ending::Closed), Some(Ending::Hung)]);
}

#[test]
fn a_server_that_hangs_can_be_stopped() {
    let server = start("hang");
    let mut stream = connect(server.address());
    get(&mut stream, "/");
    support::until(|| server.truth().len() == 1);
    drop(server);
    assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0);
}

#[test]
fn every_case_of_the_grammar_can_be_played() {
    for case in conformance().unwrap() {
        // The others hang or break the connection on purpose.
        if case.row == 26 || ["protocol", "connection"].contains(&case.script.expect["outcome"].as_str()) {
            continue;
        }
        let tokens = case.script.expect.get("tokens").cloned();
        let server = Scripted::start(case.script, anywhere(), Clock::start()).unwrap();
        let answer = post(server.address(), "/v1/completions", "{}");
        assert!(answer.starts_with("HTTP/1.1 "), "{}: {answer}", case.name);
        support::until(|| server.truth()[0].ending == Some(Ending::Whole));
        let exchange = server.truth().remove(0);
        if tokens.is_some() {
            assert!(exchange.mark("first_token") <= exchange.mark("last_token"), "{}", case.name);
            assert!(exchange.mark("first_token").is_some(), "{}", case.name);
        }
    }
}
