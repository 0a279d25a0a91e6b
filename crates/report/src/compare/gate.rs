//! Conditions under which a comparison fails: `avg_tbt_ms>5%`.

use std::fmt;
use std::str::FromStr;

use sagellm_stats::{SIGNIFICANCE, runs_needed};

use super::change::{Change, ERROR_RATE, known, median, shared};
use super::{Basis, ChangeVerdict, Side};
use crate::registry::{self, Better, Unit};
use crate::render::number;
use crate::{Error, Summary};

/// A limit without a unit up to this size may have been meant as a percentage.
const MAX_LIKELY_PERCENT: f64 = 100.0;

/// Short names of metrics in a condition.
const SHORT: [(&str, &str); 1] = [("goodput", "goodput_rps")];

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    text: String,
    key: String,
    above: bool,
    limit: f64,
    /// Whether the limit is one of the change, as a share, and not of the value itself.
    relative: bool,
    /// The unit of the metric.
    unit: Unit,
    /// Whether the limit was given with a unit.
    has_unit: bool,
}

impl fmt::Display for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "a condition reads KEY>LIMIT or KEY<LIMIT, such as `avg_tbt_ms>5%` or `output_throughput_tps<-5%`";
        let at = text.find(['>', '<']).ok_or_else(|| format!("`{text}` has neither `>` nor `<`: {form}"))?;
        let key = text[..at].trim();
        let key = SHORT.iter().find(|(short, _)| *short == key).map_or(key, |(_, key)| key);
        let metric = registry::find(key).ok_or_else(|| format!("`{key}` is not a metric: {form}"))?;
        if metric.better == Better::Neither {
            return Err(format!("`{key}` describes a run, and neither more nor less of it is better"));
        }
        let limit = text[at + 1..].trim();
        let end = limit.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(limit.len());
        let (number, unit) = (limit[..end].trim(), limit[end..].trim());
        let value: f64 = number.parse().map_err(|_| format!("`{limit}` is not a number: {form}"))?;
        if !value.is_finite() {
            return Err(format!("`{limit}` is not a number: {form}"));
        }
        let relative = unit == "%";
        if relative && key == ERROR_RATE {
            return Err(format!(
                "`{text}` is ambiguous: `{key}` is a share, so give a limit on its value, such as `{key}>0.05` for 5 %"
            ));
        }
        let symbol = metric.unit.symbol();
        if !matches!(unit, "" | "%") && unit != symbol && unit != short(metric.unit) {
            return Err(format!(
                "`{unit}` in `{text}` is not the unit of `{key}`: give `{symbol}`, `%` for the change, or none"
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            key: key.to_owned(),
            above: text[at..].starts_with('>'),
            limit: if relative { value / 100.0 } else { value },
            relative,
            unit: metric.unit,
            has_unit: !unit.is_empty(),
        })
    }
}

/// The unit as in tables.
fn short(unit: Unit) -> &'static str {
    match unit {
        Unit::TokensPerSecond => "tok/s",
        Unit::RequestsPerSecond => "req/s",
        other => other.symbol(),
    }
}

/// What became of a gate in one workload.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The change is surely not beyond the limit, or the value is not, in words.
    Passed(String),
    /// It is, in words.
    Failed(String),
    /// It is not known: why, and what would tell.
    Undecided(String),
}

/// What became of gates, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateReport {
    /// Those that passed.
    pub passed: Vec<String>,
    /// Those that failed.
    pub failed: Vec<String>,
    /// Those of which it is not known: why, and what would settle it.
    pub undecided: Vec<String>,
}

impl GateReport {
    /// Judges limits on the values of a run, or on the medians over repeated runs, of one workload or of all.
    ///
    /// # Errors
    /// When a gate limits a change, or no workload has the metric.
    pub fn of_runs(gates: &[Gate], runs: &[Summary], workload: Option<&str>) -> Result<Self, Error> {
        let mut side = Side::default();
        runs.iter().for_each(|run| side.add(Side::of_summary(String::new(), run)));
        let mut report = Self::default();
        for gate in gates {
            gate.check_value()?;
            let mut names = side.workloads();
            names.retain(|name| workload.is_none_or(|wanted| wanted == *name));
            let mut outcomes: Vec<_> = names.iter().filter_map(|name| gate.of_value(&side, name)).collect();
            if outcomes.is_empty() {
                let name = names.first().copied().unwrap_or_default();
                return Err(gate.nothing(reason(&side, name, &gate.key)));
            }
            // Of a metric that some workloads have and one lacks, such as a percentile of a workload without successes.
            if gate.key != "goodput_rps" && gate.key != "slo_attainment" {
                let lacking = names.iter().filter(|name| gate.of_value(&side, name).is_none());
                outcomes.extend(lacking.map(|name| {
                    let why = reason(&side, name, &gate.key);
                    Outcome::Undecided(format!("{gate}: there is no {} of {name}{why}", gate.key))
                }));
            }
            outcomes.into_iter().for_each(|outcome| report.push(outcome));
        }
        Ok(report)
    }

    /// Adds what became of further gates.
    pub fn extend(&mut self, other: Self) {
        self.passed.extend(other.passed);
        self.failed.extend(other.failed);
        self.undecided.extend(other.undecided);
    }

    pub(super) fn push(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed(words) => self.passed.push(words),
            Outcome::Failed(words) => self.failed.push(words),
            Outcome::Undecided(words) => self.undecided.push(words),
        }
    }

    /// A line for each gate, and the number of each kind; nothing without gates.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.passed, &self.failed, &self.undecided)
    }
}

