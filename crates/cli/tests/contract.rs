//! Every command line that users already rely on, word for word.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Place, Ran, number};
use serde_json::Value;

const WORKLOADS: [&str; 3] = ["short_input", "long_input", "stress_test"];

/// The keys that users already rely on.
const KEYS: [&str; 26] = [
    "avg_ttft_ms",
    "p50_ttft_ms",
    "p95_ttft_ms",
    "p99_ttft_ms",
    "avg_tbt_ms",
    "avg_tpot_ms",
    "avg_throughput_tps",
    "request_throughput_rps",
    "input_throughput_tps",
    "output_throughput_tps",
    "total_throughput_tps",
    "total_time_s",
    "total_requests",
    "successful_requests",
    "failed_requests",
    "error_rate",
    "total_input_tokens",
    "total_output_tokens",
    "peak_mem_mb",
    "avg_mem_mb",
    "kv_used_tokens",
    "kv_used_bytes",
    "prefix_hit_rate",
    "evict_count",
    "evict_ms",
    "spec_accept_rate",
];

/// Runs a line as a shell does.
#[track_caller]
fn shell(place: &Place, line: &str) -> Ran {
    Ran::from(place.shell(line).output().unwrap()).succeeded()
}

#[track_caller]
fn assert_keys(figures: &Value) {
    for key in KEYS {
        assert!(figures[key].is_number(), "`{key}` is {:?}", figures.get(key));
    }
}

#[track_caller]
fn assert_close(value: f64, expected: f64) {
    assert!((value - expected).abs() <= 1e-9 * expected.abs(), "{value} is not {expected}");
}

/// The figures of a workload that follow from its definition.
#[track_caller]
fn assert_shape(figures: &Value, requests: f64, tokens: f64) {
    assert_keys(figures);
    let figure = |key| number(figures, key);
    assert_eq!((figure("total_requests"), figure("successful_requests")), (requests, requests));
    assert_eq!((figure("failed_requests"), figure("error_rate")), (0.0, 0.0));
    assert_eq!(figure("total_input_tokens"), requests * tokens);
    assert_eq!(figure("total_output_tokens"), requests * tokens);
    assert_eq!(figure("spec_accept_rate"), 0.0);
    assert!(figure("peak_mem_mb") >= figure("avg_mem_mb") && figure("avg_mem_mb") > 0.0);
    assert!(figure("p50_ttft_ms") <= figure("p95_ttft_ms") && figure("p95_ttft_ms") <= figure("p99_ttft_ms"));
    let seconds = figure("total_time_s");
    assert_close(figure("request_throughput_rps"), requests / seconds);
    assert_close(figure("input_throughput_tps"), requests * tokens / seconds);
    assert_close(figure("output_throughput_tps"), requests * tokens / seconds);
    assert_close(figure("total_throughput_tps"), 2.0 * requests * tokens / seconds);
    // The time per output token includes the first; the time between tokens begins after it: n·TPOT = TTFT + (n−1)·TBT.
    assert_ne!(figure("avg_tpot_ms"), figure("avg_tbt_ms"));
    assert_close(tokens * figure("avg_tpot_ms"), figure("avg_ttft_ms") + (tokens - 1.0) * figure("avg_tbt_ms"));
}

