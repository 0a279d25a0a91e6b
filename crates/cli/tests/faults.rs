//! Servers that fail: before a run one error says why; in a run every request ends in time, by kind, with words.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::TcpListener;

use common::server::{FIRST, GOOD, Serving, scripted};
use common::{Place, Running, number};
use serde_json::Value;

/// A run that measures whatever is at an address, without finding out this client's own error first.
fn run(url: &str) -> String {
    format!("run --backend openai --base-url {url} --workload short --num-warmups 0 --no-calibrate --output out")
}

/// A run that is VALID, or INVALID because this machine was too busy to take exact times, which is not what a test here is
/// about.
#[track_caller]
fn assert_judged_by_times_only(place: &Place, code: i32) {
    const OF_TIMES: [&str; 3] = ["uncertain_times", "client_stalled", "hand_over"];
    let summary = place.json("out/benchmark_summary.json");
    let reasons = summary["validity"]["reasons"].as_array().unwrap();
    assert_eq!(code, if reasons.is_empty() { 0 } else { 5 });
    assert!(reasons.iter().all(|reason| OF_TIMES.contains(&reason["code"].as_str().unwrap())), "{reasons:#?}");
}

/// Runs against a server that cannot be measured; the answer, without its address.
#[track_caller]
fn refused(place: &Place, address: &str, options: &str) -> String {
    let line = format!("run -q --backend openai --workload short --base-url {address} {options}");
    let said = place.refused(line.trim_end()).replace("-q --backend openai --workload short ", "");
    match address.rsplit_once(':') {
        Some((host, port)) if host.ends_with("127.0.0.1") => said.replace(port, "PORT"),
        _ => said,
    }
}

#[test]
fn servers_that_refuse_before_a_run() {
    let place = Place::new();
    let mut said = String::new();
    for (script, options) in [
        ("answer /v1/models\nstatus 401\nbytes 'no key'", ""),
        ("", "--model other"),
        ("status 404\nbytes 'Not Found'", ""),
        ("status 404\nbytes '{\"error\": {\"message\": \"no such model\"}}'", ""),
        ("status 429\nheader Retry-After: 7\nbytes '{\"error\": {\"message\": \"slow down\"}}'", ""),
        ("status 500\nbytes 'boom'", ""),
        ("answer /v1/models\nstatus 503\nbytes 'loading'", "--ready-timeout 0.3"),
        ("answer /v1/models\nstatus 500\nbytes 'boom'", "--ready-timeout 0.3"),
        ("answer /v1/models\nhang", "--ready-timeout 0.3"),
        ("answer /v1/models\nreset", "--ready-timeout 0.3"),
        ("answer /v1/models\nraw 'SSH-2.0-OpenSSH\\r\\n'", ""),
        ("answer /v1/models\nbytes '<html>'", ""),
        ("bytes '<html>'", ""),
        ("hang", "--ready-timeout 0.3 --timeout 0.3"),
        ("hang", "--ready-timeout 0.3 --timeout-first-token 0.3"),
        ("reset", ""),
    ] {
        let server = scripted(script);
        said += &format!("# {}\n", script.replace('\n', "; "));
        said += &refused(&place, &format!("http://{}", server.address()), options);
    }
    insta::with_settings!({filters => vec![(r"no answer came within 0\.\d+ s", "no answer came within SECONDS s")]}, {
        insta::assert_snapshot!(said);
    });
}

#[test]
fn servers_that_cannot_be_reached() {
    let place = Place::new();
    // It was free a moment ago, and nobody else takes it: the system gives such ports out in turn.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = scripted("");
    let mut said = refused(&place, &format!("http://{free}"), "--ready-timeout 0.2");
    said += &refused(&place, "http://no-such-host.invalid:80", "");
    said += &refused(&place, &format!("https://{}", plain.address()), "");
    // The words of the system for a name that is unknown are its own.
    insta::with_settings!({filters => vec![("(cannot find the host `[^`]*`: )[^\n]*", "$1…")]}, {
        insta::assert_snapshot!(said);
    });
}

#[test]
fn a_server_that_is_loading_is_waited_for() {
    let place = Place::new();
    let server = scripted(&format!("{GOOD}\nanswer #1\nstatus 503\nanswer #2\nstatus 503"));
    let ran = place.run(&format!("{} --max-concurrency 5", run(&format!("http://{}", server.address()))));
    assert_judged_by_times_only(&place, ran.code);
    assert_eq!(number(&place.json("out/short_input_metrics.json"), "successful_requests"), 5.0);
}

