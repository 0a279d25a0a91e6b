//! Limits on percentiles, and whether a load keeps them.

use std::path::Path;
use std::str::FromStr;

use sagellm_core::{OutcomeKind, Record};
use sagellm_stats as stats;
use sagellm_stats::SequentialShare;

use super::Standing;
use crate::Error;
use crate::journal::read_records;
use crate::latency::Times;

/// A limit on a percentile, such as `p99_ttft_ms<500`.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    quantity: Quantity,
    /// The percentile, as a share.
    q: f64,
    limit_ms: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    Ttft,
    Tbt,
    E2e,
}

/// Limits that have to be kept together.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    text: String,
    limits: Vec<Limit>,
    /// Of each limit, its quantity of every request seen, in the order in which they ended; infinite of a failure.
    seen: Vec<Vec<f64>>,
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no limit: one reads `p99_ttft_ms<500`; it limits ttft, tbt or e2e");
        let (key, limit) = text.split_once('<').ok_or_else(wrong)?;
        let (stat, quantity) = key.trim().strip_suffix("_ms").and_then(|key| key.split_once('_')).ok_or_else(wrong)?;
        let quantity = match quantity {
            "ttft" => Quantity::Ttft,
            "tbt" => Quantity::Tbt,
            "e2e" => Quantity::E2e,
            _ => return Err(wrong()),
        };
        let percent: f64 = stat.strip_prefix('p').and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
        let limit_ms: f64 = limit.trim().parse().map_err(|_| wrong())?;
        let possible = percent > 0.0 && percent < 100.0 && limit_ms > 0.0 && limit_ms.is_finite();
        if possible { Ok(Self { quantity, q: percent / 100.0, limit_ms }) } else { Err(wrong()) }
    }
}

impl FromStr for Limits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limits = text.split(',').map(|limit| limit.trim().parse()).collect::<Result<Vec<Limit>, _>>()?;
        Ok(Self { text: text.to_owned(), seen: vec![Vec::new(); limits.len()], limits })
    }
}

impl Limits {
    /// As they were given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same, with nothing seen.
    pub fn anew(&self) -> Self {
        Self { seen: vec![Vec::new(); self.limits.len()], ..self.clone() }
    }

    /// Takes the measured requests of a journal.
    ///
    /// # Errors
    /// As `read_journal`.
    pub fn read(&mut self, journal: &Path) -> Result<(), Error> {
        read_records(journal, None, &mut |record| self.take(record)).map(drop)
    }

    fn take(&mut self, record: &Record) {
        let Some(sent) = record.sent_ns else { return };
        if record.outcome == OutcomeKind::Censored || record.outcome == OutcomeKind::NotSent {
            return;
        }
        let times = Times::of(record, sent).filter(|_| record.outcome == OutcomeKind::Success);
        for (limit, seen) in self.limits.iter().zip(&mut self.seen) {
            seen.extend(match (&times, limit.quantity) {
                (Some(times), Quantity::Ttft) => Some(times.ttft),
                (Some(times), Quantity::Tbt) => times.tbt,
                (Some(times), Quantity::E2e) => Some(times.e2e),
                // A failure took forever.
                (None, _) => Some(f64::INFINITY),
            });
        }
    }

    /// What is known by now, each decision wrong with a probability of at most `error`.
    ///
    /// A percentile is within its limit when the share of requests over the limit is below what it leaves. Neighbours in
    /// a queue are alike: all that was seen counts as many requests as it is worth at that percentile.
    pub fn standing(&self, error: f64) -> Standing {
        let error = error / self.limits.len() as f64;
        let mut within = true;
        for (limit, seen) in self.limits.iter().zip(&self.seen) {
            // The correlation is that of being over the limit or not.
            let over: Vec<bool> = seen.iter().map(|value| *value > limit.limit_ms).collect();
            let finite: Vec<f64> = seen.iter().map(|value| value.min(1e15)).collect();
            let worth = stats::quantile_effective_n(&finite, limit.q).map_or(1.0, |n| n / seen.len() as f64);
            let mut test = SequentialShare::new(1.0 - limit.q, error, worth);
            let mut standing = stats::Standing::Open;
            over.iter().for_each(|over| standing = test.push(*over));
            match standing {
                stats::Standing::Below => {}
                stats::Standing::Above => return Standing::Beyond,
                stats::Standing::Open => within = false,
            }
        }
        if within { Standing::Within } else { Standing::Open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written() {
        let limits: Limits = "p99_ttft_ms<500, p90_tbt_ms<50".parse().unwrap();
        assert_eq!(limits.limits[1], Limit { quantity: Quantity::Tbt, q: 0.9, limit_ms: 50.0 });
        for wrong in
            ["", "p99_ttft_ms", "avg_ttft_ms<5", "p99_itl_ms<5", "p99_ttft_ms<-1", "p100_ttft_ms<5", "p99_ttft_ms<x"]
        {
            assert!(wrong.parse::<Limits>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_load_is_within_beyond_or_not_known() {
        let standing = |values: &[f64]| {
            let mut limits: Limits = "p90_ttft_ms<100".parse().unwrap();
            limits.seen[0] = values.to_vec();
            limits.standing(0.01)
        };
        let mut random = stats::SplitMix64::new(1);
        let mut draw = |n: usize, slow: f64| -> Vec<f64> {
            (0..n).map(|_| if random.unit() < slow { f64::INFINITY } else { 50.0 + random.unit() }).collect()
        };
        assert_eq!(standing(&draw(500, 0.01)), Standing::Within);
        assert_eq!(standing(&draw(500, 0.3)), Standing::Beyond);
        assert_eq!(standing(&draw(500, 0.1)), Standing::Open);
        assert_eq!(standing(&[]), Standing::Open);
    }
}
