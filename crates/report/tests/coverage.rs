//! The intervals of a report hold the truth as often as they say, whatever the load; `bench/coverage.py` shows more of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the shares are the result")]

mod support;

use sagellm_report::WorkloadSummary;
use sagellm_stats::SplitMix64;
use support::queue::{Lengths, Offered, Queue, held};

const TRIALS: u32 = 300;

fn runs(queue: Queue) -> Vec<WorkloadSummary> {
    let mut random = SplitMix64::new(9);
    (0..TRIALS).map(|_| queue.run(&mut random)).collect()
}

/// Shown in every run, and in 93 to 97 % of them right, give or take three standard errors.
fn about_95(runs: &[WorkloadSummary], keys: &[&str], what: &str) {
    for key in keys {
        let found = held(runs, key);
        let share = f64::from(found.held) / f64::from(found.shown);
        println!("{what}: {key} shown {} held {share}", found.shown);
        assert_eq!(found.shown, TRIALS, "{what}: {key}");
        let chance = 3.0 * (0.95 * 0.05 / f64::from(TRIALS)).sqrt();
        assert!((0.93 - chance..=0.97 + chance).contains(&share), "{what}: {key} held {share}");
    }
}

#[test]
fn latencies_of_a_short_open_loop_never_have_an_interval() {
    for (load, requests) in [(0.5, 100), (0.5, 1000), (0.9, 100), (0.9, 1000)] {
        let runs = runs(Queue { slots: 4, offered: Offered::Open(load), lengths: Lengths::Alike, requests });
        for key in ["avg_ttft_ms", "p50_ttft_ms", "p95_ttft_ms", "avg_e2e_ms", "avg_tbt_ms", "avg_throughput_tps"] {
            assert_eq!(held(&runs, key).shown, 0, "load {load}, {requests} requests: {key}");
        }
    }
}

#[test]
fn the_throughput_of_an_open_loop_varies_as_its_arrivals() {
    for (load, lengths) in [(0.5, Lengths::Alike), (0.75, Lengths::Varied), (0.9, Lengths::Varied)] {
        let runs = runs(Queue { slots: 4, offered: Offered::Open(load), lengths, requests: 250 });
        about_95(&runs, &["request_throughput_rps", "output_throughput_tps"], &format!("load {load}"));
    }
}

#[test]
fn closed_loops() {
    for (slots, cap, requests) in [(4, 2, 100), (20, 12, 250), (20, 18, 1000)] {
        let queue = Queue { slots, offered: Offered::Closed(cap), lengths: Lengths::Varied, requests };
        let mut keys = vec!["avg_ttft_ms", "avg_e2e_ms", "avg_tbt_ms", "request_throughput_rps"];
        if requests >= 250 {
            keys.extend(["p50_e2e_ms", "p95_e2e_ms"]);
        }
        about_95(&runs(queue), &keys, &format!("{cap} of {slots}, {requests} requests"));
    }
}
