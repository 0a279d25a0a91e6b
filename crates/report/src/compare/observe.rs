//! What was observed in one run of one workload.

use std::collections::{BTreeMap, BTreeSet};

use sagellm_core::journal::{Close, Header};
use sagellm_core::{OutcomeKind, Record, seconds};
use sagellm_stats::{Estimate, FEWEST, Interval, least_p_of_quantile};

use crate::goodput::Goodput;
use crate::journal::Look;
use crate::latency::{Times, too_few};
use crate::workload::{Method, WorkloadSummary};

/// Seed of the bootstraps: a comparison of the same files is the same every time.
const SEED: u64 = 0;

/// Degrees of freedom of a bootstrap whose number of blocks is not known: rather too few.
const FEW_BLOCKS: f64 = 9.0;

/// The figures of a run, and the records behind them where these are at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Observations {
    pub(super) figures: BTreeMap<String, f64>,
    /// Why there is no figure.
    pub(super) reasons: BTreeMap<String, String>,
    records: Option<Records>,
    /// What a summary says of its figures, where there are no records.
    estimates: BTreeMap<String, Estimate>,
    /// And why it has no interval of others.
    no_interval: BTreeMap<String, String>,
}

/// What comparisons need of the records, in the order in which the requests ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    ttft: Vec<f64>,
    tbt: Vec<f64>,
    tpot: Vec<f64>,
    e2e: Vec<f64>,
    user_rate: Vec<f64>,
    /// Of a failure nothing but its end.
    ends: Vec<End>,
    first_sent: Option<u64>,
    /// Requests in flight at most, as the block of a bootstrap.
    peak: usize,
    goodput: Option<Goodput>,
    /// What the requests asked for.
    pub(super) ignore_eos: BTreeSet<bool>,
}

/// The end of a request, and what it brought.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    at_ns: u64,
    done: f64,
    input: f64,
    output: f64,
    good: f64,
}

impl Observations {
    /// Figures of another tool.
    pub(super) fn of_figures(figures: BTreeMap<String, f64>) -> Self {
        Self { figures, ..Self::default() }
    }

    /// The figures of a summary, with the intervals that stand in it.
    pub(super) fn of_summary(workload: &WorkloadSummary) -> Self {
        let figures = &workload.figures;
        let estimate = |(key, known): (&String, &crate::Interval)| {
            let (low, high) = known.low.zip(known.high)?;
            let effective_n = known.effective_n?;
            // The summary does not say how many blocks there were.
            let most = if known.method == Method::BlockBootstrap { FEW_BLOCKS } else { f64::INFINITY };
            let degrees = (effective_n - 1.0).min(most);
            let value = *figures.values.get(key)?;
            let least_p = least_p(key, effective_n);
            let estimate = Estimate { value, interval: Interval { low, high }, degrees, least_p };
            (degrees > 0.0).then(|| (key.clone(), estimate))
        };
        let intervals = &workload.details.intervals;
        let reason = |(key, known): (&String, &crate::Interval)| Some((key.clone(), known.reason.clone()?));
        Self {
            figures: figures.values.clone(),
            reasons: figures.reasons.clone(),
            records: None,
            estimates: intervals.iter().filter_map(estimate).collect(),
            no_interval: intervals.iter().filter_map(reason).collect(),
        }
    }

    pub(super) fn of_run(workload: &WorkloadSummary, mut records: Records) -> Self {
        records.peak = workload.get("peak_concurrency").map_or(1, |peak| peak as usize);
        let figures = workload.figures.clone();
        Self { figures: figures.values, reasons: figures.reasons, records: Some(records), ..Self::default() }
    }

    /// Whether nothing is known of how exact its figures are.
    pub(super) fn is_bare(&self) -> bool {
        self.records.is_none() && self.estimates.is_empty()
    }

    /// Why a figure has no interval: as its summary says, or, where the records are at hand, because too many of the
    /// requests ran at once. `None` where neither is so.
    pub(super) fn no_interval(&self, key: &str) -> Option<String> {
        const UNSAID: &str =
            "its summary has no interval of it: give the folder of the run, or repeat the runs (`run --repeat 5`)";
        match &self.records {
            Some(records) => records.too_few_rounds(key),
            None if self.estimates.contains_key(key) => None,
            None => Some(self.no_interval.get(key).map_or(UNSAID, String::as_str).to_owned()),
        }
    }

