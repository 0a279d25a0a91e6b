//! What a run leaves behind, and that options do what they say.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{Place, Ran, number};
use serde_json::Value;

const TINY: &str = "run --model synthetic:tiny";

/// Runs the stress workload, and gives its figures and the fingerprints of its answers.
#[track_caller]
fn stress(place: &Place, options: &str, folder: &str) -> (Value, Vec<String>) {
    place.succeed(&format!("{TINY} --workload stress --output {folder} {options}"));
    let digests = place.records(folder, "stress_test").iter().map(digest).collect();
    (place.json(&format!("{folder}/stress_test_metrics.json")), digests)
}

fn digest(record: &Value) -> String {
    assert_eq!(record["outcome"], "success", "{record}");
    record["output_digest"].as_str().unwrap().to_owned()
}

#[test]
fn one_seed_gives_one_plan_and_one_answer() {
    let place = Place::new();
    let sampled = "--workload short --temperature 1 --top-p 0.9";
    for (folder, options) in [("a", "--seed 7"), ("b", "--seed 7 --threads 1"), ("c", "--seed 8"), ("d", "")] {
        place.succeed(&format!("{TINY} {sampled} {options} --output {folder}"));
    }
    let plan = |folder: &str| place.text(&format!("{folder}/plan.jsonl"));
    let answers = |folder: &str| place.records(folder, "short_input").iter().map(digest).collect::<Vec<_>>();
    assert_eq!(plan("a"), plan("b"));
    assert_eq!(answers("a"), answers("b"));
    for other in ["c", "d"] {
        assert_ne!(plan("a"), plan(other));
        assert_ne!(answers("a"), answers(other));
    }
    let hash = |folder: &str| place.json(&format!("{folder}/manifest.json"))["hashes"]["plans"]["short_input"].clone();
    assert_eq!(hash("a"), hash("b"));
    assert_ne!(hash("a"), hash("c"));
}

#[test]
fn the_plan_is_what_was_sent() {
    let place = Place::new();
    place.succeed(&format!("{TINY} --num-prompts 2 --output out"));
    let plan = place.lines("out/plan.jsonl");
    let requests = |kind: &str| plan.iter().filter(|line| line["line"] == kind).count();
    assert_eq!((requests("header"), requests("workload"), requests("request")), (1, 3, 6));
    for (workload, tokens) in [("short_input", 128), ("long_input", 200), ("stress_test", 256)] {
        let records = place.records("out", workload);
        assert_eq!(records.len(), 2, "{workload}");
        for record in records {
            assert_eq!((&record["input_tokens"], &record["output_tokens"]), (&tokens.into(), &tokens.into()));
            assert_eq!(record["chunks"].as_array().unwrap().len(), tokens, "one stamp per token");
            let stamps: Vec<u64> =
                record["chunks"].as_array().unwrap().iter().map(|chunk| chunk[0].as_u64().unwrap()).collect();
            assert!(stamps.is_sorted(), "{workload}");
            let at = |key: &str| record[key].as_u64().unwrap();
            assert_eq!((at("first_token_ns"), at("last_token_ns")), (stamps[0], stamps[tokens - 1]));
            assert!(at("sent_ns") < stamps[0] && at("last_token_ns") <= at("end_ns"));
        }
    }
    let prompts: Vec<String> = plan
        .iter()
        .filter(|line| line["line"] == "warmup" || line["line"] == "request")
        .map(|line| line["prompt"]["text"].to_string())
        .collect();
    for (place, prompt) in prompts.iter().enumerate() {
        assert!(!prompts[..place].contains(prompt), "a prompt occurs twice: {prompt}");
    }
}

