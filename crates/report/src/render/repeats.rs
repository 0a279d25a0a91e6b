//! Several runs of the same, side by side: what can be seen of a figure is not its value in one run.

use std::fmt::Write;

use sagellm_stats::{self as stats, Interval};

use super::markdown::{code, escape};
use super::number;
use crate::{Summary, Verdict, registry};

/// A figure over the runs.
struct Row {
    workload: String,
    key: &'static str,
    runs: usize,
    mean: f64,
    /// Where the mean over many such runs lies, with a confidence of 95 %; `None` for one run.
    interval: Option<Interval>,
    min: f64,
    max: f64,
    /// Standard deviation as a share of the mean; `None` for one run.
    spread: Option<f64>,
}

/// What the columns say.
const MEANING: &str = "mean: geometric, with its 95 % interval by Student's t on logarithms, the runs being the sample \
                       (arithmetic where a value is 0); spread: standard deviation / arithmetic mean over the runs";

/// As a table for a terminal.
pub fn table(runs: &[Summary]) -> String {
    let mut text = verdicts(runs).join("\n") + "\n";
    let mut last = String::new();
    for row in rows(runs) {
        if row.workload != last {
            let _ = writeln!(
                text,
                "\n{:<24}{:>6}{:>11}{:>24}{:>11}{:>11}{:>9}",
                row.workload, "runs", "mean", "95 % interval", "min", "max", "spread"
            );
            last.clone_from(&row.workload);
        }
        let [mean, min, max] = [row.mean, row.min, row.max].map(number::figure);
        let (interval, spread) = (interval(&row), spread(&row));
        let _ = writeln!(text, "{:<24}{:>6}{mean:>11}{interval:>24}{min:>11}{max:>11}{spread:>9}", row.key, row.runs);
    }
    format!("{text}\n{MEANING}\n")
}

/// As Markdown.
pub fn markdown(runs: &[Summary]) -> String {
    let verdicts: Vec<String> = verdicts(runs).iter().map(|line| escape(line)).collect();
    let mut text = format!("## {}\n", verdicts.join("\n\n"));
    text.push_str("\n| workload | figure | runs | mean | 95 % interval | min | max | spread |\n|---|---|--:|--:|--:|--:|--:|--:|\n");
    for row in rows(runs) {
        let [mean, min, max] = [row.mean, row.min, row.max].map(number::figure);
        let unit = registry::find(row.key).map_or("", |metric| metric.unit.symbol());
        let _ = writeln!(
            text,
            "| {} | `{}` ({unit}) | {} | {mean} | {} | {min} | {max} | {} |",
            code(&row.workload),
            row.key,
            row.runs,
            interval(&row),
            spread(&row)
        );
    }
    format!("{text}\n{MEANING}\n")
}

fn interval(row: &Row) -> String {
    let ends = |it: Interval| format!("{} to {}", number::figure(it.low), number::figure(it.high));
    row.interval.map_or_else(|| "-".into(), ends)
}

fn spread(row: &Row) -> String {
    row.spread.map_or_else(|| "-".into(), number::percent)
}

/// How many runs are valid, and a line for each reason why one is not.
fn verdicts(runs: &[Summary]) -> Vec<String> {
    let invalid = runs.iter().filter(|run| run.validity.verdict == Verdict::Invalid).count();
    let mut lines = vec![format!("{} of {} runs VALID", runs.len() - invalid, runs.len())];
    for (nth, run) in (1..).zip(runs) {
        for finding in &run.validity.reasons {
            let workload = finding.workload.as_deref().unwrap_or("all");
            lines.push(format!("run {nth} INVALID, {workload}: {}; {}", finding.message, finding.remedy));
        }
    }
    lines
}

/// The mean over the runs and its interval. Positive quantities vary by factors rather than by amounts: on logarithms, and
/// back, an interval can never reach below 0.
fn mean_with_interval(values: &[f64]) -> (Option<f64>, Option<Interval>) {
    if !values.iter().all(|value| *value > 0.0) {
        return (stats::mean(values), stats::Estimate::few(values).map(|it| it.interval));
    }
    let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let back = |it: stats::Estimate| Interval { low: it.interval.low.exp(), high: it.interval.high.exp() };
    (stats::mean(&logarithms).map(f64::exp), stats::Estimate::few(&logarithms).map(back))
}

/// The headline figures of every workload, of the runs that have them.
fn rows(runs: &[Summary]) -> Vec<Row> {
    let mut names: Vec<&str> = Vec::new();
    for workload in runs.iter().flat_map(|run| run.workloads.iter()) {
        if !names.contains(&workload.name()) {
            names.push(workload.name());
        }
    }
    let keys = || registry::all().iter().filter(|metric| metric.headline).map(|metric| metric.key.as_str());
    let row = |workload: &str, key: &'static str| {
        let of = |run: &Summary| run.workloads.get(workload).and_then(|workload| workload.get(key));
        let values: Vec<f64> = runs.iter().filter_map(of).collect();
        let spread = stats::sample_std(&values).zip(stats::mean(&values)).map(|(std, mean)| std / mean);
        let (mean, interval) = mean_with_interval(&values);
        Some(Row {
            workload: workload.to_owned(),
            key,
            runs: values.len(),
            mean: mean?,
            interval,
            min: stats::min(&values)?,
            max: stats::max(&values)?,
            spread: spread.filter(|spread| spread.is_finite()),
        })
    };
    names.iter().flat_map(|name| keys().filter_map(move |key| row(name, key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_positive_quantity_is_positive() {
        // Three runs whose arithmetic interval is 1.156 ± 1.284.
        let values = [0.7, 1.018, 1.75];
        let (mean, interval) = mean_with_interval(&values);
        let (mean, interval) = (mean.unwrap(), interval.unwrap());
        // By hand: the logarithms have the mean 0.07359 and the standard deviation 0.46068; t(0.975, 2) = 4.30265.
        assert!((mean - 1.0764).abs() < 1e-3, "{mean}");
        assert!((interval.low - 0.3427).abs() < 1e-3 && (interval.high - 3.3804).abs() < 1e-3, "{interval:?}");
        // A zero has no logarithm.
        assert!(mean_with_interval(&[0.0, 0.1, 0.2]).1.unwrap().low < 0.0);
        assert_eq!(mean_with_interval(&[2.0]), (Some(2.0), None));
    }
}
