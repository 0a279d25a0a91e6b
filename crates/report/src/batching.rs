//! How many requests an interval needs, and into which batches they fall: from the kind of load and the number of requests.

use sagellm_core::{Arrival, Workload};
use sagellm_stats as stats;
use sagellm_stats::Batches;

/// Requests of a closed loop from which on a quantile has an interval: of 100 requests of varied lengths, that of the median held
/// the truth 86 times of 100 (`tests/coverage.rs`).
const FEWEST_FOR_QUANTILE: u64 = 250;

/// How requests came.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// At times that do not depend on the answers.
    Open,
    /// As fast as the answers, or all at once: so many at most ran at once.
    Closed { peak: u64 },
}

/// Why there is no interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TooFew {
    pub(crate) reason: String,
    /// Requests that it needs.
    pub(crate) needed: u64,
}

impl Load {
    pub(crate) fn of(workload: &Workload, peak: u64) -> Self {
        if workload.arrival == Arrival::Immediate { Self::Closed { peak: peak.max(1) } } else { Self::Open }
    }

    /// The batches that show how far the mean of `n` requests can be off.
    pub(crate) fn mean(self, n: u64) -> Result<Batches, TooFew> {
        match self {
            Self::Open => Batches::of_open_loop(n).ok_or_else(|| open(n, "a mean", Batches::open_loop_needs(0.5))),
            Self::Closed { peak } => Batches::of_closed_loop(n, peak).ok_or_else(|| closed(n, peak)),
        }
    }

    /// The same of a quantile.
    pub(crate) fn quantile(self, n: u64, q: f64) -> Result<Batches, TooFew> {
        match self {
            Self::Open => {
                let needed = Batches::open_loop_needs(q);
                Batches::of_open_loop(n).filter(|_| n >= needed).ok_or_else(|| open(n, "this percentile", needed))
            }
            Self::Closed { peak } => {
                let needed = Batches::closed_loop_needs(peak).max(Batches::quantile_needs(q)).max(FEWEST_FOR_QUANTILE);
                let found = Batches::of_closed_loop(n, peak).ok_or_else(|| TooFew { needed, ..closed(n, peak) })?;
                (n >= needed).then_some(found).ok_or_else(|| TooFew {
                    reason: format!("only {}: an interval of this percentile needs {needed}", requests(n)),
                    needed,
                })
            }
        }
    }

    /// The same of a throughput that does not depend on how long requests took: under open-loop load it is that of the
    /// arrivals.
    pub(crate) fn throughput(self, n: u64) -> Result<Batches, TooFew> {
        match self {
            Self::Open => {
                let needed = Batches::arrivals_need();
                Batches::of_arrivals(n).ok_or_else(|| TooFew {
                    reason: format!("only {}: an interval of the arrivals of an open loop needs {needed}", requests(n)),
                    needed,
                })
            }
            Self::Closed { .. } => self.mean(n),
        }
    }
}

fn open(n: u64, of: &str, needed: u64) -> TooFew {
    let reason = format!(
        "only {}: requests that wait in the same queue are alike, and under open-loop load an interval of {of} needs \
         {needed} of them in one run, or repeated runs (`run --repeat 5`)",
        requests(n)
    );
    TooFew { reason, needed }
}

fn closed(n: u64, peak: u64) -> TooFew {
    let needed = Batches::closed_loop_needs(peak);
    let reason = if n < stats::FEWEST as u64 {
        format!("only {}: an interval needs {needed}", requests(n))
    } else {
        format!("up to {peak} of {} ran at once: too few rounds to see how they vary", requests(n))
    };
    TooFew { reason, needed }
}

pub(crate) fn requests(n: u64) -> String {
    if n == 1 { "1 request".into() } else { format!("{n} requests") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_load_and_the_number_decide() {
        let closed = Load::Closed { peak: 20 };
        assert!(closed.mean(99).is_err() && closed.mean(100).is_ok());
        assert_eq!(closed.mean(99).unwrap_err().needed, 100);
        assert_eq!(closed.mean(5).unwrap_err().reason, "only 5 requests: an interval needs 100");
        let needed = [0.5, 0.95, 0.99].map(|q| closed.quantile(1, q).unwrap_err().needed);
        assert_eq!(needed, [250, 250, 1000]);
        assert!(closed.quantile(249, 0.95).is_err() && closed.quantile(250, 0.95).is_ok());
        assert!(Load::Open.mean(4999).is_err() && Load::Open.mean(5000).is_ok());
        assert!(Load::Open.quantile(49_999, 0.95).is_err() && Load::Open.quantile(50_000, 0.95).is_ok());
        assert!(Load::Open.throughput(249).is_err() && Load::Open.throughput(250).is_ok());
        assert!(closed.throughput(99).is_err() && closed.throughput(100).is_ok());
    }
}