#[test]
fn the_first_line_measures_gpt2_in_full() {
    let place = Place::new();
    let run = shell(&place, "sagellm-benchmark run --workload m1 --backend cpu");
    assert!(run.out.starts_with("VALID"), "{}", run.out);
    let summary = place.json("benchmark_results/benchmark_summary.json");
    let names: Vec<&String> = summary["workloads"].as_object().unwrap().keys().collect();
    assert_eq!(names, WORKLOADS);
    for (name, (requests, tokens)) in WORKLOADS.into_iter().zip([(5.0, 128.0), (3.0, 200.0), (10.0, 256.0)]) {
        let figures = &summary["workloads"][name];
        assert_shape(figures, requests, tokens);
        assert_eq!(figures, &place.json(&format!("benchmark_results/{name}_metrics.json")));
        // A prompt is computed in a few large steps, an answer token by token.
        assert!(number(figures, "avg_ttft_ms") < tokens * number(figures, "avg_tbt_ms"), "{name}");
        assert_eq!(number(figures, "evict_count"), 0.0);
    }

    // What a sequence of n tokens leaves in the cache: n − 1, for the last one is never computed; in blocks of 16
    // positions, each of 12 layers × (key + value) × 768 × 4 bytes.
    let position = f64::from(12 * 2 * 768 * 4);
    let [short, long, stress] = WORKLOADS.map(|name| &summary["workloads"][name]);
    assert_eq!(number(short, "kv_used_tokens"), 255.0);
    assert_eq!(number(short, "kv_used_bytes"), 256.0 * position);
    assert_eq!(number(short, "prefix_hit_rate"), 0.0, "prompts share nothing");
    assert_eq!(number(long, "kv_used_tokens"), 399.0);
    assert_eq!(number(long, "kv_used_bytes"), 400.0 * position);
    // Ten prompts share their first 64 tokens: all but the first one find them.
    assert_close(number(stress, "prefix_hit_rate"), 9.0 * 64.0 / 2560.0);
    assert!(number(stress, "kv_used_tokens") > 9.0 * 399.0);
    assert_eq!(number(stress, "peak_concurrency"), 10.0);
    assert_eq!(number(short, "peak_concurrency"), 1.0);

    let overall = &summary["overall"];
    assert_eq!((number(overall, "total_workloads"), number(overall, "total_requests")), (3.0, 18.0));
    assert_eq!((number(overall, "successful_requests"), number(overall, "failed_requests")), (18.0, 0.0));
    assert_eq!(summary["validity"]["verdict"], "VALID");
    assert_eq!(summary["environment"]["backend"]["model"]["name"], "synthetic:gpt2");
    assert_eq!(summary["environment"]["backend"]["model"]["parameters"], 124_439_808);

    let table = shell(&place, "sagellm-benchmark report");
    assert_eq!(table.out, run.out, "a report is the closing report of the run");
    shell(&place, "sagellm-benchmark report --format markdown > REPORT.md");
    let markdown = place.text("REPORT.md");
    assert!(WORKLOADS.iter().all(|name| markdown.contains(name)), "{markdown}");
    // `sagellm-benchmark report --format json | jq '.overall'`
    let json: Value = serde_json::from_str(&shell(&place, "sagellm-benchmark report --format json").out).unwrap();
    assert_eq!(json["overall"], summary["overall"]);
}

/// Lines without `--model` would measure GPT-2 in full, as the test above does: minutes each. They end with a small
/// model here, and are otherwise as they are.
const TINY: &str = " --model synthetic:tiny";

#[test]
fn lines_with_the_default_model() {
    for (line, workloads, files) in [
        ("sagellm-benchmark run --workload m1 --backend cpu --mode batch", &WORKLOADS[..], &["benchmark_results"][..]),
        ("sagellm-benchmark run --workload short --backend cpu", &["short_input"], &["benchmark_results"]),
        (
            "sagellm-benchmark run --workload stress --backend cpu -v -o ./my_results --output-json ./results.json",
            &["stress_test"],
            &["my_results", "results.json"],
        ),
        (
            "sagellm-benchmark run --workload m1 --backend cpu --mode batch --output-json ./batch_results.json",
            &WORKLOADS,
            &["batch_results.json", "benchmark_results"],
        ),
        (
            "sagellm-benchmark run --workload m1 --backend cpu --mode batch --output-json batch_results.json",
            &WORKLOADS,
            &["batch_results.json", "benchmark_results"],
        ),
        (
            "sagellm-benchmark run --workload m1 --backend cpu --mode batch --output-json sagellm_results.json",
            &WORKLOADS,
            &["benchmark_results", "sagellm_results.json"],
        ),
        (
            "sagellm-benchmark run --workload stress --backend cpu --mode traffic",
            &["stress_test"],
            &["benchmark_results"],
        ),
        ("sagellm-benchmark run --workload year1 --backend cpu", &WORKLOADS, &["benchmark_results"]),
        ("sagellm-benchmark run -v", &WORKLOADS, &["benchmark_results"]),
        ("sagellm-benchmark run --output ./my_results", &WORKLOADS, &["my_results"]),
    ] {
        let place = Place::new();
        let run = shell(&place, &format!("{line}{TINY}"));
        assert_eq!(run.err.contains("1 token"), line.contains(" -v"), "{line}: tokens are printed when asked for");
        let top: Vec<String> = place.listing().into_iter().filter(|name| !name.contains('/')).collect();
        assert_eq!(top, files, "{line}");
        let folder = files.iter().find(|name| !name.contains(".json")).unwrap();
        let summary = place.json(&format!("{folder}/benchmark_summary.json"));
        let mut expected = vec!["benchmark_summary.json".to_owned(), "manifest.json".into(), "plan.jsonl".into()];
        for name in workloads {
            assert_keys(&summary["workloads"][name]);
            expected.extend([format!("{name}_metrics.json"), format!("{name}.records.jsonl")]);
            let mode = if line.contains("--mode batch") { "batch" } else { "traffic" };
            assert_eq!(summary["workloads"][name]["workload"]["mode"], mode, "{line}");
        }
        let in_folder = format!("{folder}/");
        let written: Vec<String> =
            place.listing().iter().filter_map(|name| name.strip_prefix(&in_folder)).map(str::to_owned).collect();
        expected.sort();
        assert_eq!(written, expected, "{line}");
        if let Some(file) = files.iter().find(|name| name.contains(".json")) {
            let flat = place.json(file);
            assert_eq!(flat, summary["workloads"], "{line}");
            for key in
                ["request_throughput_rps", "input_throughput_tps", "output_throughput_tps", "total_throughput_tps"]
            {
                // What `cat sagellm_results.json | jq '.short_input | {...}'` picks.
                assert!(number(&flat[workloads[0]], key) > 0.0);
            }
        }
    }
}

