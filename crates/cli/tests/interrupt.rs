//! Ctrl-C: what was measured is kept and marked, and nobody has to wait.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::thread;
use std::time::Duration;

use common::{Place, Running, number};
use serde_json::Value;

/// More requests one after the other than any machine gets through before it is interrupted.
const MANY: &str = "run --model synthetic:tiny --workload short --num-prompts 5000 -v --output out";

/// Requests that run together, and so many of them that none gets far.
const TOGETHER: &str = "run --model synthetic:smollm2-135m --workload stress --mode batch --num-prompts 24 --num-warmups 0 \
     --max-num-batched-tokens 128 -v --output out";

fn start(place: &Place, line: &str) -> Running {
    Running::start(place.program(line.split_whitespace()))
}

fn outcomes<'a>(records: &'a [Value], outcome: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["outcome"] == outcome).collect()
}

#[test]
fn finished_requests_are_kept_and_the_rest_is_marked() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let place = Place::new();
        let mut run = start(&place, MANY);
        run.wait_for(&["short_input #3 ", "success"]);
        run.signal(signal);
        let (code, said) = run.end();
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("interrupted: waiting up to 1 s for requests in flight"), "{said}");
        assert!(said.ends_with("Results are in out\n"), "{said}");

        let records = place.records("out", "short_input");
        let succeeded = outcomes(&records, "success");
        let unsent = outcomes(&records, "not_sent");
        assert!(succeeded.len() >= 4, "{} requests are kept", succeeded.len());
        assert!(succeeded.iter().all(|record| record["output_tokens"] == 128));
        assert!(unsent.iter().all(|record| record["sent_ns"].is_null() && record["reason"].is_string()));
        assert_eq!(succeeded.len() + unsent.len(), 5000, "what ran had the time to finish");

        let lines = place.lines("out/short_input.records.jsonl");
        assert_eq!(lines.last().unwrap()["line"], "close");
        assert_eq!(lines.last().unwrap()["interrupted"], true);
        let manifest = place.json("out/manifest.json");
        assert_eq!((&manifest["finished"], &manifest["interrupted"]), (&Value::Bool(true), &Value::Bool(true)));
        let summary = place.json("out/benchmark_summary.json");
        assert_eq!(summary["validity"]["verdict"], "INVALID");
        assert_eq!(summary["validity"]["reasons"][0]["code"], "interrupted");
        let figures = &summary["workloads"]["short_input"];
        assert_eq!(number(figures, "successful_requests"), succeeded.len() as f64);
        assert_eq!(number(figures, "failed_requests"), 0.0, "an interruption is nobody's failure");
        assert!(number(figures, "avg_ttft_ms") > 0.0);
        assert!(said.contains(&format!("short_input: {} of 5000 requests, interrupted", succeeded.len())), "{said}");
        assert!(place.succeed("report --input out").out.starts_with("INVALID"));
    }
}

#[test]
fn what_runs_without_a_terminal_survives_its_end() {
    let place = Place::new();
    let mut run = Running::start(place.shell(
        "trap '' HUP; exec sagellm-benchmark run --model synthetic:tiny --workload short \
        --num-prompts 20 -v --output out",
    ));
    run.wait_for(&["short_input #3 ", "success"]);
    run.signal("-HUP");
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(outcomes(&place.records("out", "short_input"), "success").len(), 20);
}

#[test]
fn requests_that_do_not_finish_in_time_are_cut_off() {
    let place = Place::new();
    let mut run = start(&place, TOGETHER);
    run.wait_for(&["stress_test #0 1 token"]);
    run.signal("-INT");
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    let records = place.records("out", "stress_test");
    let cut = outcomes(&records, "censored");
    assert_eq!((cut.len(), records.len()), (24, 24));
    assert!(cut.iter().all(|record| record["reason"] == "still running when the run was interrupted"));
    assert!(number(cut[0], "output_tokens") >= 1.0, "what came until then is kept");
    let figures = place.json("out/stress_test_metrics.json");
    assert_eq!(figures["outcomes"]["censored"], 24);
    assert_eq!(figures["avg_e2e_ms"], Value::Null);
}