/// A line for each gate, and the number of each kind; nothing without gates.
pub(crate) fn lines(passed: &[String], failed: &[String], undecided: &[String]) -> Vec<String> {
    let all = passed.len() + failed.len() + undecided.len();
    if all == 0 {
        return Vec::new();
    }
    let kinds = [("FAILED", failed), ("UNDECIDED", undecided), ("PASSED", passed)];
    let each = kinds.iter().flat_map(|(kind, gates)| gates.iter().map(move |gate| format!("GATE {kind}  {gate}")));
    let mut lines: Vec<String> = each.collect();
    let (gates, undecided) = (if all == 1 { "gate" } else { "gates" }, undecided.len());
    lines.push(format!("{all} {gates}: {} passed, {} failed, {undecided} undecided", passed.len(), failed.len()));
    lines
}

impl Gate {
    /// Returns a warning when a percentage was likely meant and a limit on the value was given.
    pub(super) fn doubt(&self) -> Option<String> {
        let measured = !matches!(self.unit, Unit::Share | Unit::Percent | Unit::Ratio | Unit::Count);
        let likely = measured && !self.relative && !self.has_unit && self.limit.abs() <= MAX_LIKELY_PERCENT;
        likely.then(|| {
            format!(
                "warning: `{0}` limits the value to {1} {2}; for a change of {1} % write `{0}%`, to confirm the value `{0}{2}`",
                self.text,
                self.limit,
                short(self.unit)
            )
        })
    }

    /// Checks that it limits a value and not a change.
    ///
    /// # Errors
    /// When it limits a change, which a single run does not have.
    pub fn check_value(&self) -> Result<(), Error> {
        match self.relative {
            true => Err(Error::ChangeOfOneRun { gate: self.text.clone() }),
            false => Ok(()),
        }
    }

    fn nothing(&self, reason: String) -> Error {
        Error::NothingToGate { gate: self.text.clone(), key: self.key.clone(), reason }
    }

    /// A value with its unit.
    fn value(&self, value: f64) -> String {
        match self.unit {
            Unit::Share | Unit::Ratio | Unit::Count => number::figure(value),
            unit => format!("{} {}", number::figure(value), short(unit)),
        }
    }

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
            return Err(self.nothing(reason));
        }
        Ok(outcomes)
    }

    /// Of a limit on the value, which is that of the other side, as it was measured.
    fn of_value(&self, side: &Side, workload: &str) -> Option<Outcome> {
        let now = median(&known(&side.values(workload, &self.key)))?;
        let beyond = if self.above { now > self.limit } else { now < self.limit };
        let words = format!("{}: {} of {workload} is {}", self.text, self.key, self.value(now));
        Some(if beyond { Outcome::Failed(words) } else { Outcome::Passed(words) })
    }

    /// Of a limit on the change.
    fn outcome(&self, change: &Change) -> Outcome {
        let figure = &change.figure;
        let words = |more: &str| {
            let (text, key, workload) = (&self.text, &self.key, &figure.workload);
            let share = figure.change.map_or_else(String::new, |share| format!(", {:+.1} %", 100.0 * share));
            let (before, now) = (self.value(figure.before), self.value(figure.now));
            format!("{text}: {key} of {workload} went from {before} to {now}{share}{more}")
        };
        let undecided = |why: &str| Outcome::Undecided(words(&format!(": {why}")));
        if let Some(reason) = figure.reason.as_ref().filter(|_| change.is_disturbed) {
            return undecided(&format!("not judged, since {reason}"));
        }
        // Toward the limit is up from here on.
        let sign = if self.above { 1.0 } else { -1.0 };
        let limit = sign * self.limit;
        if figure.verdict == ChangeVerdict::NotJudged && figure.before == figure.now && limit >= 0.0 {
            return Outcome::Passed(words(""));
        }
        let Some(share) = figure.change.filter(|_| figure.verdict != ChangeVerdict::NotJudged) else {
            return undecided("a change from or to 0 has no percentage; give a limit on the value");
        };
        let Some((low, high)) = figure.interval else {
            return match figure.basis {
                Basis::Figures if sign * share > limit => Outcome::Failed(words(" (by the figures alone)")),
                Basis::Figures => Outcome::Passed(words(" (by the figures alone)")),
                _ => undecided(change.why.as_deref().unwrap_or("it has no interval")),
            };
        };
        let (nearer, farther) = if self.above { (low, high) } else { (-high, -low) };
        let range = format!("95 % interval {:+.1} to {:+.1} %", 100.0 * low, 100.0 * high);
        if farther <= limit {
            return Outcome::Passed(words(&format!(" ({range})")));
        }
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
        let gate: Gate = "goodput<2.5req/s".parse().unwrap();
        assert_eq!((gate.key(), gate.relative, gate.limit, gate.doubt()), ("goodput_rps", false, 2.5, None));
        let doubt = |text: &str| text.parse::<Gate>().unwrap().doubt();
        assert!(doubt("avg_tbt_ms>5").unwrap().contains("for a change of 5 % write `avg_tbt_ms>5%`"));
        for clear in ["avg_tbt_ms>5%", "avg_tbt_ms>5ms", "avg_ttft_ms>500", "error_rate>0.01"] {
            assert_eq!(doubt(clear), None, "{clear}");
        }
        for (text, reason) in [
            ("p99_ttft_ms", "has neither"),
            ("p99_tfft_ms>5%", "is not a metric"),
            ("avg_tbt_ms>5s", "is not the unit of `avg_tbt_ms`: give `ms`"),
            ("total_requests>5%", "neither more nor less of it is better"),
            ("error_rate>5%", "such as `error_rate>0.05` for 5 %"),
            ("p99_ttft_ms>fast", "is not a number"),
            ("p99_ttft_ms>inf", "is not a number"),
        ] {
            let error = text.parse::<Gate>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