#[test]
fn traffic_takes_turns_and_a_batch_does_not() {
    let place = Place::new();
    for (options, at_once) in [
        ("--mode traffic", 1.0),
        ("--mode batch", 5.0),
        ("--mode batch --max-concurrency 2", 2.0),
        ("--max-concurrency 3", 3.0),
        ("--request-rate inf", 5.0),
    ] {
        place.succeed(&format!("{TINY} --workload short {options} --output out"));
        let figures = place.json("out/short_input_metrics.json");
        // Such a small model may answer one request before the next is sent: a cap is kept, but not always reached.
        let peak = number(&figures, "peak_concurrency");
        assert!(peak <= at_once && (at_once == 1.0 || peak > 1.0), "{options}: {peak}");
        assert_eq!(number(&figures, "successful_requests"), 5.0, "{options}");
        let records = place.records("out", "short_input");
        let start = place.lines("out/short_input.records.jsonl")[0]["start_ns"].clone();
        let all_due_at_once = records.iter().all(|record| record["scheduled_ns"] == start);
        assert_eq!(all_due_at_once, options.contains("batch") || options.contains("inf"), "{options}");
    }
}

/// Offers 100 requests per second. Such a small model answers in a millisecond: on a busy machine the client is soon too
/// late to be believed, and the program says so.
#[track_caller]
fn open_loop(place: &Place, options: &str, folder: &str) {
    let ran = place.run(&format!("{TINY} --workload short --request-rate 100 {options} --output {folder}"));
    let validity = &place.json(&format!("{folder}/benchmark_summary.json"))["validity"];
    let late = validity["verdict"] == "INVALID" && validity["reasons"][0]["code"] == "schedule_lag";
    assert_eq!(ran.code, if late { 5 } else { 0 }, "{}{validity}", ran.err);
}

#[test]
fn a_rate_is_kept() {
    let place = Place::new();
    open_loop(&place, "--num-prompts 40", "out");
    let plan = place.lines("out/plan.jsonl");
    let offsets: Vec<u64> =
        plan.iter().filter(|line| line["line"] == "request").map(|line| line["offset_ns"].as_u64().unwrap()).collect();
    assert_eq!(offsets.len(), 40);
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{offsets:?}");
    // 40 gaps of 10 ms on average; their sum has a standard deviation of 63 ms.
    let last = *offsets.last().unwrap() as f64 / 1e6;
    assert!((150.0..650.0).contains(&last), "the last request is due after {last} ms");
    let header = &place.lines("out/short_input.records.jsonl")[0];
    let start = header["start_ns"].as_u64().unwrap();
    assert_eq!(header["workload"]["arrival"]["poisson"]["rate"], 100.0);
    for (record, offset) in place.records("out", "short_input").iter().zip(offsets) {
        assert_eq!(record["scheduled_ns"].as_u64().unwrap(), start + offset);
        assert!(record["sent_ns"].as_u64().unwrap() >= start + offset, "nothing is sent before it is due");
    }
    let figures = place.json("out/short_input_metrics.json");
    assert!(number(&figures, "avg_ttft_from_schedule_ms") >= number(&figures, "avg_ttft_ms"));
    assert!(number(&figures, "max_schedule_lag_ms") >= 0.0);
}

#[test]
fn counts_are_those_asked_for() {
    let place = Place::new();
    place.succeed(&format!("{TINY} --workload long --num-prompts 7 --num-warmups 3 --output out"));
    let lines = place.lines("out/long_input.records.jsonl");
    let warmups = lines.iter().filter(|line| line["warmup"] == true).count();
    assert_eq!((warmups, place.records("out", "long_input").len()), (3, 7));
    assert_eq!(number(&place.json("out/long_input_metrics.json"), "total_requests"), 7.0, "a warm-up enters no figure");
    let cold = place.succeed(&format!("{TINY} --workload short --num-warmups 0 --output cold"));
    assert!(cold.out.contains("no warm-up"), "{}", cold.out);
}