#[test]
fn a_second_signal_keeps_the_records_and_skips_the_summary() {
    let place = Place::new();
    let mut run = start(&place, TOGETHER);
    run.wait_for(&["stress_test #0 1 token"]);
    run.signal("-INT");
    run.wait_for(&["interrupted: waiting up to 1 s"]);
    run.signal("-INT");
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(
        said.contains("interrupted again: ") && said.ends_with("error: interrupted: no summary was written\n"),
        "{said}"
    );
    let records = place.records("out", "stress_test");
    assert_eq!(outcomes(&records, "censored").len(), 24, "what was in flight is recorded");
    assert!(!place.file("out/benchmark_summary.json").exists(), "it did not wait to save");
    assert_eq!(place.json("out/manifest.json")["interrupted"], true);
    let report = place.succeed("report --input out").out;
    assert!(report.starts_with("INVALID") && report.contains("the run was interrupted"), "{report}");
    assert_clean(&place);
}

/// No scratch and no lock is left in the folder of the run.
#[track_caller]
fn assert_clean(place: &Place) {
    let names = place.listing();
    assert!(!names.iter().any(|name| name.contains(".sagellm")), "{names:?}");
}

#[test]
fn signals_that_end_a_program_at_once_leave_no_scratch_and_say_so() {
    // A plan that takes long to write.
    let line = "run --model synthetic:tiny --dataset-name random --random-input-len 200 --random-output-len 8 \
                --num-prompts 2000000 --output out";
    for (signal, number, word) in
        [("-QUIT", 3, "ended by SIGQUIT\n"), ("-XCPU", 24, "ended by SIGXCPU: "), ("-INT", 0, "interrupted\n")]
    {
        let place = Place::new();
        let run = start(&place, line);
        while !place.file("out/.sagellm-benchmark-scratch").exists() {
            thread::sleep(Duration::from_millis(1));
        }
        run.signal("-PIPE");
        run.signal(signal);
        let (status, said) = run.end_by();
        assert!(said.contains(word), "{signal}: {said}");
        assert_eq!(status, if number == 0 { Err(130) } else { Ok(number) }, "{signal}: {said}");
        assert!(place.listing().is_empty(), "{signal}: {:?}", place.listing());
    }
}

#[test]
fn a_signal_in_a_later_run_ends_it_at_once_and_shows_those_that_are_done() {
    let place = Place::new();
    let mut run =
        start(&place, "run --model synthetic:tiny --workload short --num-prompts 2 --repeat 3 --output out --verbose");
    run.wait_for(&["Run 3 of 3"]);
    run.signal("-INT");
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(place.file("out/run-2/benchmark_summary.json").exists(), "{said}");
    assert_clean(&place);
}

#[test]
fn later_workloads_are_not_begun() {
    let place = Place::new();
    let mut run = start(&place, "run --model synthetic:tiny --workload m1 --num-prompts 2000 -v --output out");
    run.wait_for(&["short_input #0 ", "success"]);
    run.signal("-INT");
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    let summary = place.json("out/benchmark_summary.json");
    let names: Vec<&String> = summary["workloads"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["short_input"]);
    let reasons = summary["validity"]["reasons"].to_string();
    assert!(reasons.contains("before these workloads began: long_input, stress_test"), "{reasons}");
}

#[test]
fn a_signal_while_the_model_is_loaded_leaves_nothing() {
    const MODEL: &str = "synthetic:qwen2.5-0.5b";
    for line in
        [format!("run --model {MODEL} --workload stress --output out"), format!("serve --model {MODEL} --port 0")]
    {
        let place = Place::new();
        let run = start(&place, &line);
        // Loading begins right after the program has begun to listen; it takes more than a second.
        while !listens(run.id()) {
            thread::sleep(Duration::from_millis(1));
        }
        run.signal("-INT");
        let (code, said) = run.end();
        assert_eq!((code, said.as_str()), (Some(130), "interrupted\n"), "{line}");
        assert!(place.listing().is_empty());
    }
}

/// Whether a process has a handler for SIGINT, the second signal.
fn listens(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
}
