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
//!
//! `data/golden_http.records.jsonl` holds the same requests as if they had gone over HTTP. Delays of the chunks in their
//! order; usage, tokenizer; time of connecting; the server's TTFT, queue, generation; prompt tokens from its cache:
//!
//! | request | delays             | u, t | visible | connect | server     | cached | merged | retries |
//! |---------|--------------------|------|---------|---------|------------|--------|--------|---------|
//! | 0       | 0.1, 0.2, 0.1, 0.1 | 4, 4 | 1021    | 3       | 8, 1, 29   | 4 of 8 | 1      | 0       |
//! | 1       | 0.2, 0.4           | 4, 4 | 1041    | –       | 18, 3, 28  | 0 of 8 | 0      | 0       |
//! | 2       | 0.6                | 4, 3 | 1090    | 5       | 27, –, –   | –      | 0      | 2       |
//! | 3       | 1.0                | –, 1 | –       | –       | –          | –      | 2      | 0       |
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sagellm_core::{Slo, Stamp};
use sagellm_report::{
    Code, Finding, ServerSource, SteadyMethod, TailSamples, Verdict, WorkloadSummary, read_journal, registry,
};

fn golden(journal: &str) -> WorkloadSummary {
    judged(journal, None)
}

fn judged(journal: &str, slo: Option<&Slo>) -> WorkloadSummary {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(journal);
    read_journal(&path, slo).unwrap().unwrap().1
}

fn check(summary: &WorkloadSummary, wanted: &[(&str, f64)]) {
    for (key, value) in wanted {
        let got = summary.get(key).unwrap_or_else(|| panic!("{key} is null: {}", summary.reason(key)));
        assert!((got - value).abs() <= 1e-9 * value.abs().max(1.0), "{key} is {got}, not {value}");
    }
}

/// Figures that only requests over HTTP have.
const HTTP_ONLY: [&str; 41] = [
    "avg_ttft_visible_ms",
    "p50_ttft_visible_ms",
    "p99_ttft_visible_ms",
    "avg_client_delay_ms",
    "p50_client_delay_ms",
    "p99_client_delay_ms",
    "max_client_delay_ms",
    "p50_client_error_ms",
    "p99_client_error_ms",
    "max_client_error_ms",
    "p50_client_error_tbt_ms",
    "p99_client_error_tbt_ms",
    "max_client_error_tbt_ms",
    "avg_connect_ms",
    "p50_connect_ms",
    "p99_connect_ms",
    "max_connect_ms",
    "merged_chunks",
    "held_back_chunks",
    "out_of_order_segments",
    "retransmitted_segments",
    "retries",
    "stale_connections",
    "ttft_uncertainty_ms",
    "p99_ttft_uncertainty_ms",
    "tbt_uncertainty_ms",
    "uncertain_first_tokens",
    "uncertain_gaps",
    "server_ttft_ms",
    "server_queue_ms",
    "server_prefill_ms",
    "server_decode_ms",
    "network_client_ms",
    "server_cpu_percent",
    "spec_accept_length",
    "server_weights_mb",
    "usage_output_tokens",
    "tokenizer_output_tokens",
    "checked_token_counts",
    "content_chunks",
    "output_tokens_discrepancy",
];

/// Figures that need limits.
const GOODPUT: [&str; 5] =
    ["goodput_rps", "slo_attainment", "slo_attainment_ttft", "slo_attainment_tbt", "slo_attainment_e2e"];

