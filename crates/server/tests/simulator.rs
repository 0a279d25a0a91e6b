//! The simulator over real sockets. Bounds on time are wide, since other programs may use the processor; the example
//! `simulator_load` measures how exact it is.

#![expect(clippy::unwrap_used, reason = "a test that cannot start has failed")]

mod support;

use std::net::TcpStream;
use std::time::Duration;

use sagellm_core::{Clock, WallTime};
use sagellm_server::{SimulateOptions, Simulator, Truth};
use serde_json::{Value, json};
use support::{anywhere, connect, events, get, post, read_response, send, until};

fn start(options: SimulateOptions) -> Simulator {
    Simulator::start(options, anywhere(), Clock::start()).unwrap()
}

fn quick() -> SimulateOptions {
    SimulateOptions { ttft: Duration::ZERO, itl: Duration::ZERO, ..SimulateOptions::default() }
}

fn ask(stream: &mut TcpStream, path: &str, body: &Value) -> (String, String) {
    send(stream, path, &body.to_string());
    read_response(stream)
}

#[test]
fn a_stream_has_the_tokens_asked_for_and_usage() {
    let server = start(quick());
    let mut stream = connect(server.address());
    let body = json!({"model": "m", "prompt": "one two", "max_tokens": 5, "stream": true,
        "stream_options": {"include_usage": true}});
    let (head, body) = ask(&mut stream, "/v1/completions", &body);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("text/event-stream"), "{head}");
    let events = events(&body);
    assert_eq!(events.len(), 7);
    assert_eq!(events[6], "[DONE]");
    let chunks: Vec<Value> = events[..6].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    for (place, chunk) in chunks[..5].iter().enumerate() {
        assert_eq!(chunk["choices"][0]["text"], "a");
        assert_eq!(chunk["choices"][0]["finish_reason"], if place == 4 { json!("length") } else { Value::Null });
        assert_eq!(chunk["model"], "m");
    }
    assert_eq!(chunks[5]["choices"], json!([]));
    assert_eq!(chunks[5]["usage"], json!({"prompt_tokens": 7, "total_tokens": 12, "completion_tokens": 5}));
}

#[test]
fn a_chat_begins_with_the_role() {
    let server = start(quick());
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 2, "stream": true});
    let (_, body) = ask(&mut connect(server.address()), "/v1/chat/completions", &body);
    let chunks: Vec<Value> = events(&body).iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    let deltas: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    let expected = [json!({"role": "assistant", "content": ""}), json!({"content": "a"}), json!({"content": "a"})];
    assert_eq!(deltas, expected.iter().collect::<Vec<_>>());
}

#[test]
fn whole_answers_and_pages() {
    let server = start(quick());
    let mut stream = connect(server.address());
    let (_, answer) = ask(&mut stream, "/v1/completions", &json!({"prompt": "a", "max_tokens": 2}));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["choices"][0]["text"], "aa");
    assert_eq!(answer["usage"]["completion_tokens"], 2);
    let mut page = |path: &str| {
        get(&mut stream, path);
        read_response(&mut stream)
    };
    assert!(page("/health").0.starts_with("HTTP/1.1 200"));
    assert!(page("/version").1.contains("version"));
    assert!(page("/v1/models").1.contains("\"simulated\""));
    let metrics = page("/metrics").1;
    assert!(metrics.contains("simulator_generation_tokens_total 2\n"), "{metrics}");
    assert!(metrics.contains("simulator_requests_running 0\n"), "{metrics}");
    assert!(page("/nothing").0.starts_with("HTTP/1.1 404"));
    assert!(page("/v1/completions").0.starts_with("HTTP/1.1 405"));
    let (head, body) = ask(&mut stream, "/v1/completions", &json!({"prompt": "a", "max_tokens": 0}));
    assert!(head.starts_with("HTTP/1.1 400") && body.contains("\"message\":\"max_tokens has to be"), "{body}");
    assert!(post(server.address(), "/v1/completions", "{").contains("400 Bad Request"));
}

