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
    ends(&place.run(&format!("{tail} --require-conclusive")), 7, "an interval of this percentile needs 1000");
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

/// A server with a prefix cache that is left running between two runs of the same seed.
#[test]
fn a_warm_cache_is_not_called_faster_and_a_nonce_keeps_it_cold() {
    let place = Place::new();
    let server = Serving::start(&place, "--model synthetic:tiny --port 0");
    let run = |options: &str| {
        place.run(&format!(
            "run --backend sagellm --base-url {} --no-calibrate --quiet --dataset-name text --input-len 128 --output-len 8 \
             --num-prompts 12 --max-concurrency 1 --seed 78 {options}",
            server.url
        ))
    };
    run("-o cold");
    run("-o warm");
    let ran = place.run("compare cold warm --allow-invalid --fail-on avg_ttft_ms>5%");
    // The text of random weights counts otherwise when it is encoded again, for which the runs are INVALID as well.
    ends(&ran, 0, ": not judged (0 better, 0 worse, ");
    for words in ["WARNING  warm, text: the prefix cache was warm already", "GATE UNDECIDED  avg_ttft_ms>5%"] {
        assert!(ran.out.contains(words), "{}", ran.out);
    }
    run("-o one --cache-bust");
    run("-o other --cache-bust");
    let ran = place.run("compare one other --allow-invalid --allow-disturbed --format json");
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_ne!(json["sides"][0]["verdict"], "not_judged", "{json}");
    assert!(!ran.out.contains("warm_cache"), "{json}");
    let rate = |folder: &str| place.json(&format!("{folder}/text_metrics.json"))["prefix_hit_rate"].as_f64().unwrap();
    assert!(rate("cold") < 0.1 && rate("warm") > 0.5, "{} {}", rate("cold"), rate("warm"));
    assert!(rate("one") < 0.1 && rate("other") < 0.1, "{} {}", rate("one"), rate("other"));
    // The requests are those of the same plan, each as long as planned.
    assert_eq!(place.text("one/plan.jsonl"), place.text("other/plan.jsonl"));
}

#[test]
fn a_cache_that_cannot_be_reset_is_named_before_anything_is_measured() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 1ms --itl 0ms");
    let refused = place.refused(&format!(
        "run --backend openai --base-url {} --tokenizer synthetic:tiny --no-calibrate --quiet --workload short --reset-cache",
        server.url
    ));
    assert!(refused.contains("cannot be reset: `/reset_prefix_cache`: status 404"), "{refused}");
    assert!(place.refused("run --workload short --reset-cache").contains("`--reset-cache`"));
}

#[test]
fn one_run_is_gated_by_run_report_and_workload_file() {
    let place = Place::new();
    let run = "run --model synthetic:tiny --workload short --num-prompts 5 --quiet";
    let ran = place.run(&format!("{run} -o a --fail-on p50_e2e_ms>0ms --fail-on error_rate>0.5"));
    ends(&ran, 6, "GATE FAILED  p50_e2e_ms>0ms: p50_e2e_ms of short_input is ");
    ends(&ran, 6, "2 gates: 1 passed, 1 failed, 0 undecided");
    ends(&place.run("report -i a --fail-on p50_e2e_ms>0"), 6, "GATE FAILED  p50_e2e_ms>0");
    ends(&place.run("report -i a --fail-on p50_e2e_ms>1e9"), 0, "GATE PASSED  p50_e2e_ms>1e9");
    ends(&place.run("report -i a"), 0, "short_input");
    let refused = place.refused("report -i a --fail-on avg_ttft_ms>5%");
    assert!(refused.contains("`avg_ttft_ms>5%` limits a change, and a single run has none"), "{refused}");
    let file = "name: own\nsource: {text: {input_tokens: 16, output_tokens: 4}}\nnum_prompts: 5\nfail_on: [\"p50_e2e_ms>0ms\"]\n";
    fs::write(place.file("own.yaml"), file).unwrap();
    let ran = place.run("run --model synthetic:tiny --workload own.yaml --quiet -o b");
    ends(&ran, 6, "GATE FAILED  p50_e2e_ms>0ms: p50_e2e_ms of own is ");
    fs::write(place.file("own.yaml"), file.replace("p50_e2e", "p50_e3e")).unwrap();
    let refused = place.refused("run --model synthetic:tiny --workload own.yaml -o c");
    assert!(refused.contains("`fail_on` of the workload `own`: `p50_e3e_ms` is not a metric"), "{refused}");
    let ran = place.run("compare a a --format junit --fail-on p50_e2e_ms>0ms");
    ends(&ran, 6, "<failure type=\"gate\" message=\"p50_e2e_ms&gt;0ms: p50_e2e_ms of short_input is ");
}