/// Figures of a steady window.
const STEADY: [&str; 15] = [
    "steady_start_s",
    "steady_time_s",
    "steady_requests",
    "steady_request_throughput_rps",
    "steady_output_throughput_tps",
    "steady_avg_ttft_ms",
    "steady_p50_ttft_ms",
    "steady_p99_ttft_ms",
    "steady_avg_tbt_ms",
    "steady_p50_tbt_ms",
    "steady_p99_tbt_ms",
    "steady_avg_e2e_ms",
    "steady_p50_e2e_ms",
    "steady_p99_e2e_ms",
    "littles_law_residual",
];

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
        // The second arrivals: 1021 − 1001 and 1071 − 1021. Only request 0 has three arrivals, 10 ms apart.
        ("avg_ttst_ms", 35.0),
        ("p50_ttst_ms", 35.0),
        ("p99_ttst_ms", 20.0 + 0.99 * 30.0),
        ("avg_handoff_excess_ms", 0.0),
        ("p50_handoff_excess_ms", 0.0),
        ("p99_handoff_excess_ms", 0.0),
        // All successes have the 4 tokens that they asked for.
        ("output_length_share", 1.0),
        ("shorter_answers", 0.0),
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
        // The failed request took forever: 10, 20, 30, ∞. From p90 on it has a part.
        ("p50_ttft_inflated_ms", 25.0),
        ("p50_tbt_inflated_ms", 15.0),   // 10, 15, ∞
        ("p50_tpot_inflated_ms", 11.25), // 7.5, 10, 12.5, ∞
        ("p50_e2e_inflated_ms", 45.0),   // 30, 40, 50, ∞
        ("avg_throughput_tps", rate.iter().sum::<f64>() / 3.0),
        ("request_throughput_rps", 3.0 / window_s),
        ("input_throughput_tps", 24.0 / window_s),
        ("output_throughput_tps", 12.0 / window_s),
        ("total_throughput_tps", 36.0 / window_s),
        // All chunks came in the first second after the start.
        ("peak_output_throughput_tps", 12.0),
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
        ("std_chunk_tokens", ((28.0 - 144.0 / 7.0) / 6.0_f64).sqrt()),
        ("min_chunk_tokens", 1.0),
        ("p50_chunk_tokens", 1.0), // 1, 1, 1, 1, 2, 2, 4
        ("p90_chunk_tokens", 2.0 + 0.4 * 2.0),
        ("p95_chunk_tokens", 2.0 + 0.7 * 2.0),
        ("p99_chunk_tokens", 2.0 + 0.94 * 2.0),
        ("p99.9_chunk_tokens", 2.0 + 0.994 * 2.0),
        ("max_chunk_tokens", 4.0),
        ("peak_mem_mb", 300.0 - 100.0),
        ("avg_mem_mb", 250.5 - 100.0),
        ("mem_baseline_mb", 100.0),
        ("mem_peak_raw_mb", 300.0),
        ("mem_avg_raw_mb", 250.5),
        ("other_cpu_share", 0.03125),
        ("energy_joules", 30.0),
        ("joules_per_output_token", 30.0 / 12.0),
        ("kv_used_tokens", 36.0),
        ("kv_used_bytes", 36864.0),
        ("kv_capacity_tokens", 4096.0),
        ("prefix_hit_rate", 8.0 / 32.0),
        ("evict_count", 0.0),
        ("evict_ms", 0.0),
        ("preemptions", 0.0),
        ("spec_accept_rate", 0.0),
        ("engine_steps", 40.0),
        ("engine_step_tokens", 132.0 / 40.0),
        ("engine_attention_ms", 500.0),
        ("engine_matmul_ms", 6_000.0),
        ("engine_sampling_ms", 250.0),
        ("engine_scheduling_ms", 1.0),
        ("engine_other_ms", 125.0),
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
    let summary = golden("golden.records.jsonl");
    check(&summary, &wanted);
    let computed: BTreeSet<&str> = wanted.iter().map(|(key, _)| *key).collect();
    let unknown = registry::all().iter().map(|metric| metric.key.as_str()).filter(|key| !computed.contains(key));
    let mut why: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in unknown {
        why.entry(summary.reason(key)).or_default().push(key);
    }
    let infinite = ["p90", "p95", "p99", "p99.9"];
    let infinite: Vec<String> = ["ttft", "tbt", "tpot", "e2e"]
        .iter()
        .flat_map(|name| infinite.map(|stat| format!("{stat}_{name}_inflated_ms")))
        .collect();
    let wanted = BTreeMap::from([
        ("1 of 4 requests failed: this percentile lies among them", infinite.iter().map(String::as_str).collect()),
        // The patterns of arrivals are computed by hand in `stimulus.rs`.
        (
            "fewer than 30 arrivals, or all at one time",
            vec!["arrival_rate_rps", "planned_arrival_rate_rps", "arrival_cv", "planned_arrival_cv"],
        ),
        ("arrivals do not fill 10 s with 10 in each", vec!["arrival_dispersion", "planned_arrival_dispersion"]),
        ("the server does not count prompt tokens, or the plan does not", vec!["prompt_tokens_discrepancy"]),
        ("the engine runs in this process", vec!["client_cpu_percent"]),
        ("the engine runs in this process, without a connection", HTTP_ONLY.to_vec()),
        (
            "the program that wrote the journal did not watch for it",
            vec!["client_stall_ms", "max_client_stall_ms", "journal_wait_ms", "suspended_ms"],
        ),
        (
            "the program that wrote the journal did not keep it",
            vec!["warmup_requests", "warmup_waves", "warmup_at_once", "warmup_longest_output", "warmup_s"],
        ),
        (
            "the load is not a closed loop, or nothing was sent",
            vec!["avg_slot_refill_ms", "max_slot_refill_ms", "empty_slot_share"],
        ),
        ("no limits were set with `--goodput`", GOODPUT.to_vec()),
        ("4 requests cannot show a steady state: it takes 50", STEADY.to_vec()),
    ]);
    assert_eq!(why, wanted, "every key of the registry is either above or unknown");
}