#[test]
fn times_are_kept_and_the_truth_tells_them() {
    let options = SimulateOptions {
        ttft: Duration::from_millis(40),
        itl: Duration::from_millis(5),
        ..SimulateOptions::default()
    };
    let server = start(options);
    let mut stream = connect(server.address());
    let body = json!({"prompt": "a", "max_tokens": 5, "stream": true});
    // The first packets after stamps are wanted may go without.
    ask(&mut stream, "/v1/completions", &body);
    ask(&mut stream, "/v1/completions", &body);
    get(&mut stream, "/admin/truth");
    let (_, lines) = read_response(&mut stream);
    let told: Vec<Truth> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told, server.truth());
    assert_eq!(told.len(), 2);
    for truth in &told {
        assert_eq!((truth.tokens, truth.whole, truth.request.as_deref()), (5, true, Some("test-1")));
        let first = truth.first_write_ns.unwrap() - truth.arrival_ns;
        let last = truth.last_write_ns.unwrap() - truth.arrival_ns;
        assert!((40_000_000..80_000_000).contains(&first), "{truth:?}");
        assert!((60_000_000..120_000_000).contains(&last), "{truth:?}");
        assert!(truth.arrival_ns.abs_diff(WallTime::now().unix_ns) < 60_000_000_000);
    }
    assert!(told[1].arrival_by_kernel || cfg!(not(target_os = "linux")));
    send(&mut stream, "/nothing", "");
    read_response(&mut stream);
    std::io::Write::write_all(&mut stream, b"DELETE /admin/truth HTTP/1.1\r\n\r\n").unwrap();
    read_response(&mut stream);
    assert_eq!(server.truth(), []);
    std::io::Write::write_all(&mut stream, b"PUT /admin/truth HTTP/1.1\r\n\r\n").unwrap();
    read_response(&mut stream);
    ask(&mut stream, "/v1/completions", &body);
    // It is noted after the last write.
    until(|| !server.truth().is_empty());
    let truth = &server.truth()[0];
    let gaps = truth.write_gaps_ns.as_ref().unwrap();
    assert_eq!((gaps.len(), gaps.iter().map(|gap| gap.1).sum()), (truth.writes as usize, 5));
    assert_eq!(gaps[0].0, truth.first_write_ns.unwrap() - truth.arrival_ns);
    assert_eq!(gaps.iter().map(|gap| gap.0).sum::<u64>(), truth.last_write_ns.unwrap() - truth.arrival_ns);
}

#[test]
fn many_streams_on_two_threads_are_all_answered() {
    let options = SimulateOptions {
        ttft: Duration::from_millis(30),
        itl: Duration::from_millis(2),
        jitter: Duration::from_millis(1),
        threads: 2,
        ..SimulateOptions::default()
    };
    let server = start(options);
    let body = json!({"prompt": "a", "max_tokens": 20, "stream": true}).to_string();
    let mut streams: Vec<TcpStream> = (0..200).map(|_| connect(server.address())).collect();
    streams.iter_mut().for_each(|stream| send(stream, "/v1/completions", &body));
    for stream in &mut streams {
        assert_eq!(events(&read_response(stream).1).len(), 21);
    }
    until(|| server.truth().len() == 200);
    assert!(server.truth().iter().all(|truth| truth.tokens == 20 && truth.whole));
}

#[test]
fn a_client_that_goes_is_noted_and_one_that_does_not_read_is_waited_for() {
    let server = start(SimulateOptions { itl: Duration::from_millis(5), ..quick() });
    let mut gone = connect(server.address());
    send(&mut gone, "/v1/completions", &json!({"prompt": "a", "max_tokens": 1000, "stream": true}).to_string());
    std::io::Read::read_exact(&mut gone, &mut [0; 20]).unwrap();
    drop(gone);
    until(|| server.truth().len() == 1);
    assert!(!server.truth()[0].whole && server.truth()[0].tokens > 0);

    let server = start(quick());
    let mut slow = connect(server.address());
    send(&mut slow, "/v1/completions", &json!({"prompt": "a", "max_tokens": 100_000, "stream": true}).to_string());
    // More than the sockets hold: the server has to stop and go on.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.truth(), []);
    assert_eq!(events(&read_response(&mut slow).1).len(), 100_001);
    until(|| server.truth().len() == 1);
    assert!(server.truth()[0].whole && server.truth()[0].tokens == 100_000);
}

#[test]
fn settings_and_addresses_that_cannot_be_used_are_refused() {
    let none = SimulateOptions { threads: 0, ..SimulateOptions::default() };
    let error = Simulator::start(none, anywhere(), Clock::start()).unwrap_err();
    assert_eq!(error.to_string(), "a simulator needs at least one thread");
    let server = start(quick());
    let error = Simulator::start(quick(), server.address(), Clock::start()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {}", server.address())), "{error}");
    assert!(sagellm_core::UserError::hint(&error).unwrap().contains("--port"));
}
