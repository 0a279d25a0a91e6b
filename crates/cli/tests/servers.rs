//! Servers of the program itself, measured by it: simulated and over the CPU engine; interrupted, and calibrated against.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::thread;
use std::time::Duration;

use common::server::{GOOD, Serving, scripted};
use common::{Place, Running, number, testdata};
use serde_json::Value;

/// A run against a server, without finding out this client's own error first.
fn run(server: &Serving, backend: &str, tokenizer: &str, options: &str) -> String {
    format!(
        "run --backend {backend} --base-url {} --tokenizer {tokenizer} --workload short --no-calibrate --output out {options}",
        server.url
    )
}

/// A tokenizer to which the one word of the simulator is one token.
fn tokenizer() -> String {
    testdata("models/llama").display().to_string()
}

/// Why the run is invalid.
fn codes(place: &Place) -> String {
    let reasons = place.json("out/benchmark_summary.json")["validity"]["reasons"].clone();
    let codes = reasons.as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap().to_owned());
    codes.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_simulated_server_is_measured_as_fast_as_it_is() {
    let place = Place::new();
    let server =
        Serving::start(&place, &format!("--simulate --port 0 --ttft 40ms --itl 2ms --tokenizer {}", tokenizer()));
    for endpoint in ["completions", "chat"] {
        let options = format!("--endpoint-type {endpoint} --num-prompts 3");
        let ran = place.run(&run(&server, "vllm", &tokenizer(), &options));
        assert_eq!((ran.code, &*codes(&place)), (0, ""), "{}", ran.out);
        let figures = place.json("out/short_input_metrics.json");
        // No token comes before it is due, but a busy machine delays the server.
        for (key, least, due) in
            [("avg_ttft_ms", 1.0, 40.0), ("avg_tbt_ms", 0.8, 2.0), ("avg_e2e_ms", 1.0, 40.0 + 127.0 * 2.0)]
        {
            let share = number(&figures, key) / due;
            assert!((least - 0.001..1.25).contains(&share), "{endpoint}: `{key}` is {share} of what is due");
        }
        assert_eq!(number(&figures, "total_output_tokens"), 3.0 * 128.0);
        assert_eq!(place.json("out/manifest.json")["backend"]["name"], "vllm");
    }
    assert_eq!(server.end("-TERM"), Some(0));
}

#[test]
fn a_base_url_may_end_with_the_root_of_the_api() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 1ms --itl 0ms");
    for endpoint in ["", "--endpoint /completions", "--endpoint /v1/completions"] {
        let line = run(&server, "vllm", "synthetic:tiny", &format!("--num-prompts 1 {endpoint}"));
        place.succeed(&line.replace(&server.url, &format!("{}/v1", server.url)));
        let settings = &place.json("out/manifest.json")["backend"]["settings"];
        assert_eq!(settings["base_url"], format!("{}/v1", server.url));
    }
}

#[test]
fn an_adapter_is_measured_with_the_tokenizer_of_its_model() {
    let place = Place::new();
    let models = r#"{"data":[{"id":"base","root":"synthetic:tiny"},{"id":"ad","root":"./lora","parent":"base"}]}"#;
    let server = scripted(&format!("{GOOD}\nanswer /v1/models\nbody length\nbytes '{models}'"));
    let ran = place.run(&format!(
        "run --backend openai --base-url http://{} --model ad --workload short --num-prompts 1 --num-warmups 0 \
         --no-calibrate --output out",
        server.address()
    ));
    // The answers are shorter than asked for.
    assert!(matches!(ran.code, 0 | 5), "{}", ran.err);
    assert_eq!(place.json("out/manifest.json")["backend"]["model"]["name"], "ad");
}

#[test]
fn the_fields_that_are_recorded_are_those_that_are_sent() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 1ms --itl 0ms");
    let fields = |options: &str| {
        let options = format!("--num-prompts 1 --num-warmups 0 {options}");
        place.run(&run(&server, "vllm", "synthetic:tiny", &options));
        place.json("out/manifest.json")["backend"]["settings"]["request_fields"].as_str().unwrap().to_owned()
    };
    let plain = "model prompt max_tokens temperature stream stream_options";
    assert_eq!(fields("--ignore-eos=false"), plain);
    assert_eq!(
        fields("--ignore-eos=false --temperature 1 --top-k 5"),
        plain.replace("temperature", "temperature top_k seed")
    );
    assert_eq!(fields("--extra-body {\"top_k\":5}").replace("ignore_eos min_tokens ", ""), format!("{plain} top_k"));
}