#[test]
fn a_short_cache_evicts_and_changes_no_answer() {
    let place = Place::new();
    let (roomy, answers) = stress(&place, "", "roomy");
    let (short, same) = stress(&place, "--kv-cache-tokens 1024", "short");
    assert_eq!(same, answers);
    assert_eq!(answers.len(), 10);
    assert_eq!((number(&roomy, "evict_count"), number(&roomy, "preemptions")), (0.0, 0.0));
    assert!(number(&short, "evict_count") > 0.0 && number(&short, "preemptions") > 0.0);
    assert!(number(&short, "kv_used_tokens") <= 1024.0 && number(&roomy, "kv_used_tokens") > 1024.0);
    assert_eq!((number(&short, "kv_capacity_tokens"), number(&short, "successful_requests")), (1024.0, 10.0));
    assert_eq!(number(&short, "total_output_tokens"), 2560.0);
}

#[test]
fn no_setting_of_the_engine_changes_an_answer() {
    let place = Place::new();
    let (with, answers) = stress(&place, "", "with");
    let (without, same) = stress(&place, "--no-enable-prefix-caching", "without");
    assert_eq!(same, answers);
    assert!(number(&with, "prefix_hit_rate") > 0.0);
    assert_eq!(number(&without, "prefix_hit_rate"), 0.0);
    for options in ["--threads 1", "--max-num-batched-tokens 48", "--max-num-seqs 3", "--mode batch", "--dtype f32"] {
        assert_eq!(stress(&place, options, "other").1, answers, "{options}");
    }
    let (_, halved) = stress(&place, "--dtype bf16", "halved");
    assert_ne!(halved, answers, "other weights, other answers");
    let settings = &place.json("halved/manifest.json")["backend"];
    assert_eq!(settings["model"]["dtype"], "bf16");
    stress(&place, "--isa scalar --num-prompts 1", "scalar");
    assert_eq!(place.json("scalar/manifest.json")["backend"]["settings"]["isa"], "scalar");
}

#[test]
fn a_report_is_the_same_from_every_side() {
    let place = Place::new();
    for format in ["table", "json", "markdown"] {
        let run = place.succeed(&format!("{TINY} --workload short --format {format}"));
        let report = |input: &str| place.succeed(&format!("report --format {format}{input}"));
        let first = report("");
        assert_eq!(first.err, "");
        assert_eq!(run.out, first.out, "{format}: at the end of a run as later");
        assert_eq!(
            report(" --input benchmark_results").out,
            first.out,
            "{format}: from the journals as from the summary"
        );
        assert_eq!(report(" -i benchmark_results/benchmark_summary.json").out, first.out, "{format}");
    }
    let json = place.succeed("report --format json").out;
    assert_eq!(json, place.text("benchmark_results/benchmark_summary.json"));
}

#[test]
fn goodput_counts_what_kept_the_limits() {
    let place = Place::new();
    let workload = "name: mine\nsource: {random: {input_tokens: 16, output_tokens: 4}}\nnum_prompts: 5\n";
    fs::write(place.file("w.yaml"), format!("{workload}goodput: {{ttft_ms: 1e9, e2e_ms: 1e-6}}\n")).unwrap();
    place.succeed(&format!("{TINY} --workload w.yaml --output own"));
    let own = place.json("own/mine_metrics.json");
    assert_eq!(own["workload"]["goodput"], serde_json::json!({"ttft_ms": 1e9, "tbt_ms": null, "e2e_ms": 1e-6}));
    assert_eq!(number(&own, "slo_attainment_ttft"), 1.0);
    assert_eq!(number(&own, "slo_attainment_e2e"), 0.0);
    assert_eq!((number(&own, "slo_attainment"), number(&own, "goodput_rps")), (0.0, 0.0));
    // The command line goes before the file, and the report before both.
    place.succeed(&format!("{TINY} --workload w.yaml --goodput ttft:1e9 tpot:1e9 --output given"));
    let given = place.json("given/mine_metrics.json");
    assert_eq!(given["goodput_rps"], given["request_throughput_rps"]);
    let judged = place.succeed("report --input given --format json --goodput e2el:1e-6").out;
    let judged: Value = serde_json::from_str(&judged).unwrap();
    assert_eq!(number(&judged["workloads"]["mine"], "goodput_rps"), 0.0);
    let vllm = place.succeed("report --input given --format vllm").out;
    let vllm: Value = serde_json::from_str(&vllm).unwrap();
    assert_eq!(number(&vllm, "request_goodput"), number(&given, "goodput_rps"));
}