    /// Requests behind a percentile, where the records are at hand.
    pub(super) fn requests(&self, key: &str) -> Option<usize> {
        Some(self.records.as_ref()?.of(quantity_of(key)?)?.len())
    }

    /// A figure with its interval: from the records, else as the summary has it.
    pub(super) fn estimate(&self, key: &str) -> Option<Estimate> {
        let Some(records) = &self.records else { return self.estimates.get(key).copied() };
        match key {
            "request_throughput_rps" => return records.throughput(|end| end.done),
            "input_throughput_tps" => return records.throughput(|end| end.input),
            "output_throughput_tps" => return records.throughput(|end| end.output),
            "total_throughput_tps" => return records.throughput(|end| end.input + end.output),
            "goodput_rps" => return records.goodput.as_ref().and_then(|_| records.throughput(|end| end.good)),
            "avg_throughput_tps" => return Estimate::mean(&records.user_rate, records.peak, SEED),
            _ => {}
        }
        let (stat, quantity) = key.strip_suffix("_ms")?.split_once('_')?;
        let values = records.of(quantity)?;
        match stat {
            "avg" => Estimate::mean(values, records.peak, SEED),
            _ if records.too_few_rounds(key).is_some() => None,
            _ => Estimate::quantile(values, share_of(key)?),
        }
    }
}

impl Records {
    /// Why the requests are too few for the interval of a percentile, where they are enough by their number alone: those
    /// that ran at once share what happened to them, and what a report does not claim no comparison may.
    fn too_few_rounds(&self, key: &str) -> Option<String> {
        share_of(key)?;
        let n = self.of(quantity_of(key)?)?.len();
        too_few(n as u64, self.peak as u64, FEWEST).filter(|_| n >= FEWEST)
    }
}

/// The latency that a key is about.
fn quantity_of(key: &str) -> Option<&str> {
    Some(key.strip_suffix("_ms")?.split_once('_')?.1)
}

/// The share of a percentile, by its key.
pub(super) fn share_of(key: &str) -> Option<f64> {
    Some(key.split('_').next()?.strip_prefix('p')?.parse::<f64>().ok()? / 100.0)
}

/// The smallest p-value that can be told of a figure from the interval of its summary.
fn least_p(key: &str, effective_n: f64) -> f64 {
    share_of(key).map_or(0.0, |share| least_p_of_quantile(share, effective_n))
}

impl Look for Records {
    fn begin(header: &Header) -> Self {
        Self { goodput: header.workload.goodput.clone().map(Goodput::new), ..Self::default() }
    }

    fn record(&mut self, record: &Record) {
        let Some(sent) = record.sent_ns else { return };
        self.ignore_eos.insert(record.ignore_eos);
        self.first_sent = Some(self.first_sent.map_or(sent, |first| first.min(sent)));
        let at_ns = record.end_ns;
        if record.outcome != OutcomeKind::Success {
            self.ends.push(End { at_ns, ..End::default() });
            return;
        }
        let times = Times::of(record, sent);
        let good = self.goodput.as_mut().is_some_and(|goodput| goodput.push(times.as_ref()));
        let (input, output) = (f64::from(record.input_tokens), f64::from(record.output_tokens));
        self.ends.push(End { at_ns, done: 1.0, input, output, good: f64::from(u8::from(good)) });
        let Some(Times { ttft, e2e, tbt }) = times else { return };
        self.ttft.push(ttft);
        self.e2e.push(e2e);
        self.tbt.extend(tbt);
        if output > 0.0 && e2e > 0.0 {
            self.tpot.push(e2e / output);
            self.user_rate.push(output / (e2e / 1e3));
        }
    }

    fn close(&mut self, _close: &Close) {}
}

impl Records {
    fn of(&self, quantity: &str) -> Option<&[f64]> {
        Some(match quantity {
            "ttft" => &self.ttft,
            "tbt" => &self.tbt,
            "tpot" => &self.tpot,
            "e2e" => &self.e2e,
            _ => return None,
        })
    }

    /// Something per second of the window: what each end brings, over the time since the end before.
    fn throughput(&self, amount: impl Fn(&End) -> f64) -> Option<Estimate> {
        let mut before = self.first_sent?;
        let pairs: Vec<(f64, f64)> = self
            .ends
            .iter()
            .map(|end| {
                let time = seconds(end.at_ns.saturating_sub(before));
                before = before.max(end.at_ns);
                (amount(end), time)
            })
            .collect();
        Estimate::ratio(&pairs, self.peak, SEED)
    }
}
