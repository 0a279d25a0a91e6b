//! `--launch`: the server is started, measured and stopped, and however that goes, nothing of it is left.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;
use std::thread;
use std::time::Duration;

use common::server::runs;
use common::{PROGRAM, Place, Ran, Running, number};
use sagellm_core::Clock;

/// A shell that starts a server and tells both processes in its log: a server with a child, as most have.
fn server(options: &str, then: &str) -> String {
    format!("sh -c 'echo shell $$; {PROGRAM} serve --simulate --port {{port}} {options} & echo server $!; {then}'")
}

/// A run of a server that is launched with this command. It tells which tokenizer is its own.
fn program(place: &Place, command: &str, options: &str) -> Command {
    let before = format!("run --backend openai --workload short --no-calibrate --output out {options} --launch");
    let words = before.split_whitespace().chain([command]);
    place.program(words.map(str::to_owned).collect::<Vec<_>>().iter().map(String::as_str))
}

/// The number that the log of the server gives for a process.
fn process(place: &Place, name: &str) -> u32 {
    let log = place.text("out/server.log");
    let number = log.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    number.unwrap_or_else(|| panic!("the log does not tell the {name}: {log}"))
}

/// Nothing of the server runs any more; the system needs a moment to bury it.
#[track_caller]
fn assert_gone(place: &Place) {
    let clock = Clock::start();
    for name in ["shell", "server"] {
        let process = process(place, name);
        while runs(process) {
            assert!(clock.now() < 5_000_000_000, "the {name} still runs");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_launched_server_is_measured_and_stopped() {
    let place = Place::new();
    let command = server("--ttft 50ms --itl 1ms", "wait");
    let ran =
        Ran::from(program(&place, &command, "--num-prompts 3 --model synthetic:tiny").output().unwrap()).succeeded();
    assert!(ran.out.starts_with("VALID"), "{}", ran.out);
    let figures = place.json("out/short_input_metrics.json");
    assert!(number(&figures, "peak_mem_mb") > 0.0, "its memory is measured");
    assert!(place.text("out/server.log").contains("listening on http://127.0.0.1:"), "its output is kept");
    // It does not list the model that it was launched with.
    assert_eq!(place.json("out/manifest.json")["backend"]["model"]["name"], "simulated");
    assert_gone(&place);
}

#[test]
fn an_interruption_stops_the_server_too() {
    let serving = server("--ttft 5ms --itl 0ms", "wait");
    let loading = "sh -c 'echo shell $$; sleep 300 & echo server $!; echo loading {port}; wait'";
    let cases = [
        (serving.as_str(), "short_input #0 ", "-INT"),
        (serving.as_str(), "short_input #0 ", "-HUP"),
        (loading, "waiting for ", "-TERM"),
    ];
    for (command, said, signal) in cases {
        let place = Place::new();
        let mut ran = Running::start(program(&place, command, "--num-prompts 500 -v"));
        ran.wait_for(&[said]);
        let log = place.file("out/server.log");
        while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("server ")) {
            thread::sleep(Duration::from_millis(5));
        }
        ran.signal(signal);
        let (code, told) = ran.end();
        assert_eq!(code, Some(130), "{told}");
        assert_gone(&place);
    }
}

#[test]
fn a_server_that_dies_before_the_run_shows_the_end_of_its_log() {
    let place = Place::new();
    let command = "sh -c 'echo shell $$; sleep 300 & echo server $!; echo out of memory on {port}; exit 3'";
    let ran = Ran::from(program(&place, command, "").output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{}", ran.err);
    assert!(
        ran.err.contains("error: the server ended with status 3; the end of its log `out/server.log`:\n"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("\n  out of memory on "), "{}", ran.err);
    assert_gone(&place);
}

#[test]
fn a_server_that_dies_in_the_run_shows_the_end_of_its_log() {
    let place = Place::new();
    let command = server("--ttft 5ms --itl 1ms", "wait $!; echo out of memory; exit 3");
    let mut ran = Running::start(program(&place, &command, "--num-prompts 50 -v"));
    ran.wait_for(&["short_input #1 ", "success"]);
    common::signal(process(&place, "server"), "-KILL");
    let (code, said) = ran.end();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("error: the server ended with status 3; the end of its log `out/server.log`:\n"), "{said}");
    assert!(said.contains("\n  out of memory\n"), "{said}");
    // What was measured until then is kept.
    let records = place.records("out", "short_input");
    assert_eq!(records.len(), 50);
    assert!(records.iter().filter(|record| record["outcome"] == "success").count() >= 2);
    let summary = place.json("out/benchmark_summary.json");
    assert_eq!(summary["validity"]["verdict"], "INVALID");
    assert_gone(&place);
}
