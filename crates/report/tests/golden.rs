//! Every figure of a small journal, computed by hand.
//!
//! The journal is `data/golden.records.jsonl`. Times below are in milliseconds; s scheduled, a sent, chunks as
//! time × tokens. A warm-up request with absurd times stands before them and must not be seen.
//!
//! | request | s    | a    | chunks                              | end  | outcome |
//! |---------|------|------|-------------------------------------|------|---------|
//! | 0       | 1000 | 1001 | 1011 × 1, 1021 × 1, 1031 × 1, 1041 × 1 | 1042 | success |
//! | 1       | 1020 | 1021 | 1041 × 2, 1071 × 2                  | 1072 | success |
//! | 2       | 1060 | 1060 | 1090 × 4                            | 1091 | success |
//! | 3       | 1080 | 1081 | 1100 × 1                            | 1201 | timeout |
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::Path;

use sagellm_report::{Code, TailSamples, Verdict, WorkloadSummary, read_journal, registry};

fn golden() -> WorkloadSummary {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden.records.jsonl");
    read_journal(&path).unwrap().unwrap().1
}

#[test]
fn every_figure_is_what_the_hand_finds() {
    // Per request: f − a, (l − f)/(n − n1), (l − a)/n, l − a, n/(l − a in s).
    let ttft = [1011.0 - 1001.0, 1041.0 - 1021.0, 1090.0 - 1060.0]; // 10, 20, 30
    let tbt = [(1041.0 - 1011.0) / 3.0, (1071.0 - 1041.0) / 2.0]; // 10, 15; request 2 came in one chunk
    let tpot = [40.0 / 4.0, 50.0 / 4.0, 30.0 / 4.0]; // 10, 12.5, 7.5
    let e2e = [1041.0 - 1001.0, 1071.0 - 1021.0, 1090.0 - 1060.0]; // 40, 50, 30
    let rate = [4.0 / 0.040, 4.0 / 0.050, 4.0 / 0.030];
    let window_s = (1201.0 - 1001.0) / 1000.0; // 0.2: the failed request belongs to the window
    let wanted = [
        ("avg_ttft_ms", ttft.iter().sum::<f64>() / 3.0),
        ("std_ttft_ms", 10.0), // √((100 + 0 + 100) / 2)
        ("min_ttft_ms", 10.0),
        ("max_ttft_ms", 30.0),
        ("p50_ttft_ms", 20.0),
        ("p90_ttft_ms", 20.0 + 0.8 * 10.0), // place 0.9 · 2 = 1.8
        ("p95_ttft_ms", 20.0 + 0.9 * 10.0),
        ("p99_ttft_ms", 20.0 + 0.98 * 10.0),
        ("p99.9_ttft_ms", 20.0 + 0.998 * 10.0),
        ("avg_tbt_ms", tbt.iter().sum::<f64>() / 2.0),
        ("std_tbt_ms", 12.5_f64.sqrt()), // (2.5² + 2.5²) / 1
        ("min_tbt_ms", 10.0),
        ("max_tbt_ms", 15.0),
        ("p50_tbt_ms", 12.5),
        ("p90_tbt_ms", 14.5),
        ("p95_tbt_ms", 14.75),
        ("p99_tbt_ms", 14.95),
        ("p99.9_tbt_ms", 14.995),
        ("avg_tpot_ms", tpot.iter().sum::<f64>() / 3.0),
        ("std_tpot_ms", 2.5),
        ("min_tpot_ms", 7.5),
        ("max_tpot_ms", 12.5),
        ("p50_tpot_ms", 10.0),
        ("p90_tpot_ms", 12.0),
        ("p95_tpot_ms", 12.25),
        ("p99_tpot_ms", 12.45),
        ("p99.9_tpot_ms", 12.495),
        // Gaps: 10, 10, 10 of request 0 and 30 of request 1.
        ("avg_itl_ms", 15.0),
        ("std_itl_ms", 10.0), // √((3 · 25 + 225) / 3)
        ("min_itl_ms", 10.0),
        ("max_itl_ms", 30.0),
        ("p50_itl_ms", 10.0),
        ("p90_itl_ms", 10.0 + 0.7 * 20.0), // place 0.9 · 3 = 2.7
        ("p95_itl_ms", 10.0 + 0.85 * 20.0),
        ("p99_itl_ms", 10.0 + 0.97 * 20.0),
        ("p99.9_itl_ms", 10.0 + 0.997 * 20.0),
        // Shared among the tokens of the later chunk: 10, 10, 10, 15, 15.
        ("avg_itl_token_ms", 12.0),
        ("std_itl_token_ms", 7.5_f64.sqrt()), // (3 · 4 + 2 · 9) / 4
        ("min_itl_token_ms", 10.0),
        ("max_itl_token_ms", 15.0),
        ("p50_itl_token_ms", 10.0),
        ("p90_itl_token_ms", 15.0),
        ("p95_itl_token_ms", 15.0),
        ("p99_itl_token_ms", 15.0),
        ("p99.9_itl_token_ms", 15.0),
        ("avg_e2e_ms", e2e.iter().sum::<f64>() / 3.0),
        ("std_e2e_ms", 10.0),
        ("min_e2e_ms", 30.0),
        ("max_e2e_ms", 50.0),
        ("p50_e2e_ms", 40.0),
        ("p90_e2e_ms", 48.0),
        ("p95_e2e_ms", 49.0),
        ("p99_e2e_ms", 49.8),
        ("p99.9_e2e_ms", 49.98),
        // From the schedule requests 0 and 1 were a millisecond late: 11, 21, 30.
        ("avg_ttft_from_schedule_ms", 62.0 / 3.0),
        ("std_ttft_from_schedule_ms", ((3.0 * (121.0 + 441.0 + 900.0) - 62.0 * 62.0) / 6.0_f64).sqrt()),
        ("min_ttft_from_schedule_ms", 11.0),
        ("max_ttft_from_schedule_ms", 30.0),
        ("p50_ttft_from_schedule_ms", 21.0),
        ("p90_ttft_from_schedule_ms", 21.0 + 0.8 * 9.0),
        ("p95_ttft_from_schedule_ms", 21.0 + 0.9 * 9.0),
        ("p99_ttft_from_schedule_ms", 21.0 + 0.98 * 9.0),
        ("p99.9_ttft_from_schedule_ms", 21.0 + 0.998 * 9.0),
        // 41/4, 51/4, 30/4 = 10.25, 12.75, 7.5.
        ("avg_tpot_from_schedule_ms", 30.5 / 3.0),
        ("std_tpot_from_schedule_ms", ((3.0 * (105.0625 + 162.5625 + 56.25) - 30.5 * 30.5) / 6.0_f64).sqrt()),
        ("min_tpot_from_schedule_ms", 7.5),
        ("max_tpot_from_schedule_ms", 12.75),
        ("p50_tpot_from_schedule_ms", 10.25),
        ("p90_tpot_from_schedule_ms", 10.25 + 0.8 * 2.5),
        ("p95_tpot_from_schedule_ms", 10.25 + 0.9 * 2.5),
        ("p99_tpot_from_schedule_ms", 10.25 + 0.98 * 2.5),
        ("p99.9_tpot_from_schedule_ms", 10.25 + 0.998 * 2.5),
        // 41, 51, 30.
        ("avg_e2e_from_schedule_ms", 122.0 / 3.0),
        ("std_e2e_from_schedule_ms", ((3.0 * (1681.0 + 2601.0 + 900.0) - 122.0 * 122.0) / 6.0_f64).sqrt()),
        ("min_e2e_from_schedule_ms", 30.0),
        ("max_e2e_from_schedule_ms", 51.0),
        ("p50_e2e_from_schedule_ms", 41.0),
        ("p90_e2e_from_schedule_ms", 41.0 + 0.8 * 10.0),
        ("p95_e2e_from_schedule_ms", 41.0 + 0.9 * 10.0),
        ("p99_e2e_from_schedule_ms", 41.0 + 0.98 * 10.0),
        ("p99.9_e2e_from_schedule_ms", 41.0 + 0.998 * 10.0),
        ("avg_throughput_tps", rate.iter().sum::<f64>() / 3.0),
        ("request_throughput_rps", 3.0 / window_s),
        ("input_throughput_tps", 24.0 / window_s),
        ("output_throughput_tps", 12.0 / window_s),
        ("total_throughput_tps", 36.0 / window_s),
        ("total_time_s", window_s),
        ("total_requests", 4.0),
        ("successful_requests", 3.0),
        ("failed_requests", 1.0),
        ("total_input_tokens", 24.0),
        ("total_output_tokens", 12.0),
        ("error_rate", 0.25),
        // 1021–1042, 1060–1072 and 1081–1091 two at once; lengths 41 + 51 + 31 + 120 over 200.
        ("peak_concurrency", 2.0),
        ("avg_concurrency", 243.0 / 200.0),
        // Seven chunks with twelve tokens.
        ("avg_chunk_tokens", 12.0 / 7.0),
        ("max_chunk_tokens", 4.0),
        ("peak_mem_mb", 300.0 - 100.0),
        ("avg_mem_mb", 250.5 - 100.0),
        ("mem_baseline_mb", 100.0),
        ("mem_peak_raw_mb", 300.0),
        ("mem_avg_raw_mb", 250.5),
        ("kv_used_tokens", 36.0),
        ("kv_used_bytes", 36864.0),
        ("kv_capacity_tokens", 4096.0),
        ("prefix_hit_rate", 8.0 / 32.0),
        ("evict_count", 0.0),
        ("evict_ms", 0.0),
        ("preemptions", 0.0),
        ("spec_accept_rate", 0.0),
        // a − s: 1, 1, 0, 1; sorted 0, 1, 1, 1.
        ("avg_queue_client_ms", 0.75),
        ("p50_queue_client_ms", 1.0),
        ("p99_queue_client_ms", 1.0),
        ("max_queue_client_ms", 1.0),
        ("avg_schedule_lag_ms", 0.75),
        ("p50_schedule_lag_ms", 1.0),
        ("p99_schedule_lag_ms", 1.0),
        ("max_schedule_lag_ms", 1.0),
    ];
    let summary = golden();
    for (key, value) in wanted {
        let got = summary.get(key).unwrap_or_else(|| panic!("{key} is null: {}", summary.reason(key)));
        assert!((got - value).abs() <= 1e-9 * value.abs().max(1.0), "{key} is {got}, not {value}");
    }
    let computed: BTreeSet<&str> = wanted.iter().map(|(key, _)| *key).collect();
    let unknown: Vec<&str> =
        registry::all().iter().map(|metric| metric.key.as_str()).filter(|key| !computed.contains(key)).collect();
    assert_eq!(unknown, ["client_cpu_percent"], "every key of the registry is either above or unknown");
    assert_eq!(summary.figure("client_cpu_percent").reason.unwrap(), "the engine runs in this process");
}

#[test]
fn what_stands_beside_the_figures() {
    let details = golden().details;
    assert_eq!(details.started_at, "2026-01-31T09:30:00.125Z");
    assert_eq!(details.outcomes.into_iter().collect::<Vec<_>>(), [("success".into(), 3), ("timeout".into(), 1)]);
    assert_eq!((details.mem_kind.as_deref(), details.mem_samples), (Some("pss"), Some(12)));
    assert_eq!(details.tail_samples["p95"], TailSamples { needed: 90, have: 3, missing: 87 });
    let interval = &details.intervals["avg_ttft_ms"];
    assert_eq!((interval.low, interval.n), (None, 3));
    assert_eq!(interval.reason.as_deref(), Some("only 3 requests: an interval needs 6"));
    // 0.75 ms of lag are below 5 % of the median TTFT of 20 ms, and a quarter failed where half may.
    assert_eq!(details.validity.verdict, Verdict::Valid);
    let warnings: Vec<Code> = details.validity.warnings.iter().map(|finding| finding.code).collect();
    assert_eq!(warnings, [Code::SomeFailed, Code::FewSamples]);
}
