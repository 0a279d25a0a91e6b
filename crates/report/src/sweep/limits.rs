//! Limits on percentiles, as they are written.

use std::str::FromStr;

use super::Timing;

/// A limit on a percentile, such as `p99_ttft_ms<500`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    quantity: Quantity,
    /// The percentile, as a share.
    pub(super) q: f64,
    pub(super) limit_ms: f64,
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
        Ok(Self { text: text.to_owned(), limits })
    }
}

impl Limits {
    /// As they were given.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn each(&self) -> &[Limit] {
        &self.limits
    }
}

impl Limit {
    /// What it limits of a request; `None` when the request has none of it.
    pub(super) fn of(&self, timing: &Timing) -> Option<f64> {
        match self.quantity {
            Quantity::Ttft => Some(timing.ttft),
            Quantity::Tbt => timing.tbt,
            Quantity::E2e => Some(timing.e2e),
        }
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
}
