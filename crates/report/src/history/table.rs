//! Histories as text.

use std::fmt::Write as _;

use super::{Entry, Trend};
use crate::registry;
use crate::render::number;

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

impl Trend<'_> {
    /// As text for a terminal.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for course in &self.courses {
            let _ = writeln!(text, "{}: {} ({})", course.workload, self.metric.key, self.metric.unit.symbol());
            for (place, (entry, value)) in course.points.iter().enumerate() {
                let change = course.change(place).map(|change| format!("  <- {change}"));
                line(&mut text, entry, &format!("{:>12}{}", number::figure(*value), change.unwrap_or_default()));
            }
            let _ = writeln!(text, "{}\n", course.summary());
        }
        if self.left_out > 0 {
            let _ = writeln!(text, "left out, as INVALID or of another machine: {}", self.left_out);
        }
        text
    }
}

fn line(text: &mut String, entry: &Entry, rest: &str) {
    let short = |text: &Option<String>| text.as_deref().unwrap_or("-").chars().take(10).collect::<String>();
    let _ = writeln!(
        text,
        "{:>5}  {:20}  {:20}  {:10}  {:10}  {}",
        entry.id,
        entry.name,
        entry.began(),
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
