//! Prints how often the intervals of a report hold the truth, for `bench/coverage.py`: a line of JSON per cell.
//!
//!     coverage TRIALS [LONGEST [SEED]]
//!
//! Cells with more than LONGEST requests are left out.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for developers, whose output is JSON")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use sagellm_stats::SplitMix64;
use serde_json::json;
use support::queue::{Lengths, Offered, Queue, held};

fn figures() -> Vec<String> {
    let stats = ["avg", "p50", "p90", "p95", "p99"];
    let latencies = ["ttft", "e2e", "tbt"].iter().flat_map(|of| stats.map(|stat| format!("{stat}_{of}_ms")));
    latencies.chain(["request_throughput_rps".into(), "output_throughput_tps".into()]).collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let trials = arguments.next().unwrap_or(200);
    let longest = arguments.next().unwrap_or(5000);
    let seed = arguments.next().unwrap_or(1);
    let open = [0.5, 0.6, 0.75, 0.9].map(|load| (4, Offered::Open(load)));
    // Of 20 slots 50 to 90 % are taken, of 4 half and three quarters, and last twice as many requests are in flight.
    let closed = [(20, 10), (20, 12), (20, 15), (20, 18), (4, 2), (4, 3), (4, 8)]
        .map(|(slots, cap)| (slots, Offered::Closed(cap)));
    for lengths in [Lengths::Alike, Lengths::Varied] {
        for (slots, offered) in open.into_iter().chain(closed) {
            for requests in [100, 250, 1000, 5000, 50_000].into_iter().filter(|n| u64::from(*n) <= longest) {
                let queue = Queue { slots, offered, lengths, requests };
                println!("{}", cell(&queue, trials, seed));
            }
        }
    }
}

fn cell(queue: &Queue, trials: u64, seed: u64) -> serde_json::Value {
    let mut random = SplitMix64::new(seed);
    let runs: Vec<_> = (0..trials).map(|_| queue.run(&mut random)).collect();
    let figure = |key: String| {
        let held = held(&runs, &key);
        let reason = runs.iter().find_map(|run| run.details.intervals.get(&key)?.reason.clone());
        (key, json!({"truth": held.truth, "shown": held.shown, "held": held.held, "reason": reason}))
    };
    let figures: BTreeMap<String, _> = figures().into_iter().map(figure).collect();
    let (kind, load) = match queue.offered {
        Offered::Open(load) => ("open", load),
        Offered::Closed(cap) => ("closed", f64::from(cap) / f64::from(queue.slots)),
    };
    let lengths = if queue.lengths == Lengths::Alike { "alike" } else { "varied" };
    json!({"loop": kind, "slots": queue.slots, "load": load, "lengths": lengths, "n": queue.requests,
           "trials": trials, "figures": figures})
}
