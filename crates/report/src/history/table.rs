//! Histories as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sagellm_stats::change_points;

use super::Entry;
use crate::registry;

/// Probability to find a change where there is none.
const LEVEL: f64 = 0.01;

/// One line for each run.
pub fn list(entries: &[Entry]) -> String {
    let mut text =
        format!("{:>5}  {:20}  {:20}  {:10}  {:10}  verdict  workloads\n", "run", "name", "began", "commit", "host");
    for entry in entries {
        let names: Vec<&str> = entry.summary.workloads.iter().map(crate::WorkloadSummary::name).collect();
        line(&mut text, entry, &format!("{:7}  {}", entry.verdict, names.join(", ")));
    }
    text
}

/// How a figure of every workload went from run to run, with the places at which its level changed. Runs that are
/// INVALID, or of another machine than the latest, are left out and counted.
pub fn trend(entries: &[Entry], key: &str) -> String {
    let host = entries.last().and_then(|entry| entry.host.as_deref());
    let used: Vec<&Entry> = entries.iter().filter(|entry| entry.is_valid() && entry.host.as_deref() == host).collect();
    let workloads: BTreeSet<&str> =
        used.iter().flat_map(|entry| entry.summary.workloads.iter().map(crate::WorkloadSummary::name)).collect();
    let unit = registry::find(key).map_or("", |metric| metric.unit.symbol());
    let mut text = String::new();
    for workload in workloads {
        let points: Vec<(&Entry, f64)> =
            used.iter().filter_map(|entry| Some((*entry, entry.figure(workload, key)?))).collect();
        let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        let changes = change_points(&values, LEVEL, 0);
        let _ = writeln!(text, "{workload}: {key} ({unit})");
        for (place, (entry, value)) in points.iter().enumerate() {
            let change = changes.iter().find(|change| change.at == place).map(|change| {
                let share = 100.0 * (change.after / change.before - 1.0);
                format!("  <- changed by {share:+.1} % (p = {:.3})", change.p_value)
            });
            line(&mut text, entry, &format!("{value:12.4}{}", change.unwrap_or_default()));
        }
        let _ = writeln!(text, "{}\n", summary(points.len(), changes.len()));
    }
    let left_out = entries.len() - used.len();
    if left_out > 0 {
        let _ = writeln!(text, "left out, as INVALID or of another machine: {left_out}");
    }
    text
}

fn summary(runs: usize, changes: usize) -> String {
    match (runs, changes) {
        // Fewer cannot be significant: of 20 ways to divide 6 runs none is rarer than 1 %.
        (..8, 0) => format!("{runs} runs: too few to tell a change from chance"),
        (_, 0) => format!("{runs} runs: no change of level"),
        (_, 1) => format!("{runs} runs: 1 change of level"),
        _ => format!("{runs} runs: {changes} changes of level"),
    }
}

fn line(text: &mut String, entry: &Entry, rest: &str) {
    let short = |text: &Option<String>| text.as_deref().unwrap_or("-").chars().take(10).collect::<String>();
    let began = entry.started_at.get(..19).unwrap_or(&entry.started_at);
    let _ = writeln!(
        text,
        "{:>5}  {:20}  {:20}  {:10}  {:10}  {}",
        entry.id,
        entry.name,
        began,
        short(&entry.git_commit),
        short(&entry.host),
        rest.trim_end()
    );
}

/// All known figures of all runs as CSV: run, name, began, commit, host, verdict, workload, figure, value.
pub fn csv(entries: &[Entry]) -> String {
    let mut text = String::from("run,name,started_at,git_commit,host,verdict,workload,key,value\n");
    for entry in entries {
        for workload in entry.summary.workloads.iter() {
            for metric in registry::all() {
                let Some(value) = workload.get(&metric.key) else { continue };
                let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
                let _ = writeln!(
                    text,
                    "{},{},{},{},{},{},{},{},{value}",
                    entry.id,
                    quoted(&entry.name),
                    entry.started_at,
                    quoted(entry.git_commit.as_deref().unwrap_or("")),
                    entry.host.as_deref().unwrap_or(""),
                    entry.verdict,
                    workload.name(),
                    metric.key
                );
            }
        }
    }
    text
}
