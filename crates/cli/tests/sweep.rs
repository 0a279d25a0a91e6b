//! `sweep`: many loads of one workload, in one folder and in more than one go.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::time::Duration;

use common::server::{FIRST, GOOD, Serving, scripted};
use common::{Place, Ran, Running};
use serde_json::Value;

fn line(server: &Serving, options: &str) -> String {
    format!(
        "sweep --backend openai --base-url {} --tokenizer synthetic:tiny --no-calibrate --quiet --output swept \
         --dataset-name random --random-input-len 16 --random-output-len 4 {options}",
        server.url
    )
}

/// Runs it; on a busy machine a run may be INVALID, which the exit code says.
#[track_caller]
fn swept(place: &Place, line: &str) -> Ran {
    let ran = place.run(line);
    assert!(matches!(ran.code, 0 | 5), "{}{}", ran.out, ran.err);
    ran
}

fn loads(sweep: &Value) -> Vec<f64> {
    sweep["points"].as_array().unwrap().iter().map(|point| point["load"].as_f64().unwrap()).collect()
}

#[test]
fn a_sweep_goes_on_with_other_loads() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 2ms --itl 1ms");
    swept(&place, &line(&server, "--num-prompts 20 --request-rate 50,100"));
    assert_eq!(loads(&place.json("swept/sweep.json")), [50.0, 100.0]);
    let began = || place.json("swept/rate-50/run-1/manifest.json")["started_at"].clone();
    let first = began();
    let seed = |load: u32| place.json(&format!("swept/rate-{load}/run-1/manifest.json"))["seeds"].clone();
    assert_ne!(seed(50), seed(100), "no load finds the prompts of another in a prefix cache");
    let more = swept(&place, &line(&server, "--num-prompts 20 --request-rate 200 --html sweep.html"));
    let rows = more.out.lines().filter(|line| ["50 ", "100 ", "200 "].iter().any(|load| line.starts_with(load)));
    assert_eq!(rows.count(), 3, "{}", more.out);
    assert_eq!(loads(&place.json("swept/sweep.json")), [50.0, 100.0, 200.0]);
    assert!([50, 100, 200].iter().all(|load| place.text("sweep.html").contains(&format!("<tr><th>{load}</th>"))));
    // What has come to its end is not run again, and is shown as it lies there.
    let json = swept(&place, &line(&server, "--num-prompts 20 --request-rate 50 --format json"));
    assert_eq!(began(), first);
    assert_eq!(serde_json::from_str::<Value>(&json.out).unwrap(), place.json("swept/sweep.json"));
    for (options, reason) in [
        ("--num-prompts 20 --request-rate 50 --format markdown", "a sweep is shown as `table` or `json`"),
        ("--num-prompts 20 --request-rate 50 --output-json all.json", "is of one run, and a sweep has many"),
        ("--num-prompts 20 --max-concurrency 1", "holds a sweep over the other kind of load"),
        ("--num-prompts 30 --request-rate 50", "holds a sweep with other settings"),
    ] {
        let refused = place.refused(&line(&server, options));
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn a_search_says_what_it_knows_of_every_rate() {
    let place = Place::new();
    // A hundred requests per second are all that it can serve.
    let server = Serving::start(&place, "--simulate --port 0 --itl 0ms --ttft 0ms --servers 1 --service-time 10ms");
    let options = "--num-prompts 150 --slo p50_ttft_ms<100 --request-rate 50 --most-runs 1 --precision 100";
    let ran = swept(&place, &line(&server, options));
    let sweep = place.json("swept/sweep.json");
    let (points, capacity) = (sweep["points"].as_array().unwrap(), &sweep["capacity"]);
    assert!(loads(&sweep).is_sorted() && loads(&sweep).contains(&50.0), "{sweep}");
    for point in points {
        assert!(["within", "beyond", "open"].contains(&point["standing"].as_str().unwrap()), "{point}");
        assert!(place.file(&format!("swept/{}/run-1/manifest.json", point["folder"].as_str().unwrap())).exists());
    }
    let runs: u64 = points.iter().map(|point| point["runs"].as_u64().unwrap()).sum();
    assert_eq!(capacity["runs"].as_u64(), Some(runs));
    assert!(ran.out.contains("capacity under p50_ttft_ms<100: "), "{}", ran.out);
    if let (Some(within), Some(beyond)) = (capacity["within_rps"].as_f64(), capacity["beyond_rps"].as_f64()) {
        assert!(within < beyond && within < 150.0, "{capacity}");
    }
    if ran.code == 0 {
        assert_eq!(capacity["left_out_runs"], 0);
        assert!(capacity["within_rps"].is_number() && capacity["beyond_rps"].is_number(), "{capacity}");
    }
}

#[test]
fn runs_of_another_server_are_never_reused() {
    let place = Place::new();
    let first = Serving::start(&place, "--model synthetic:tiny --port 0 --served-model-name one");
    let (port, sweep) = (first.port().to_owned(), line(&first, "--num-prompts 5 --request-rate 50"));
    swept(&place, &sweep);
    first.end("-TERM");
    // The same command and the same address, but not the same server.
    let serve = format!("--model synthetic:tiny --port {port} --served-model-name two");
    let _second = Serving::start(&place, &serve);
    let refused = place.refused(&sweep);
    assert!(refused.contains("`swept/rate-50/run-1` measured something else: model `one` against `two`"), "{refused}");
}

#[test]
fn runs_without_a_sweep_file_are_never_reused() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 1ms --itl 0ms");
    let sweep = line(&server, "--num-prompts 5 --request-rate 50");
    swept(&place, &sweep);
    fs::remove_file(place.file("swept/sweep.json")).unwrap();
    let refused = place.refused(&sweep);
    assert!(refused.contains("`swept` holds runs of a sweep, but no `sweep.json`"), "{refused}");
    // What cannot be read is not overwritten either.
    fs::create_dir(place.file("swept/sweep.json")).unwrap();
    assert!(place.refused(&sweep).contains("cannot read `swept/sweep.json`"));
}

