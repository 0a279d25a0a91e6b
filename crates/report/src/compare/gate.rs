//! Conditions under which a comparison fails: `avg_tbt_ms>5%`.

use std::str::FromStr;

use sagellm_stats::{SIGNIFICANCE, runs_needed};

use super::change::{Change, ERROR_RATE, known, median, shared};
use super::{Basis, ChangeVerdict, Side};
use crate::Error;
use crate::registry::{self, Better};

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    text: String,
    key: String,
    above: bool,
    limit: f64,
    /// Whether the limit is one of the change, as a share, and not of the value itself.
    relative: bool,
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "a condition reads KEY>LIMIT or KEY<LIMIT, such as `avg_tbt_ms>5%` or `output_throughput_tps<-5%`";
        let at = text.find(['>', '<']).ok_or_else(|| format!("`{text}` has neither `>` nor `<`: {form}"))?;
        let key = text[..at].trim();
        let metric = registry::find(key).ok_or_else(|| format!("`{key}` is no figure: {form}"))?;
        if metric.better == Better::Neither {
            return Err(format!("`{key}` describes a run, and neither more nor less of it is better"));
        }
        let limit = text[at + 1..].trim();
        let number = limit.strip_suffix('%').unwrap_or(limit).trim();
        let value: f64 = number.parse().map_err(|_| format!("`{limit}` is no number: {form}"))?;
        if !value.is_finite() {
            return Err(format!("`{limit}` is no number: {form}"));
        }
        let relative = limit.ends_with('%');
        if relative && key == ERROR_RATE {
            return Err(format!(
                "`{text}` is ambiguous: `{key}` is a share, so give a limit on its value, such as `{key}>0.05` for 5 %"
            ));
        }
        let above = text[at..].starts_with('>');
        let limit = if relative { value / 100.0 } else { value };
        Ok(Self { text: text.to_owned(), key: key.to_owned(), above, limit, relative })
    }
}

/// What became of a gate in one workload.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The change is surely not beyond the limit, or the value is not.
    Passed,
    /// It is, in words.
    Failed(String),
    /// It is not known: why, and what would tell.
    Undecided(String),
}