#[test]
fn lines_that_report() {
    let place = Place::new();
    shell(&place, &format!("sagellm-benchmark run --output ./my_results{TINY}"));
    shell(&place, &format!("sagellm-benchmark run --workload short{TINY}"));
    let mine = shell(&place, "sagellm-benchmark report --input ./my_results/benchmark_summary.json");
    assert!(mine.out.contains("stress_test"), "{}", mine.out);
    let latest = shell(&place, "sagellm-benchmark report --input ./benchmark_results/benchmark_summary.json");
    assert!(latest.out.contains("short_input") && !latest.out.contains("stress_test"), "{}", latest.out);
    assert_eq!(shell(&place, "sagellm-benchmark report").out, latest.out);
    assert_eq!(latest.err, "");
}

/// The models are small ones of the same architectures, in the hub's cache under the names that the lines have. They have
/// room for the stress workload; the real ones do too.
#[test]
fn lines_with_a_model_of_the_hub() {
    for (line, id, reference, workloads) in [
        (
            "sagellm-benchmark run --workload short --backend cpu --model sshleifer/tiny-gpt2",
            "sshleifer/tiny-gpt2",
            "gpt2-width2",
            &WORKLOADS[..1],
        ),
        (
            "sagellm-benchmark run --workload stress --backend cpu --model sshleifer/tiny-gpt2",
            "sshleifer/tiny-gpt2",
            "llama",
            &WORKLOADS[2..],
        ),
        (
            "sagellm-benchmark run --workload m1 --backend cpu --model sshleifer/tiny-gpt2",
            "sshleifer/tiny-gpt2",
            "qwen2",
            &WORKLOADS,
        ),
        ("sagellm-benchmark run --backend cpu --model sshleifer/tiny-gpt2", "sshleifer/tiny-gpt2", "qwen3", &WORKLOADS),
        ("sagellm-benchmark run --backend cpu --model gpt2  # 124M params", "gpt2", "llama-bf16", &WORKLOADS),
        ("sagellm-benchmark run --backend cpu --model facebook/opt-125m", "facebook/opt-125m", "mistral", &WORKLOADS),
    ] {
        let place = Place::new();
        place.cache(reference, id);
        shell(&place, line);
        let summary = place.json("benchmark_results/benchmark_summary.json");
        assert_eq!(summary["environment"]["backend"]["model"]["name"], id);
        assert_eq!(summary["environment"]["backend"]["model"]["synthetic"], false);
        let names: Vec<&String> = summary["workloads"].as_object().unwrap().keys().collect();
        assert_eq!(names, workloads);
        for name in workloads {
            assert_keys(&summary["workloads"][name]);
        }
    }
}
