//! Runs to be compared, and what comes of it.

use std::fs;
use std::path::Path;

use sagellm_core::Record;
use sagellm_report::compare::{CompareOptions, Comparison, FigureChange, Side, compare};
use sagellm_stats::SplitMix64;

use super::*;

/// A run of `count` requests, one after the other, whose times between tokens are `slower` times as long as usual. Each has
/// chance of its own, drawn from `seed`.
pub(crate) fn run(folder: &Path, seed: u64, count: u64, slower: f64) {
    fs::create_dir_all(folder).unwrap();
    write_manifest(folder, &manifest(&["short_input"]));
    let mut random = SplitMix64::new(seed);
    let mut spread = |base: f64| base * (0.8 + 0.4 * random.unit());
    let mut at = 1000 * MS;
    let records: Vec<Record> = (0..count)
        .map(|id| {
            let mut record = success(id, 1000, 20, 5);
            let first = at + (spread(20.0) * MS as f64) as u64;
            let gap = (spread(5.0) * slower * MS as f64) as u64;
            (record.scheduled_ns, record.sent_ns, record.first_token_ns) = (at, Some(at), Some(first));
            for (chunk, place) in record.chunks.iter_mut().zip(0..) {
                chunk.at_ns = first + place * gap;
            }
            let last = first + 3 * gap;
            (record.last_token_ns, record.end_ns) = (Some(last), last + MS / 10);
            at = record.end_ns;
            record
        })
        .collect();
    write_journal(folder, header("short_input", u32::try_from(count).unwrap()), &records, Some(close()));
}

pub(crate) fn compared(before: &Path, now: &Path, gates: &[&str]) -> Comparison {
    sides(&Side::load(before).unwrap(), Side::load(now).unwrap(), gates).unwrap()
}

pub(crate) fn sides(before: &Side, now: Side, gates: &[&str]) -> Result<Comparison, sagellm_report::Error> {
    let gates = gates.iter().map(|gate| gate.parse().unwrap()).collect();
    let options = CompareOptions { margin: 0.02, gates, judge_disturbed: false };
    compare(before, &[now], &options)
}

/// So many runs of 50 requests.
pub(crate) fn repeat(folder: &Path, seed: u64, runs: u64, slower: f64) {
    for nth in 0..runs {
        run(&folder.join(format!("run-{nth}")), seed + nth, 50, slower);
    }
}

pub(crate) fn of<'a>(comparison: &'a Comparison, key: &str) -> &'a FigureChange {
    comparison.sides[0].figures.iter().find(|figure| figure.key == key).unwrap()
}