impl Gate {
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// What became of it in every workload that has the figure.
    pub(super) fn judge(&self, first: &Side, side: &Side, changes: &[Change]) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::new();
        for workload in shared(first, side) {
            let change = changes.iter().find(|it| it.figure.key == self.key && it.figure.workload == workload);
            match change {
                // A value needs no former one, such as the failures of another tool's run.
                _ if !self.relative => outcomes.extend(self.of_value(side, workload)),
                Some(change) => outcomes.push(self.outcome(change)),
                // Some workloads have no such figure, as those without an objective have no goodput.
                None => {
                    let has = |side: &Side| side.values(workload, &self.key).iter().flatten().next().is_some();
                    let lacking = [first, side].into_iter().filter(|side| !has(side)).collect::<Vec<_>>();
                    if let [lacking] = lacking[..] {
                        outcomes.push(Outcome::Undecided(format!(
                            "{}: {} has no {} of {workload}{}",
                            self.text,
                            lacking.name,
                            self.key,
                            reason(lacking, workload, &self.key)
                        )));
                    }
                }
            }
        }
        if outcomes.is_empty() {
            let workload = shared(first, side).into_iter().next().unwrap_or_default().to_owned();
            let reason = reason(side, &workload, &self.key);
            return Err(Error::NothingToGate { gate: self.text.clone(), key: self.key.clone(), reason });
        }
        Ok(outcomes)
    }

    /// Of a limit on the value, which is that of the other side, as it was measured.
    fn of_value(&self, side: &Side, workload: &str) -> Option<Outcome> {
        let now = median(&known(&side.values(workload, &self.key)))?;
        let beyond = if self.above { now > self.limit } else { now < self.limit };
        let words = || Outcome::Failed(format!("{}: {} of {workload} is {now:.4}", self.text, self.key));
        Some(if beyond { words() } else { Outcome::Passed })
    }

    /// Of a limit on the change.
    fn outcome(&self, change: &Change) -> Outcome {
        let figure = &change.figure;
        let words = |more: &str| {
            let (text, key, workload) = (&self.text, &self.key, &figure.workload);
            let share = figure.change.map_or_else(String::new, |share| format!(", {:+.1} %", 100.0 * share));
            format!("{text}: {key} of {workload} went from {:.4} to {:.4}{share}{more}", figure.before, figure.now)
        };
        let undecided = |why: &str| Outcome::Undecided(words(&format!(": {why}")));
        // Toward the limit is up from here on.
        let sign = if self.above { 1.0 } else { -1.0 };
        let limit = sign * self.limit;
        if figure.verdict == ChangeVerdict::NotJudged && figure.before == figure.now && limit >= 0.0 {
            return Outcome::Passed;
        }
        let Some(share) = figure.change.filter(|_| figure.verdict != ChangeVerdict::NotJudged) else {
            return undecided("a change from or to 0 has no percentage; give a limit on the value");
        };
        let Some((low, high)) = figure.interval else {
            return match figure.basis {
                Basis::Figures if sign * share > limit => Outcome::Failed(words(" (by the figures alone)")),
                Basis::Figures => Outcome::Passed,
                _ => undecided(change.why.as_deref().unwrap_or("it has no interval")),
            };
        };
        let (nearer, farther) = if self.above { (low, high) } else { (-high, -low) };
        if farther <= limit {
            return Outcome::Passed;
        }
        let range = format!("95 % interval {:+.1} to {:+.1} %", 100.0 * low, 100.0 * high);
        if nearer <= limit {
            let needed = runs_needed((high - low) / 2.0, (share - self.limit).abs(), change.n);
            return undecided(&format!(
                "{range}, on both sides of the limit{}",
                further(figure.basis, needed, change.n)
            ));
        }
        // Where no change at all would be beyond the limit, it takes no change for that; else the change has to be real, of
        // all those that were looked at.
        if limit < 0.0 || figure.p_value.is_some_and(|p| p < SIGNIFICANCE) {
            return Outcome::Failed(words(&format!(" ({range})")));
        }
        let advice = figure.further.map(|more| further(figure.basis, change.n + more, change.n)).unwrap_or_default();
        undecided(&format!(
            "{range}, which may be chance among so many figures (p = {:.2}){advice}",
            figure.p_value.unwrap_or(1.0)
        ))
    }
}

/// Why a side has no such figure, where it says so.
fn reason(side: &Side, workload: &str, key: &str) -> String {
    let said = side.observed(workload).flatten().find_map(|run| run.reasons.get(key));
    said.map_or_else(String::new, |said| format!(": {said}"))
}

/// What would probably tell.
fn further(basis: Basis, needed: u64, n: u64) -> String {
    let more = needed.saturating_sub(n).max(1);
    match basis {
        _ if more > 1_000_000 => "; no number of requests or runs will soon tell".into(),
        Basis::Runs => format!("; about {more} more runs on either side would tell"),
        _ => format!("; about {} times the requests would tell", more + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_gate_and_what_is_not() {
        let gate: Gate = "p99_ttft_ms>5%".parse().unwrap();
        assert_eq!((gate.above, gate.relative), (true, true));
        assert!((gate.limit - 0.05).abs() < 1e-12);
        let gate: Gate = "output_throughput_tps < 100".parse().unwrap();
        assert_eq!((gate.above, gate.relative, gate.limit), (false, false, 100.0));
        for (text, reason) in [
            ("p99_ttft_ms", "has neither"),
            ("p99_tfft_ms>5%", "is no figure"),
            ("total_requests>5%", "neither more nor less of it is better"),
            ("error_rate>5%", "such as `error_rate>0.05` for 5 %"),
            ("p99_ttft_ms>fast", "is no number"),
            ("p99_ttft_ms>inf", "is no number"),
        ] {
            let error = text.parse::<Gate>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
