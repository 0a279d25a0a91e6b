//! `sweep`: many loads of one workload, in one folder and in more than one go.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::server::Serving;
use common::{Place, Ran};
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