#[test]
fn a_changed_data_set_is_another_sweep() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 1ms --itl 0ms");
    let sweep = format!(
        "sweep --backend openai --base-url {} --tokenizer synthetic:tiny --no-calibrate --quiet --output swept \
         --dataset-name custom --dataset-path prompts.jsonl --output-len 4 --num-prompts 2 --request-rate 50",
        server.url
    );
    let prompts = |word: &str| format!("{{\"prompt\": \"{word} one\"}}\n{{\"prompt\": \"{word} two\"}}\n");
    fs::write(place.file("prompts.jsonl"), prompts("a")).unwrap();
    swept(&place, &sweep);
    fs::write(place.file("prompts.jsonl"), prompts("b")).unwrap();
    assert!(place.refused(&sweep).contains("holds a sweep with other settings"));
}

#[test]
fn the_sweep_file_exists_before_the_first_run_ends() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 1ms --itl 0ms");
    let sweep = line(&server, "--num-prompts 30 --request-rate 1");
    let running = Running::start(place.program(sweep.split_whitespace()));
    while !place.file("swept/rate-1/run-1/manifest.json").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let written = place.json("swept/sweep.json");
    assert_eq!((&written["points"], &written["runs_started"]), (&Value::Array(Vec::new()), &Value::from(1)));
    running.signal("-INT");
    assert_eq!(running.end().0, Some(130));
    let other = place.refused(&line(&server, "--num-prompts 31 --request-rate 1"));
    assert!(other.contains("holds a sweep with other settings"), "{other}");
}

#[test]
fn a_first_run_that_does_not_begin_leaves_nothing() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0");
    let sweep = line(&server, "--num-prompts 5 --request-rate 50 --ready-timeout 0.2");
    drop(server);
    assert!(place.refused(&sweep).ends_with("[exit 4]\n\n"));
}

