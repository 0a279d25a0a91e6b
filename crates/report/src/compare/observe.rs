//! What was observed in one run of one workload.

use std::collections::{BTreeMap, BTreeSet};

use sagellm_core::Record;
use sagellm_core::journal::{Close, Header};
use sagellm_stats::{Estimate, Interval, least_p_of_quantile};

use crate::WorkloadSummary;
use crate::journal::Look;

/// Degrees of freedom where a summary of a former version does not say from how many batches an interval comes: rather too
/// few.
const FEW_DEGREES: f64 = 9.0;

/// The figures of a run, with their intervals.
#[derive(Clone, Debug, Default)]
pub(super) struct Observations {
    pub(super) figures: BTreeMap<String, f64>,
    /// Why there is no figure.
    pub(super) reasons: BTreeMap<String, String>,
    estimates: BTreeMap<String, Estimate>,
    without: BTreeMap<String, NoInterval>,
}

/// Why a figure has no interval.
#[derive(Clone, Debug)]
pub(super) struct NoInterval {
    pub(super) reason: String,
    /// How many times more requests it needs, where that is known.
    pub(super) further: Option<u64>,
}

/// What comparisons need of the records: what the requests asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) ignore_eos: BTreeSet<bool>,
}

impl Observations {
    /// Figures of another tool.
    pub(super) fn of_figures(figures: BTreeMap<String, f64>) -> Self {
        Self { figures, ..Self::default() }
    }

    /// The figures of a summary, with its intervals.
    pub(super) fn of_summary(workload: &WorkloadSummary) -> Self {
        let figures = &workload.figures;
        let mut all = Self { figures: figures.values.clone(), reasons: figures.reasons.clone(), ..Self::default() };
        for (key, known) in &workload.details.intervals {
            let value = figures.values.get(key).copied();
            match value.and_then(|value| estimate(key, value, known)) {
                Some(estimate) => {
                    all.estimates.insert(key.clone(), estimate);
                }
                None => {
                    let Some(reason) = known.reason.clone() else { continue };
                    let times = |needed: u64| needed.div_ceil(known.n.max(1)).max(2) - 1;
                    let further = known.needed.map(times);
                    all.without.insert(key.clone(), NoInterval { reason, further });
                }
            }
        }
        all
    }

    /// Whether nothing is known of how exact its figures are.
    pub(super) fn is_bare(&self) -> bool {
        self.estimates.is_empty() && self.without.is_empty()
    }

    /// Why a figure has no interval; `None` when it has one.
    pub(super) fn no_interval(&self, key: &str) -> Option<NoInterval> {
        const UNSAID: &str = "one run each has no interval of it: repeat the runs (`run --repeat 5`)";
        let unsaid = || NoInterval { reason: UNSAID.into(), further: None };
        (!self.estimates.contains_key(key)).then(|| self.without.get(key).cloned().unwrap_or_else(unsaid))
    }

    /// A figure with its interval.
    pub(super) fn estimate(&self, key: &str) -> Option<Estimate> {
        self.estimates.get(key).copied()
    }
}

fn estimate(key: &str, value: f64, known: &crate::Interval) -> Option<Estimate> {
    let (low, high) = known.low.zip(known.high)?;
    let effective_n = known.effective_n?;
    let degrees = known.batches.map_or((effective_n - 1.0).min(FEW_DEGREES), |batches| batches as f64 - 1.0);
    let least_p = share_of(key).map_or(0.0, |share| least_p_of_quantile(share, effective_n));
    (degrees > 0.0).then_some(Estimate { value, interval: Interval { low, high }, degrees, least_p })
}

/// The share of a percentile, by its key.
fn share_of(key: &str) -> Option<f64> {
    Some(key.split('_').next()?.strip_prefix('p')?.parse::<f64>().ok()? / 100.0)
}

impl Look for Records {
    fn begin(_header: &Header) -> Self {
        Self::default()
    }

    fn record(&mut self, record: &Record) {
        if record.sent_ns.is_some() {
            self.ignore_eos.insert(record.ignore_eos);
        }
    }

    fn close(&mut self, _close: &Close) {}
}