/// The journal has its closing line.
#[track_caller]
fn assert_closed(place: &Place) {
    let lines = place.lines("out/short_input.records.jsonl");
    assert_eq!(lines.last().unwrap()["line"], "close");
    assert_eq!(place.json("out/manifest.json")["finished"], true);
}

#[test]
fn a_server_that_is_killed_and_started_again_costs_what_it_costs() {
    let place = Place::new();
    let speed = "--simulate --ttft 20ms --itl 1ms";
    let server = Serving::start(&place, &format!("{speed} --port 0"));
    let port = server.port().to_owned();
    let options = "--num-prompts 100 --request-rate 100 --burstiness 1e9 --max-error-rate 0.001 -v";
    let mut ran = Running::start(place.program(format!("{} {options}", run(&server.url)).split_whitespace()));
    ran.wait_for(&["#0 ", "success"]);
    assert_eq!(server.end("-KILL"), None);
    // Those in flight break, those that come now are refused, and those after the restart are served.
    ran.wait_for(&["connection after 0 tokens", "refused"]);
    let _server = Serving::start(&place, &format!("{speed} --port {port}"));
    let (code, said) = ran.end();
    assert_eq!(code, Some(5), "{said}");

    let records = place.records("out", "short_input");
    assert_eq!(records.len(), 100);
    let of = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).collect::<Vec<_>>();
    let (served, broken) = (of("success"), of("connection"));
    assert_eq!(served.len() + broken.len(), 100, "nothing else happened");
    let last = |records: &[&Value]| records.last().unwrap()["id"].as_u64();
    assert!(last(&served) > last(&broken), "requests after the restart succeed");
    assert!(broken.iter().all(|record| record["reason"].is_string()));
    assert!(served.iter().all(|record| record["output_tokens"] == 128));
    assert_closed(&place);
    let summary = place.json("out/benchmark_summary.json");
    let reasons = summary["validity"]["reasons"].as_array().unwrap();
    let message = reasons.iter().find(|reason| reason["code"] == "error_rate").unwrap()["message"].as_str().unwrap();
    assert!(message.contains(&format!("{} connection", broken.len())), "{message}");
}

#[test]
fn a_request_that_is_refused_for_now_is_sent_again_where_that_is_wanted() {
    let place = Place::new();
    let server = scripted(&format!("{GOOD}\nanswer #{FIRST}\nstatus 429\nheader Retry-After: 1"));
    let ran = place.run(&format!("{} --num-prompts 2 --retries 1", run(&format!("http://{}", server.address()))));
    assert_judged_by_times_only(&place, ran.code);
    let figures = place.json("out/short_input_metrics.json");
    assert_eq!((number(&figures, "successful_requests"), number(&figures, "retries")), (2.0, 1.0));
    let records = place.records("out", "short_input");
    assert_eq!((&records[0]["http"]["retries"], &records[1]["http"]["retries"]), (&1.into(), &0.into()));
    let waited = number(&records[0], "first_token_ns") - number(&records[0], "sent_ns");
    assert!(waited >= 1e9, "its latency counts from the first time: {waited}");
}

#[test]
fn files_that_are_lacking_are_told_before_the_run() {
    let place = Place::new();
    let server = scripted(GOOD);
    let line = run(&format!("http://{}", server.address()));
    let many = "--num-prompts 1500 --max-concurrency 1500";
    let output = place.shell(&format!("ulimit -n 1150; exec sagellm-benchmark {line} {many}")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let message = "1500 connections need 1564 open files, but this process may open only 1150";
    assert!(said.contains(message) && said.contains("ulimit -Hn 1564"), "{said}");
}

#[test]
fn a_header_for_the_key_wins_over_the_environment_and_is_as_secret() {
    let place = Place::new();
    let server = scripted(&format!("{GOOD}\nanswer #{FIRST}\nstatus 401\nbytes 'no sk-header'"));
    let line = format!("{} --num-prompts 9 --max-error-rate 1", run(&format!("http://{}", server.address())));
    let mut command = place.program(line.split_whitespace().chain(["--header", "Authorization=Bearer sk-header"]));
    let output = command.env("OPENAI_API_KEY", "sk-environment").output().unwrap();
    assert_judged_by_times_only(&place, output.status.code().unwrap());
    assert_eq!(place.records("out", "short_input")[0]["reason"], "HTTP 401 Unauthorized: no …");
    for file in ["out/manifest.json", "out/short_input.records.jsonl", "out/benchmark_summary.json"] {
        assert!(!place.text(file).contains("sk-header"), "{file}");
    }
}