#[test]
fn results_go_to_standard_output_and_all_else_does_not() {
    let place = Place::new();
    let ran = place.succeed(&format!("{TINY} --format json -v"));
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(summary, place.json("benchmark_results/benchmark_summary.json"));
    assert!(ran.err.contains("Results are in ./benchmark_results"), "{}", ran.err);
    let quiet = place.succeed(&format!("{TINY} --quiet"));
    assert_eq!(quiet.err, "");
    assert!(quiet.out.starts_with("VALID"), "{}", quiet.out);
    assert!(!quiet.out.contains('\u{1b}'), "colours are for terminals");
}

#[test]
fn every_token_is_printed_with_its_own_stamp() {
    let place = Place::new();
    let ran = place.succeed(&format!("{TINY} --workload short --num-prompts 2 --verbose --output out"));
    let stamp = |line: &str| line.strip_prefix('[')?.split(']').next()?.trim().parse::<f64>().ok();
    let stamps: Vec<f64> = ran.err.lines().filter_map(stamp).collect();
    assert!(stamps.is_sorted(), "requests one after the other, tokens in order");
    let tokens: Vec<&str> = ran.err.lines().filter(|line| line.contains(" 1 token ")).collect();
    let warmup = tokens.iter().filter(|line| line.contains("warm-up")).count();
    assert_eq!(tokens.len() - warmup, 2 * 128);
    assert!(warmup > 0);
    // The stamp is that of the journal, not the time of printing.
    let record = &place.records("out", "short_input")[1];
    let printed = tokens.iter().filter(|line| line.contains("short_input #1 ")).filter_map(|line| stamp(line));
    for (printed, chunk) in printed.zip(record["chunks"].as_array().unwrap()) {
        assert!((printed - chunk[0].as_f64().unwrap() / 1e9).abs() < 1e-6, "{printed} is not {chunk}");
    }
    assert!(ran.err.contains("  kv_block_tokens = 16\n"), "settings are printed too");
}