#[test]
fn goodput_is_what_the_hand_finds() {
    let slo = Slo { ttft_ms: Some(25.0), tbt_ms: Some(12.0), e2e_ms: Some(50.0) };
    let wanted = [
        // Of four judged requests, one of which failed. TTFT is 10, 20, 30; TBT 10, 15, none; E2E 40, 50, 30.
        ("slo_attainment_ttft", 2.0 / 4.0),
        ("slo_attainment_tbt", 2.0 / 4.0), // one chunk has no time between tokens that could be too long
        ("slo_attainment_e2e", 3.0 / 4.0), // the limit itself is kept
        ("slo_attainment", 1.0 / 4.0),     // request 1 fails by TBT, 2 by TTFT
        ("goodput_rps", 1.0 / 0.2),
    ];
    assert_eq!(wanted.map(|(key, _)| key).into_iter().collect::<BTreeSet<_>>(), GOODPUT.into());
    let summary = judged("golden.records.jsonl", Some(&slo));
    check(&summary, &wanted);
    assert_eq!(summary.details.workload.goodput, Some(slo));
}

#[test]
fn the_steady_window_is_what_the_hand_finds() {
    // A closed loop of two, of which 95 % are two. All succeed.
    // | request | a    | tokens                 | end  |
    // | 0       | 1000 | 1009, 1022, 1035, 1048 | 1050 |
    // | 1       | 1010 | 1020, 1038             | 1040 |
    // | 2       | 1040 | 1046, 1062, 1078       | 1080 |
    // | 3       | 1050 | 1062, 1074, 1086, 1098 | 1100 |
    // | 4       | 1080 | 1090, 1100, 1110       | 1112 |
    // | 5       | 1100 | 1108, 1124             | 1126 |
    // | 6       | 1112 | 1120, 1130, 1140, 1150 | 1152 |
    // | 7       | 1126 | 1136, 1146, 1156       | 1160 |
    // | 8       | 1152 | 1160, 1172             | 1174 |
    // Two run from 1010 to 1160, and the first ends at 1040: 0 and 2 to 7 end within, 2 to 8 are sent within.
    let wanted = [
        ("steady_start_s", 0.040),
        ("steady_time_s", 0.120),
        ("steady_requests", 7.0),
        ("steady_request_throughput_rps", 7.0 / 0.120),
        ("steady_output_throughput_tps", (4.0 + 3.0 + 4.0 + 3.0 + 2.0 + 4.0 + 3.0) / 0.120),
        ("steady_avg_ttft_ms", (6.0 + 12.0 + 10.0 + 8.0 + 8.0 + 10.0 + 8.0) / 7.0),
        ("steady_p50_ttft_ms", 8.0),
        ("steady_p99_ttft_ms", 10.0 + 0.94 * 2.0), // place 0.99 · 6 = 5.94
        ("steady_avg_tbt_ms", (32.0 / 2.0 + 36.0 / 3.0 + 20.0 / 2.0 + 16.0 + 30.0 / 3.0 + 20.0 / 2.0 + 12.0) / 7.0),
        ("steady_p50_tbt_ms", 12.0),
        ("steady_p99_tbt_ms", 16.0),
        ("steady_avg_e2e_ms", (38.0 + 48.0 + 30.0 + 24.0 + 38.0 + 30.0 + 20.0) / 7.0),
        ("steady_p50_e2e_ms", 30.0),
        ("steady_p99_e2e_ms", 38.0 + 0.94 * 10.0),
        // L · 120 = 2 · 120; λW · 120 = 40 + 50 + 32 + 26 + 40 + 34 + 22.
        ("littles_law_residual", (244.0 - 240.0) / 240.0),
    ];
    assert_eq!(wanted.map(|(key, _)| key).into_iter().collect::<BTreeSet<_>>(), STEADY.into());
    let summary = golden("golden_closed.records.jsonl");
    check(&summary, &wanted);
    assert_eq!(summary.details.steady.unwrap().method, SteadyMethod::Cap);
}