#[test]
fn a_served_model_is_measured_with_its_own_figures() {
    let place = Place::new();
    let server = Serving::start(&place, "--model synthetic:tiny --port 0 --threads 1");
    // So many that the server is surely seen at work.
    let ran = place.run(&run(&server, "vllm", "synthetic:tiny", "--metrics-interval 0.005 --num-prompts 60"));
    // Random tokens are no text, so that their number cannot be told from it; there is nothing else to say against the run.
    assert_eq!(ran.code, 5, "{}", ran.err);
    // An answer takes so little time that the client's own, and what is unknown of the stamps, may count beside it.
    let codes = codes(&place);
    let beside_time = |code: &&str| !["hand_over", "uncertain_times"].contains(code);
    assert_eq!(codes.split(' ').filter(beside_time).collect::<Vec<_>>(), ["token_counts"]);
    let figures = place.json("out/short_input_metrics.json");
    assert_eq!((number(&figures, "successful_requests"), number(&figures, "failed_requests")), (60.0, 0.0));
    assert_eq!(number(&figures, "total_output_tokens"), 60.0 * 128.0);
    for key in ["server_ttft_ms", "server_queue_ms", "server_prefill_ms", "server_decode_ms", "avg_ttft_ms"] {
        assert!(number(&figures, key) > 0.0, "{key}");
    }
    assert!(number(&figures, "server_ttft_ms") <= number(&figures, "avg_ttft_ms"), "the server's part is no more");
    assert_eq!((number(&figures, "preemptions"), number(&figures, "evict_count")), (0.0, 0.0));
    assert_eq!(number(&figures, "prefix_hit_rate"), 0.0, "every prompt is another");
    assert!(number(&figures, "kv_used_tokens") > 0.0);
    let per_token = number(&figures, "kv_used_bytes") / number(&figures, "kv_used_tokens");
    assert!(per_token >= 2.0 && (per_token - per_token.round()).abs() < 0.01, "{per_token} bytes per token");
    assert_eq!(number(&figures, "spec_accept_rate"), 0.0, "it does not speculate");
    #[cfg(target_os = "linux")]
    assert!(number(&figures, "peak_mem_mb") > 0.0, "by its own word");
    assert_eq!(server.end("-INT"), Some(0));
}

#[test]
fn an_interrupted_run_keeps_what_was_measured() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 5ms --itl 0ms");
    let line = run(&server, "openai", "synthetic:tiny", "--num-prompts 2000 -v");
    let mut ran = Running::start(place.program(line.split_whitespace()));
    ran.wait_for(&["short_input #3 ", "success"]);
    ran.signal("-INT");
    let (code, said) = ran.end();
    assert_eq!(code, Some(130), "{said}");
    let records = place.records("out", "short_input");
    let of = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
    assert!(of("success") >= 4 && of("not_sent") > 0, "{} and {}", of("success"), of("not_sent"));
    assert_eq!(of("success") + of("not_sent"), 2000, "what ran had the time to finish");
    assert_marked(&place);
}

#[test]
fn an_interrupted_stream_is_cut_off() {
    let place = Place::new();
    // A stream takes more than ten seconds.
    let server = Serving::start(&place, "--simulate --port 0 --ttft 5ms --itl 100ms");
    let line = run(&server, "openai", &tokenizer(), "--num-warmups 0 -v");
    let mut ran = Running::start(place.program(line.split_whitespace()));
    ran.wait_for(&["short_input #0 1 token"]);
    ran.signal("-TERM");
    let (code, said) = ran.end();
    assert_eq!(code, Some(130), "{said}");
    let records = place.records("out", "short_input");
    assert_eq!(records.len(), 5);
    assert_eq!(records[0]["outcome"], "censored");
    assert!(number(&records[0], "output_tokens") >= 1.0, "what came until then is kept");
    assert_marked(&place);
}

/// The results are there, and say that the run was interrupted.
#[track_caller]
fn assert_marked(place: &Place) {
    let lines = place.lines("out/short_input.records.jsonl");
    assert_eq!(
        (&lines.last().unwrap()["line"], &lines.last().unwrap()["interrupted"]),
        (&"close".into(), &true.into())
    );
    let manifest = place.json("out/manifest.json");
    assert_eq!((&manifest["finished"], &manifest["interrupted"]), (&true.into(), &true.into()));
    let summary = place.json("out/benchmark_summary.json");
    assert_eq!(summary["validity"]["verdict"], "INVALID");
    assert_eq!(summary["validity"]["reasons"][0]["code"], "interrupted");
    assert!(place.succeed("report --input out").out.starts_with("INVALID"));
}

