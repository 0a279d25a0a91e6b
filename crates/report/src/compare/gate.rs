//! Conditions under which a comparison fails: `p99_ttft_ms>5%`.

use std::str::FromStr;

use super::{Basis, ChangeVerdict, Raw};
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
        let form = "a condition reads KEY>LIMIT or KEY<LIMIT, such as `p99_ttft_ms>5%` or `output_throughput_tps<-5%`";
        let at = text.find(['>', '<']).ok_or_else(|| format!("`{text}` has neither `>` nor `<`: {form}"))?;
        let key = text[..at].trim();
        let metric = registry::find(key).ok_or_else(|| format!("`{key}` is no figure: {form}"))?;
        if !metric.headline || metric.better == Better::Neither {
            return Err(format!("`{key}` is not among the figures that are compared: {}", compared().join(", ")));
        }
        let limit = text[at + 1..].trim();
        let number = limit.strip_suffix('%').unwrap_or(limit).trim();
        let value: f64 = number.parse().map_err(|_| format!("`{limit}` is no number: {form}"))?;
        if !value.is_finite() {
            return Err(format!("`{limit}` is no number: {form}"));
        }
        let relative = limit.ends_with('%');
        let above = text[at..].starts_with('>');
        let limit = if relative { value / 100.0 } else { value };
        Ok(Self { text: text.to_owned(), key: key.to_owned(), above, limit, relative })
    }
}

/// The keys of the figures that are compared.
fn compared() -> Vec<&'static str> {
    let wanted = |metric: &&registry::Metric| metric.headline && metric.better != Better::Neither;
    registry::all().iter().filter(wanted).map(|metric| metric.key.as_str()).collect()
}

impl Gate {
    /// The workloads in which it failed, in words. A change fails the gate when it passes the limit and is no chance; where
    /// only figures are at hand, the figures decide, and the words say so.
    pub(super) fn failures(&self, all: &[Raw]) -> Vec<String> {
        let passes = |raw: &&Raw| {
            let figure = &raw.figure;
            let value = if self.relative { figure.change } else { figure.now };
            let beyond = if self.above { value > self.limit } else { value < self.limit };
            let sure = matches!(figure.verdict, ChangeVerdict::Better | ChangeVerdict::Worse);
            figure.key == self.key && beyond && (!self.relative || sure || figure.basis == Basis::Figures)
        };
        let words = |raw: &Raw| {
            let figure = &raw.figure;
            let unsure = if self.relative && figure.basis == Basis::Figures { " (by the figures alone)" } else { "" };
            format!(
                "{}: {} of {} went from {:.4} to {:.4}, {:+.1} %{unsure}",
                self.text,
                self.key,
                figure.workload,
                figure.before,
                figure.now,
                100.0 * figure.change
            )
        };
        all.iter().filter(passes).map(words).collect()
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
            ("total_requests>5%", "is not among"),
            ("p99_ttft_ms>fast", "is no number"),
            ("p99_ttft_ms>inf", "is no number"),
        ] {
            let error = text.parse::<Gate>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
