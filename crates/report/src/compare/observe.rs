//! What was observed in one run of one workload.

use std::collections::BTreeMap;

use sagellm_core::journal::{Close, Header};
use sagellm_core::{OutcomeKind, Record, ms, seconds};
use sagellm_stats::{Estimate, Interval, least_p_of_quantile};

use crate::journal::Look;
use crate::workload as summary;

/// Seed of the bootstraps: a comparison of the same files is the same every time.
const SEED: u64 = 0;

/// Degrees of freedom of a bootstrap whose number of blocks is not known: rather too few.
const FEW_BLOCKS: f64 = 9.0;

/// The figures of a run, and the records behind them where these are at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Observations {
    pub(super) figures: BTreeMap<String, f64>,
    records: Option<Records>,
    /// What a summary says of its figures, where there are no records.
    estimates: BTreeMap<String, Estimate>,
}

/// What comparisons need of the records, in the order in which the requests ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    ttft: Vec<f64>,
    tbt: Vec<f64>,
    tpot: Vec<f64>,
    e2e: Vec<f64>,
    user_rate: Vec<f64>,
    /// End, input tokens and output tokens; none of a failure.
    ends: Vec<(u64, f64, f64, f64)>,
    first_sent: Option<u64>,
    /// Requests in flight at most, as the block of a bootstrap.
    peak: usize,
}

impl Observations {
    pub(super) fn of_figures(figures: BTreeMap<String, f64>) -> Self {
        Self { figures, ..Self::default() }
    }

    /// The figures of a summary, with the intervals that stand in it.
    pub(super) fn of_summary(figures: BTreeMap<String, f64>, intervals: &BTreeMap<String, summary::Interval>) -> Self {
        let estimate = |(key, known): (&String, &summary::Interval)| {
            let (low, high) = known.low.zip(known.high)?;
            let effective_n = known.effective_n?;
            // The summary does not say how many blocks there were.
            let most = if known.method == summary::Method::BlockBootstrap { FEW_BLOCKS } else { f64::INFINITY };
            let degrees = (effective_n - 1.0).min(most);
            let value = *figures.get(key)?;
            let least_p = least_p(key, effective_n);
            let estimate = Estimate { value, interval: Interval { low, high }, degrees, least_p };
            (degrees > 0.0).then(|| (key.clone(), estimate))
        };
        let estimates = intervals.iter().filter_map(estimate).collect();
        Self { figures, records: None, estimates }
    }

    pub(super) fn of_run(figures: BTreeMap<String, f64>, mut records: Records) -> Self {
        records.peak = figures.get("peak_concurrency").map_or(1, |peak| *peak as usize);
        Self { figures, records: Some(records), ..Self::default() }
    }

    /// A figure with its interval: from the records, else as the summary has it.
    pub(super) fn estimate(&self, key: &str) -> Option<Estimate> {
        let Some(records) = &self.records else { return self.estimates.get(key).copied() };
        match key {
            "request_throughput_rps" => return records.throughput(|(_, one, _, _)| one),
            "input_throughput_tps" => return records.throughput(|(_, _, input, _)| input),
            "output_throughput_tps" => return records.throughput(|(_, _, _, output)| output),
            "total_throughput_tps" => return records.throughput(|(_, _, input, output)| input + output),
            "avg_throughput_tps" => return Estimate::mean(&records.user_rate, SEED),
            _ => {}
        }
        let (stat, quantity) = key.strip_suffix("_ms")?.split_once('_')?;
        let values = match quantity {
            "ttft" => &records.ttft,
            "tbt" => &records.tbt,
            "tpot" => &records.tpot,
            "e2e" => &records.e2e,
            _ => return None,
        };
        match stat {
            "avg" => Estimate::mean(values, SEED),
            _ => Estimate::quantile(values, stat.strip_prefix('p')?.parse::<f64>().ok()? / 100.0),
        }
    }
}

/// The smallest p-value that can be told of a figure from the interval of its summary.
fn least_p(key: &str, effective_n: f64) -> f64 {
    let percent = key.split('_').next().and_then(|stat| stat.strip_prefix('p')?.parse::<f64>().ok());
    percent.map_or(0.0, |percent| least_p_of_quantile(percent / 100.0, effective_n))
}

impl Look for Records {
    fn begin(_header: &Header) -> Self {
        Self::default()
    }

    fn record(&mut self, record: &Record) {
        let Some(sent) = record.sent_ns else { return };
        self.first_sent = Some(self.first_sent.map_or(sent, |first| first.min(sent)));
        let success = record.outcome == OutcomeKind::Success;
        let (input, output) = (f64::from(record.input_tokens), f64::from(record.output_tokens));
        self.ends.push(if success { (record.end_ns, 1.0, input, output) } else { (record.end_ns, 0.0, 0.0, 0.0) });
        let (true, Some(first), Some(last)) = (success, record.first_token_ns, record.last_token_ns) else { return };
        let later = record.output_tokens.saturating_sub(record.chunks.first().map_or(0, |chunk| chunk.tokens));
        let e2e = ms(last.saturating_sub(sent));
        self.ttft.push(ms(first.saturating_sub(sent)));
        self.e2e.push(e2e);
        if later > 0 {
            self.tbt.push(ms(last.saturating_sub(first)) / f64::from(later));
        }
        if output > 0.0 && e2e > 0.0 {
            self.tpot.push(e2e / output);
            self.user_rate.push(output / (e2e / 1e3));
        }
    }

    fn close(&mut self, _close: &Close) {}
}

impl Records {
    /// Something per second of the window: what each end brings, over the time since the end before.
    fn throughput(&self, amount: impl Fn((u64, f64, f64, f64)) -> f64) -> Option<Estimate> {
        let mut before = self.first_sent?;
        let pairs: Vec<(f64, f64)> = self
            .ends
            .iter()
            .map(|end| {
                let time = seconds(end.0.saturating_sub(before));
                before = before.max(end.0);
                (amount(*end), time)
            })
            .collect();
        Estimate::ratio(&pairs, self.peak, SEED)
    }
}