#[test]
fn a_calibration_tells_the_clients_own_error() {
    let place = Place::new();
    let load = "--concurrency 4 --num-prompts 8 --output-len 8 --ttft 5ms --itl 1ms";
    let ran = place.succeed(&format!("calibrate {load} --search-time 3s --format json -q"));
    assert_eq!(ran.err, "");
    let told: Value = serde_json::from_str(&ran.out).expect("it is JSON");
    let at_load = &told["at_load"];
    assert_eq!((&at_load["requests"], &at_load["compared"], &at_load["tokens"]), (&8.into(), &8.into(), &64.into()));
    for error in ["ttft_error_ms", "tbt_error_ms", "e2e_error_ms", "schedule_lag_ms"] {
        let spread = &at_load[error];
        let (p50, p99, max) = (number(spread, "p50"), number(spread, "p99"), number(spread, "max"));
        assert!(0.0 <= p50 && p50 <= p99 && p99 <= max, "{error}: {spread}");
    }
    assert_eq!(told["full_speed"]["tokens"], 64 * 32 * 256);
    assert!(number(&told["full_speed"], "tokens_per_second") > 0.0);
    // How many that is depends on the machine; what bounds it does not.
    let most = &told["most_streams"];
    assert_eq!((&most["ttft_bound_ms"], &most["tbt_bound_ms"]), (&0.25.into(), &0.05.into()), "5 % of each");
    assert!(!most["within"].is_null() || !most["beyond"].is_null() || !most["end"].as_str().unwrap().is_empty());
    assert!(place.listing().is_empty(), "it leaves nothing behind");
}

#[test]
fn a_calibration_has_no_more_streams_than_requests() {
    let ran =
        Place::new().succeed("calibrate --concurrency 64 --num-prompts 2 --output-len 4 --ttft 5ms --search-time 0s");
    assert!(ran.err.contains("measuring a simulated server: 2 streams, 2 requests of 4 tokens"), "{}", ran.err);
    assert!(ran.out.starts_with("Error of this client at 2 streams,"), "{}", ran.out);
}

#[test]
fn a_calibration_that_is_interrupted_leaves_nothing() {
    let place = Place::new();
    let mut command = place.program("calibrate --concurrency 1 --num-prompts 30 --ttft 1s".split_whitespace());
    command.env("TMPDIR", place.path());
    let run = Running::start(command);
    while place.listing().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    run.signal("-INT");
    let (code, said) = run.end();
    assert!(code == Some(130) && said.ends_with("interrupted\n"), "{code:?} {said}");
    assert!(place.listing().is_empty());
}

#[test]
fn a_run_calibrates_itself_first() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 20ms --itl 5ms");
    let line = run(&server, "openai", &tokenizer(), "--mode batch --num-prompts 16").replace("--no-calibrate ", "");
    let ran = place.run(&line);
    // On a busy machine the client may be the bottleneck.
    assert!(matches!(ran.code, 0 | 5), "{}", ran.err);
    let figures = place.json("out/short_input_metrics.json");
    assert!(number(&figures, "p99_client_error_ms") >= 0.0);
    let header = &place.lines("out/short_input.records.jsonl")[0];
    assert_eq!(header["calibration"]["streams"], 16, "{header:#}");
    assert_eq!(header["calibration"]["arrival"], "immediate");
}

#[test]
fn a_run_of_an_open_loop_is_calibrated_as_one() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 20ms --itl 5ms");
    let options = "--num-prompts 20 --request-rate 40";
    let line = run(&server, "openai", &tokenizer(), options).replace("--no-calibrate ", "");
    let ran = place.run(&line);
    assert!(matches!(ran.code, 0 | 5), "{}", ran.err);
    assert!(ran.err.contains("calibrating the client at 40 requests/s (Poisson)"), "{}", ran.err);
    let calibration = &place.lines("out/short_input.records.jsonl")[0]["calibration"];
    assert_eq!(calibration["arrival"]["poisson"]["rate"], 40.0, "{calibration:#}");
    assert!(number(calibration, "streams") >= 1.0);
}