#[test]
fn an_error_in_a_later_run_loses_nothing_of_the_earlier_ones() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 1ms --itl 0ms");
    // On a busy machine the run is INVALID, and a search runs the rate again.
    fs::create_dir_all(place.file("swept/rate-50")).unwrap();
    for name in ["rate-50/run-2", "rate-100"] {
        fs::write(place.file("swept").join(name), "in the way").unwrap();
    }
    for options in ["--request-rate 50,100", "--slo p50_ttft_ms<1000 --request-rate 50 --most-runs 2"] {
        let ran = place.run(&line(&server, &format!("--num-prompts 150 --html page.html {options}")));
        assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
        assert!(ran.err.contains("swept/rate-"), "{}", ran.err);
        assert!(ran.out.lines().any(|line| line.starts_with("50 ")), "{}", ran.out);
        assert_eq!(loads(&place.json("swept/sweep.json")), [50.0]);
        assert!(place.text("page.html").contains("<tr><th>50</th>"));
        fs::remove_file(place.file("page.html")).unwrap();
    }
}

#[test]
fn outputs_are_checked_before_anything_is_measured() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 1ms --itl 0ms");
    let refused = place.refused(&line(&server, "--num-prompts 5 --request-rate 50 --html no/such/page.html"));
    assert!(refused.contains("cannot write `no/such/page.html`: the folder does not exist"), "{refused}");
}

/// The probe is answered and every measured request refused, as by a model that is too short for the prompts.
#[test]
fn doubling_stops_where_no_request_succeeds() {
    let place = Place::new();
    let script = format!(
        "status 400\nbytes '{{\"error\": {{\"message\": \"too long\"}}}}'\n{}",
        (3..FIRST).map(|nth| format!("answer #{nth}\n{GOOD}\n")).collect::<String>()
    );
    let server = scripted(&script);
    let ran = place.run(&format!(
        "sweep --backend openai --base-url http://{} --tokenizer synthetic:tiny --no-calibrate --output swept --auto \
         --dataset-name random --random-input-len 16 --random-output-len 2 --num-prompts 4 --num-warmups 0",
        server.address()
    ));
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    assert_eq!(loads(&place.json("swept/sweep.json")), [1.0], "{}", ran.out);
    assert!(ran.err.contains("--auto stops at a concurrency of 1, whose runs are INVALID: "), "{}", ran.err);
}

#[test]
fn loads_of_a_sweep_are_gated() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 2ms --itl 1ms");
    let sweep = line(&server, "--num-prompts 20 --request-rate 50 --fail-on p50_ttft_ms>0ms --fail-on p50_ttft_ms>60s");
    assert!(place.refused(&sweep).contains("is not the unit of `p50_ttft_ms`"));
    let ran = place.run(&sweep.replace("60s", "60000ms"));
    assert!(matches!(ran.code, 5 | 6), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("rate-50: GATE FAILED  p50_ttft_ms>0ms: "), "{}", ran.out);
    let point = &place.json("swept/sweep.json")["points"][0];
    assert_eq!(point["passed_gates"].as_array().unwrap().len(), 1, "{point}");
    assert_eq!(point["failed_gates"].as_array().unwrap().len(), 1, "{point}");
}

#[test]
fn a_signal_in_a_later_run_keeps_and_shows_the_loads_that_are_done() {
    let place = Place::new();
    let server = Serving::start(&place, "--simulate --port 0 --ttft 2ms --itl 1ms");
    let line = line(&server, "--num-prompts 20 --request-rate 50,100,200 --html sweep.html").replace("--quiet", "");
    let mut sweep = Running::start(place.shell(&format!("exec sagellm-benchmark {line} >table")));
    sweep.wait_for(&["rate-200, run 1"]);
    sweep.signal("-INT");
    let (code, said) = sweep.end();
    assert_eq!(code, Some(130), "{said}");
    let table = place.text("table");
    for load in [50, 100] {
        assert!(table.lines().any(|row| row.starts_with(&format!("{load} "))), "{table}");
        assert!(place.text("sweep.html").contains(&format!("<tr><th>{load}</th>")));
    }
    assert_eq!(loads(&place.json("swept/sweep.json"))[..2], [50.0, 100.0]);
}