#[test]
fn what_http_adds_is_what_the_hand_finds() {
    let summary = golden("golden_http.records.jsonl");
    let wanted = [
        // Of 0.1, 0.1, 0.1, 0.2, 0.2, 0.4, 0.6, 1.0: failed or not, every chunk counts.
        ("avg_client_delay_ms", 2.7 / 8.0),
        ("p50_client_delay_ms", 0.2),
        ("p99_client_delay_ms", 0.6 + 0.93 * 0.4), // place 0.99 · 7 = 6.93
        ("max_client_delay_ms", 1.0),
        ("p50_client_error_ms", 0.05),
        ("p99_client_error_ms", 0.2),
        ("max_client_error_ms", 0.3),
        ("p50_client_error_tbt_ms", 0.01),
        ("p99_client_error_tbt_ms", 0.02),
        ("max_client_error_tbt_ms", 0.04),
        ("avg_connect_ms", (3.0 + 5.0) / 2.0),
        ("p50_connect_ms", 4.0),
        ("p99_connect_ms", 3.0 + 0.99 * 2.0),
        ("max_connect_ms", 5.0),
        ("merged_chunks", 3.0),
        ("retries", 2.0),
        ("client_cpu_percent", 12.5),
        ("server_cpu_percent", 187.5),
        // 1021 − 1001, 1041 − 1021, 1090 − 1060.
        ("avg_ttft_visible_ms", 70.0 / 3.0),
        ("p50_ttft_visible_ms", 20.0),
        ("p99_ttft_visible_ms", 20.0 + 0.98 * 10.0),
        ("avg_ttft_ms", 20.0),
        // The `/metrics` tell queue and prefill; the answers tell the rest.
        ("server_ttft_ms", (8.0 + 18.0 + 27.0) / 3.0),
        ("server_queue_ms", 1.5),
        ("server_prefill_ms", 12.0),
        ("server_decode_ms", (29.0 + 28.0) / 2.0),
        ("network_client_ms", 20.0 - 53.0 / 3.0),
        ("prefix_hit_rate", 4.0 / 16.0),
        ("usage_output_tokens", 12.0),
        ("tokenizer_output_tokens", 11.0),
        ("content_chunks", 7.0),
        ("output_tokens_discrepancy", 1.0 / 12.0),
        // A server has no baseline to take off.
        ("peak_mem_mb", 300.0),
        ("avg_mem_mb", 250.5),
    ];
    check(&summary, &wanted);
    use ServerSource::{Answers, Metrics};
    let sources = [
        ("prefix_hit_rate", Answers),
        ("server_decode_ms", Answers),
        ("server_prefill_ms", Metrics),
        ("server_queue_ms", Metrics),
        ("server_ttft_ms", Answers),
    ];
    let sources = sources.into_iter().map(|(key, source)| (key.to_owned(), source)).collect();
    assert_eq!(summary.details.server_source, sources);
    assert_eq!(summary.details.calibration.as_ref().unwrap().streams, 4);
    assert_eq!(summary.details.stamp, [Stamp::Kernel]);
    let codes = |findings: &[Finding]| findings.iter().map(|finding| finding.code).collect::<Vec<_>>();
    assert_eq!(codes(&summary.details.validity.reasons), [Code::TokenCounts]);
    let warnings = codes(&summary.details.validity.warnings);
    assert_eq!(warnings, [Code::SomeFailed, Code::Retries, Code::FewSamples]);
    assert_eq!(codes(&summary.details.validity.notes), [Code::ClientLate]);
}

#[test]
fn what_stands_beside_the_figures() {
    let details = golden("golden.records.jsonl").details;
    assert_eq!(details.started_at, "2026-01-31T09:30:00.125Z");
    assert_eq!(details.outcomes.into_iter().collect::<Vec<_>>(), [("success".into(), 3), ("timeout".into(), 1)]);
    assert_eq!((details.mem_kind.as_deref(), details.mem_samples), (Some("pss"), Some(12)));
    assert_eq!(details.tail_samples["p95"], TailSamples { needed: 90, have: 3, missing: 87 });
    let interval = &details.intervals["avg_ttft_ms"];
    assert_eq!((interval.low, interval.n), (None, 3));
    assert_eq!(interval.needed, Some(5000), "its requests came at times of their own");
    assert!(interval.reason.as_deref().unwrap().starts_with("only 3 requests: requests that wait in the same queue"));
    // 0.75 ms of lag are below 5 % of the median TTFT of 20 ms, and a quarter failed where half may.
    assert_eq!(details.validity.verdict, Verdict::Valid);
    let warnings: Vec<Code> = details.validity.warnings.iter().map(|finding| finding.code).collect();
    assert_eq!(warnings, [Code::SomeFailed, Code::FewSamples]);
}