#[test]
fn a_journal_that_ends_in_the_middle_of_a_line_is_that_of_a_crash() {
    let place = Place::new();
    place.succeed(&format!("{TINY} --workload short --output out"));
    let path = place.file("out/short_input.records.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // A header, a warm-up, three requests, and half of the next.
    let kept = format!("{}\n{}", lines[..5].join("\n"), &lines[5][..lines[5].len() / 2]);
    fs::write(&path, kept).unwrap();
    for file in ["benchmark_summary.json", "short_input_metrics.json"] {
        fs::remove_file(place.file(&format!("out/{file}"))).unwrap();
    }
    let report = place.succeed("report --input out --format json").out;
    let summary: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(summary["validity"]["verdict"], "INVALID");
    assert_eq!(summary["validity"]["reasons"][0]["code"], "unfinished");
    assert_eq!(number(&summary["workloads"]["short_input"], "successful_requests"), 3.0);
}

#[test]
fn files_are_as_their_schemas_say() {
    let place = Place::new();
    place.succeed(&format!("{TINY} --output valid --output-json flat.json"));
    // Failed requests have reasons instead of figures.
    assert_eq!(place.run(&format!("{TINY} --workload short --timeout 1e-9 --output invalid")).code, 5);
    open_loop(&place, "", "open");
    let schema = |name: &str| -> Value {
        serde_json::from_str(&place.succeed(&format!("schema {name}.schema.json")).out).unwrap()
    };
    let (summary, metrics, manifest) = (schema("benchmark_summary"), schema("workload_metrics"), schema("manifest"));
    let (records, plan) = (schema("records"), schema("plan"));
    let mut checked = 0;
    let mut check = |schema: &Value, value: &Value, what: &str| {
        assert_eq!(common::schema::problems(schema, value), Vec::<String>::new(), "{what}");
        checked += 1;
    };
    for name in place.listing() {
        match name.rsplit('/').next().unwrap() {
            "benchmark_summary.json" => check(&summary, &place.json(&name), &name),
            "manifest.json" => check(&manifest, &place.json(&name), &name),
            file if file.ends_with("_metrics.json") => check(&metrics, &place.json(&name), &name),
            "plan.jsonl" => place.lines(&name).iter().for_each(|line| check(&plan, line, &name)),
            file if file.ends_with(".records.jsonl") => {
                place.lines(&name).iter().for_each(|line| check(&records, line, &name));
            }
            "flat.json" => {
                place.json(&name).as_object().unwrap().values().for_each(|value| check(&metrics, value, &name))
            }
            "valid" | "invalid" | "open" => {}
            other => panic!("nothing says what `{other}` is"),
        }
    }
    assert!(checked > 80, "{checked} values were checked");
    // The check itself: what does not fit is found.
    let mut wrong = place.json("valid/short_input_metrics.json");
    wrong["avg_ttft_ms"] = "fast".into();
    wrong["surprise"] = 1.into();
    wrong.as_object_mut().unwrap().shift_remove("workload");
    assert_eq!(common::schema::problems(&metrics, &wrong).len(), 3);
}

#[test]
fn the_manifest_says_what_was_run() {
    let place = Place::new();
    place.model("gpt2-width2", "my model");
    let arguments = ["run", "--workload", "short", "--model", "my model", "--num-prompts", "1", "-o", "out"];
    Ran::from(place.program(arguments).output().unwrap()).succeeded();
    let manifest = place.json("out/manifest.json");
    let words: Vec<&str> =
        manifest["command_line"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words[0], "sagellm-benchmark");
    assert_eq!(words[1..], arguments);
    assert_eq!(manifest["config"]["num_prompts"], "1");
    assert_eq!(manifest["backend"]["model"]["name"], "my model");
    assert_eq!(manifest["backend"]["model"]["architecture"], "gpt2");
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    for key in ["tokenizer", "model"] {
        let hash = manifest["hashes"][key].as_str().unwrap();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}: {hash}");
    }
}

#[test]
fn a_run_is_compared_with_the_baseline_of_the_history() {
    let place = Place::new();
    for folder in ["a", "b"] {
        place.succeed(&format!("{TINY} --workload short --num-prompts 20 --seed 1 --output {folder}"));
    }
    let missing = place.refused("compare b --baseline main");
    assert!(missing.contains("there is no history"), "{missing}");
    place.succeed("history add a --name main --commit 0123abc");
    assert!(place.succeed("history list").out.contains("0123abc"));
    let again = place.refused("history add a --name main");
    assert!(again.contains("is in the history as `main` already"), "{again}");
    let shown = place.succeed("history show 1").out;
    assert_eq!(shown, place.succeed("report --input a").out);
    assert!(place.succeed("history trend avg_tbt_ms").out.contains("too few to tell"));
    assert!(place.succeed("history export").out.lines().any(|line| line.contains("short_input,avg_tbt_ms,")));
    // From the summary in the history as from the records: the same figures.
    let compared = |line: &str| -> Value { serde_json::from_str(&place.succeed(line).out).unwrap() };
    let by_baseline = compared("compare b --baseline main --format json");
    let by_records = compared("compare a b --format json");
    let figure = |comparison: &Value| comparison["sides"][0]["figures"][0]["change"].as_f64().unwrap();
    assert!((figure(&by_baseline) - figure(&by_records)).abs() < 1e-9);
    assert!(by_baseline["sides"][0]["figures"][0]["interval"].is_array());
    // Another machine, as far as the history knows.
    let manifest = place.text("b/manifest.json");
    let host = place.json("b/manifest.json")["host"]["fingerprint"].as_str().unwrap().to_owned();
    fs::write(place.file("b/manifest.json"), manifest.replace(&host, "another")).unwrap();
    let refused = place.refused("compare b --baseline main");
    assert!(refused.contains("the same machine"), "{refused}");
    place.succeed("compare b --baseline main --allow-different-hosts");
    assert!(place.refused("compare b").contains("one result alone cannot be compared"));
}
