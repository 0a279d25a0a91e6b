//! `compare`: what it refuses, and how its gates end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::server::Serving;
use common::{Place, Ran};
use serde_json::Value;

/// Two equal runs of 20 requests, `a` and `b`.
fn two_runs() -> Place {
    let place = Place::new();
    for folder in ["a", "b"] {
        place.succeed(&format!(
            "run --model synthetic:tiny --workload short --num-prompts 20 --seed 1 --quiet --output {folder}"
        ));
    }
    place
}

/// Has another machine measure a run, as far as its manifest knows.
fn elsewhere(place: &Place, folder: &str) {
    let host = place.json(&format!("{folder}/manifest.json"))["host"]["fingerprint"].as_str().unwrap().to_owned();
    let manifest = place.text(&format!("{folder}/manifest.json"));
    fs::write(place.file(&format!("{folder}/manifest.json")), manifest.replace(&host, "another")).unwrap();
}

#[track_caller]
fn ends(ran: &Ran, code: i32, words: &str) {
    assert!(ran.code == code && ran.out.contains(words), "{} {}{}", ran.code, ran.out, ran.err);
}

#[test]
fn a_gate_fails_passes_is_undecided_or_has_nothing_to_judge() {
    let place = two_runs();
    ends(&place.run("compare a b --fail-on avg_tbt_ms>10000%"), 0, "short_input");
    ends(&place.run("compare a b --fail-on avg_tbt_ms>-99%"), 6, "GATE FAILED  avg_tbt_ms>-99%");
    ends(&place.run("compare a b --fail-on p99_tbt_ms>0"), 6, "GATE FAILED  p99_tbt_ms>0");
    // 20 requests say nothing of their 99th percentile.
    let tail = "compare a b --fail-on p99_ttft_ms>1%";
    ends(&place.run(tail), 0, "GATE UNDECIDED  p99_ttft_ms>1%");
    ends(&place.run(&format!("{tail} --require-conclusive")), 7, "needs 368 independent requests");
    let json: Value = serde_json::from_str(&place.run(&format!("{tail} --format json")).out).unwrap();
    assert_eq!(json["sides"][0]["undecided_gates"].as_array().unwrap().len(), 1);
    let refused = place.refused("compare a b --fail-on goodput_rps<-5%");
    assert!(refused.contains("no limits were set with `--goodput`") && refused.ends_with("[exit 3]\n\n"), "{refused}");
}

#[test]
fn different_machines_are_noted_and_not_gated() {
    let place = two_runs();
    elsewhere(&place, "b");
    ends(&place.run("compare a b"), 0, "a and b were measured on different machines");
    let gate = "compare a b --fail-on avg_tbt_ms>10000%";
    assert!(place.refused(gate).contains("--allow-different-hosts"));
    place.succeed(&format!("{gate} --allow-different-hosts"));
}

#[test]
fn a_run_is_no_baseline_of_itself() {
    let place = two_runs();
    place.succeed("history add b --name main");
    let refused = place.refused("compare b --baseline main");
    assert!(refused.contains("none of the 0 other valid runs") && refused.contains("run 1 of `main` is `b` itself"));
    place.succeed("history add a --name main");
    let ran = place.succeed("compare b --baseline main --format json");
    assert!(ran.err.contains("run 1 of `main` is `b` itself"), "{}", ran.err);
    let changes: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(changes["sides"][0]["figures"].as_array().unwrap().iter().any(|it| it["change"] != 0.0), "it is `a`");
}

#[test]
fn requests_that_meant_different_things_are_not_compared_unasked() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 1ms --itl 0ms");
    let common = format!("--base-url {} --tokenizer synthetic:tiny --no-calibrate --quiet", server.url);
    let plan = "--dataset-name random --random-input-len 16 --random-output-len 8 --num-prompts 20";
    place.run(&format!("run --backend vllm --ignore-eos {common} {plan} --output a"));
    for (folder, options) in [("same", "--backend vllm"), ("b", "--backend openai --endpoint-type chat")] {
        place.run(&format!("run {options} {common} --plan a/plan.jsonl --output {folder}"));
    }
    place.succeed("compare a same --allow-invalid");
    let refused = place.refused("compare a b --allow-invalid");
    for words in ["endpoint: completions against chat", "ignore_eos", "--allow-different-semantics"] {
        assert!(refused.contains(words), "{refused}");
    }
    let ran = place.succeed("compare a b --allow-invalid --allow-different-semantics");
    assert!(ran.out.contains("requests of a and b meant different things: endpoint:"), "{}", ran.out);
}
