//! The formulas: from a sample to its figures.

use std::collections::BTreeMap;

use sagellm_core::journal::{Close, Memory};
use sagellm_core::{Arrival, BackendStats, Measured, Mode, OutcomeKind, Workload, ms, seconds};
use sagellm_stats as stats;

use crate::registry::{self, Stat};
use crate::sample::Sample;
use crate::workload::{Interval, Method};

/// The journal says nothing about the backend and memory before its closing line.
const NO_CLOSE: &str = "the journal has no closing line: the run did not end";

/// Seed of the resampling. A constant, so that the same records give the same interval.
const SEED: u64 = 0x5a6e_11b3;

/// The figures of one workload: a number, or the reason why there is none, for every key of the registry.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) values: BTreeMap<String, f64>,
    pub(crate) reasons: BTreeMap<String, String>,
}

impl Figures {
    fn set(&mut self, key: &str, value: Option<f64>, reason: &str) {
        debug_assert!(registry::find(key).is_some(), "`{key}` is not in the registry");
        match value.filter(|value| value.is_finite()) {
            Some(value) => self.values.insert(key.into(), value).map(|_| ()),
            None => self.reasons.insert(key.into(), reason.into()).map(|_| ()),
        };
    }

    fn set_measured(&mut self, key: &str, measured: &Measured<f64>) {
        let reason = measured.reason.as_deref().unwrap_or("the run gives no reason");
        self.set(key, measured.value, reason);
    }

    fn describe(&mut self, quantity: &str, of: &[Stat], values: &[f64], reason: &str) {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        for stat in of {
            let value = statistic(*stat, values, &sorted);
            let reason = if *stat == Stat::Std && values.len() == 1 { "one value has no spread" } else { reason };
            self.set(&stat.key(quantity), value, reason);
        }
    }
}

fn statistic(stat: Stat, values: &[f64], sorted: &[f64]) -> Option<f64> {
    match stat {
        Stat::Avg => stats::mean(values),
        Stat::Std => stats::sample_std(values),
        Stat::Min => sorted.first().copied(),
        Stat::Max => sorted.last().copied(),
        Stat::Percentile(_, q) => stats::quantile(sorted, q),
    }
}

/// All figures of a sample and the intervals of the headline ones.
pub(crate) fn compute(sample: &Sample, close: Option<&Close>) -> (Figures, BTreeMap<String, Interval>) {
    let mut figures = Figures::default();
    let mut intervals = BTreeMap::new();
    let series = Series::of(sample);
    latencies(&mut figures, sample, &series);
    delays(&mut figures, sample);
    throughput(&mut figures, sample, &series);
    reliability(&mut figures, sample);
    load(&mut figures, sample);
    memory(&mut figures, close.map(|close| &close.memory));
    cache(&mut figures, close.map(|close| &close.backend));
    match close {
        Some(close) => figures.set_measured("client_cpu_percent", &close.client_cpu_percent),
        None => figures.set("client_cpu_percent", None, NO_CLOSE),
    }
    for (quantity, values) in
        [("ttft", &series.ttft), ("tbt", &series.tbt), ("tpot", &series.tpot), ("e2e", &series.e2e)]
    {
        for stat in [Stat::Avg, Stat::P50, Stat::P95, Stat::P99] {
            let key = stat.key(quantity);
            if registry::find(&key).is_some_and(|metric| metric.headline) {
                let interval = match stat {
                    Stat::Percentile(_, q) => quantile_interval(values, q),
                    _ => mean_interval(values),
                };
                intervals.insert(key, interval);
            }
        }
    }
    intervals.insert("avg_throughput_tps".into(), mean_interval(&series.user_rate));
    throughput_intervals(&mut intervals, sample, figures.values.get("peak_concurrency").copied());
    (figures, intervals)
}

/// Per-request latencies of the successes, in the order of sending. In milliseconds but for the rate, which is in tokens
/// per second.
#[derive(Default)]
struct Series {
    ttft: Vec<f64>,
    tbt: Vec<f64>,
    tpot: Vec<f64>,
    e2e: Vec<f64>,
    user_rate: Vec<f64>,
    scheduled_ttft: Vec<f64>,
    scheduled_tpot: Vec<f64>,
    scheduled_e2e: Vec<f64>,
}

impl Series {
    fn of(sample: &Sample) -> Self {
        let mut series = Self::default();
        for (request, success) in sample.successes() {
            let (Some((first, last)), n) = (success.tokens, success.output_tokens) else { continue };
            let (n, after_first) = (f64::from(n), n.saturating_sub(success.first_chunk_tokens));
            let e2e = ms(last - request.sent);
            let waited = signed_ms(request.scheduled, request.sent);
            series.ttft.push(ms(first - request.sent));
            series.e2e.push(e2e);
            series.scheduled_ttft.push(ms(first - request.sent) + waited);
            series.scheduled_e2e.push(e2e + waited);
            if after_first > 0 {
                series.tbt.push(ms(last - first) / f64::from(after_first));
            }
            if n > 0.0 {
                series.tpot.push(e2e / n);
                series.scheduled_tpot.push((e2e + waited) / n);
                if e2e > 0.0 {
                    series.user_rate.push(n / (e2e / 1e3));
                }
            }
        }
        series
    }
}

/// From `from` to `to` in milliseconds, negative when `to` is earlier.
fn signed_ms(from: u64, to: u64) -> f64 {
    if to >= from { ms(to - from) } else { -ms(from - to) }
}

fn latencies(figures: &mut Figures, sample: &Sample, series: &Series) {
    let no_token = match sample.count(OutcomeKind::Success) {
        0 => "no request succeeded",
        _ => "no successful request has a token",
    };
    let one_chunk = if series.ttft.is_empty() { no_token } else { "every answer came in one chunk" };
    figures.describe("ttft", &Stat::ALL, &series.ttft, no_token);
    figures.describe("tbt", &Stat::ALL, &series.tbt, one_chunk);
    figures.describe("tpot", &Stat::ALL, &series.tpot, no_token);
    figures.describe("itl", &Stat::ALL, &sample.gaps, one_chunk);
    figures.describe("itl_token", &Stat::ALL, &sample.token_gaps, one_chunk);
    figures.describe("e2e", &Stat::ALL, &series.e2e, no_token);
    let scheduled = [
        ("ttft_from_schedule", &series.scheduled_ttft),
        ("tpot_from_schedule", &series.scheduled_tpot),
        ("e2e_from_schedule", &series.scheduled_e2e),
    ];
    for (quantity, values) in scheduled {
        match no_schedule(&sample.header.workload) {
            Some(reason) => figures.describe(quantity, &Stat::ALL, &[], reason),
            None => figures.describe(quantity, &Stat::ALL, values, no_token),
        }
    }
}

/// Why a workload has no schedule to measure from, if it has none.
fn no_schedule(workload: &Workload) -> Option<&'static str> {
    let closed_loop =
        workload.mode == Mode::Traffic && workload.arrival == Arrival::Immediate && workload.max_concurrency.is_some();
    closed_loop.then_some("the workload is a closed loop: a request is due when another ends, not by a schedule")
}

fn delays(figures: &mut Figures, sample: &Sample) {
    const NOTHING_SENT: &str = "no request was sent";
    let waits: Vec<f64> = sample.sent.iter().map(|request| signed_ms(request.scheduled, request.sent)).collect();
    let workload = &sample.header.workload;
    match no_schedule(workload) {
        Some(reason) => figures.describe("queue_client", &Stat::DELAY, &[], reason),
        None => figures.describe("queue_client", &Stat::DELAY, &waits, NOTHING_SENT),
    }
    if workload.max_concurrency.is_some() {
        let reason = "a concurrency cap holds requests back on purpose: see queue_client_ms";
        figures.describe("schedule_lag", &Stat::DELAY, &[], reason);
    } else {
        figures.describe("schedule_lag", &Stat::DELAY, &waits, NOTHING_SENT);
    }
}

fn throughput(figures: &mut Figures, sample: &Sample, series: &Series) {
    let no_rate = match sample.count(OutcomeKind::Success) {
        0 => "no request succeeded",
        _ => "no successful request took time for its tokens",
    };
    figures.set("avg_throughput_tps", stats::mean(&series.user_rate), no_rate);
    let window = sample.window().map(|(first, last)| seconds(last - first));
    figures.set("total_time_s", window, "no request was sent");
    let no_window = if window.is_some() { "the window has no length" } else { "no request was sent" };
    let (input, output) = token_sums(sample);
    let done = sample.count(OutcomeKind::Success) as f64;
    let rates = [
        ("request_throughput_rps", done),
        ("input_throughput_tps", input),
        ("output_throughput_tps", output),
        ("total_throughput_tps", input + output),
    ];
    for (key, amount) in rates {
        figures.set(key, window.filter(|window| *window > 0.0).map(|window| amount / window), no_window);
    }
}

fn token_sums(sample: &Sample) -> (f64, f64) {
    let sum = |(input, output): (u64, u64), (_, success): (_, &crate::sample::Success)| {
        (input + u64::from(success.input_tokens), output + u64::from(success.output_tokens))
    };
    let (input, output) = sample.successes().fold((0, 0), sum);
    (input as f64, output as f64)
}

fn reliability(figures: &mut Figures, sample: &Sample) {
    let (total, failed) = (sample.total() as f64, sample.failed() as f64);
    let (input, output) = token_sums(sample);
    figures.set("total_requests", Some(total), "");
    figures.set("successful_requests", Some(sample.count(OutcomeKind::Success) as f64), "");
    figures.set("failed_requests", Some(failed), "");
    figures.set("total_input_tokens", Some(input), "");
    figures.set("total_output_tokens", Some(output), "");
    figures.set("error_rate", (total > 0.0).then(|| failed / total), "there was no request");
}

fn load(figures: &mut Figures, sample: &Sample) {
    let spans: Vec<_> = sample.sent.iter().map(|request| (request.sent, request.end)).collect();
    let concurrency = stats::concurrency(&spans);
    figures.set("peak_concurrency", concurrency.map(|it| it.peak as f64), "no request took any time");
    figures.set("avg_concurrency", concurrency.map(|it| it.average), "no request took any time");
    let chunks = &sample.chunks;
    let some = chunks.count > 0;
    figures.set("avg_chunk_tokens", some.then(|| chunks.tokens as f64 / chunks.count as f64), "no chunk came");
    figures.set("max_chunk_tokens", some.then(|| f64::from(chunks.most)), "no chunk came");
}

fn memory(figures: &mut Figures, memory: Option<&Memory>) {
    const MEBIBYTE: f64 = 1_048_576.0;
    let (baseline, peak, avg) = match memory {
        Some(memory) => (
            memory.baseline_bytes.clone().map(|bytes| bytes as f64),
            memory.peak_bytes.clone().map(|bytes| bytes as f64),
            memory.avg_bytes.clone(),
        ),
        None => (Measured::unknown(NO_CLOSE), Measured::unknown(NO_CLOSE), Measured::unknown(NO_CLOSE)),
    };
    let raw = [("mem_baseline_mb", &baseline), ("mem_peak_raw_mb", &peak), ("mem_avg_raw_mb", &avg)];
    for (key, bytes) in raw {
        figures.set_measured(key, &bytes.clone().map(|bytes| bytes / MEBIBYTE));
    }
    for (key, bytes) in [("peak_mem_mb", &peak), ("avg_mem_mb", &avg)] {
        figures.set_measured(key, &combine(bytes, &baseline, |bytes, baseline| (bytes - baseline) / MEBIBYTE));
    }
}

fn cache(figures: &mut Figures, backend: Option<&BackendStats>) {
    let Some(backend) = backend else {
        for metric in registry::all().iter().filter(|metric| metric.group == registry::Group::Cache) {
            figures.set(&metric.key, None, NO_CLOSE);
        }
        return;
    };
    let counts = [
        ("kv_used_tokens", &backend.kv_used_tokens),
        ("kv_used_bytes", &backend.kv_used_bytes),
        ("kv_capacity_tokens", &backend.kv_capacity_tokens),
        ("evict_count", &backend.evict_count),
        ("preemptions", &backend.preemptions),
    ];
    for (key, count) in counts {
        figures.set_measured(key, &real(count));
    }
    figures.set_measured("evict_ms", &backend.evict_ms);
    let (hits, lookups) = (real(&backend.prefix_hit_tokens), real(&backend.prefix_lookup_tokens));
    match lookups.value {
        Some(0.0) => figures.set("prefix_hit_rate", None, "no prompt token was looked up in the prefix cache"),
        _ => figures.set_measured("prefix_hit_rate", &combine(&hits, &lookups, |hits, lookups| hits / lookups)),
    }
    let (accepted, drafted) = (real(&backend.spec_accepted_tokens), real(&backend.spec_drafted_tokens));
    // Nothing drafted is speculative decoding switched off: the contract wants a zero for that.
    let rate = |accepted: f64, drafted: f64| if drafted == 0.0 { 0.0 } else { accepted / drafted };
    figures.set_measured("spec_accept_rate", &combine(&accepted, &drafted, rate));
}

fn real(count: &Measured<u64>) -> Measured<f64> {
    count.clone().map(|count| count as f64)
}

/// A figure made of two; it is unknown for the reason of the first that is.
fn combine(a: &Measured<f64>, b: &Measured<f64>, of: impl FnOnce(f64, f64) -> f64) -> Measured<f64> {
    match (a.value, b.value) {
        (Some(a), Some(b)) => Measured::known(of(a, b)),
        (None, _) => a.clone(),
        (_, None) => b.clone(),
    }
}

fn mean_interval(values: &[f64]) -> Interval {
    let found = stats::mean_interval(values, SEED);
    let reason = too_few(values.len()).unwrap_or_else(|| "the values do not vary about a positive mean".into());
    Interval::new(found, values, Method::BlockBootstrap, reason)
}

fn quantile_interval(values: &[f64], q: f64) -> Interval {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let found = stats::quantile_interval(&sorted, q);
    let fewest = stats::values_for_quantile_interval(q).unwrap_or(u64::MAX);
    let reason = format!("only {}: an interval of this percentile needs {fewest}", requests(values.len()));
    Interval::new(found, values, Method::OrderStatistics, reason)
}

/// Throughput is a ratio of sums: the window is the sum of the times from one end to the next, so pairs of (amount, time
/// since the former end) are resampled. Requests that ran together end together: a block holds at least as many
/// requests as ran at once.
fn throughput_intervals(intervals: &mut BTreeMap<String, Interval>, sample: &Sample, peak: Option<f64>) {
    let mut by_end: Vec<_> = sample.sent.iter().collect();
    by_end.sort_by_key(|request| request.end);
    let mut former = sample.window().map_or(0, |(first, _)| first);
    let mut amounts: [Vec<(f64, f64)>; 4] = Default::default();
    for request in by_end {
        let time = seconds(request.end - former);
        former = request.end;
        let (input, output) =
            request.success.as_ref().map_or((0.0, 0.0), |it| (f64::from(it.input_tokens), f64::from(it.output_tokens)));
        let done = if request.success.is_some() { 1.0 } else { 0.0 };
        for (series, amount) in amounts.iter_mut().zip([done, input, output, input + output]) {
            series.push((amount, time));
        }
    }
    let n = sample.sent.len();
    let peak = peak.unwrap_or(1.0) as usize;
    let block = stats::block_length(n).max(peak);
    let reason = too_few(n).unwrap_or_else(|| {
        if n / block < stats::FEWEST_BLOCKS {
            format!("up to {peak} of {} ran at once: too few rounds to see how they vary", requests(n))
        } else {
            "too many requests without tokens or without time between them".into()
        }
    });
    let keys = ["request_throughput_rps", "input_throughput_tps", "output_throughput_tps", "total_throughput_tps"];
    for (key, pairs) in keys.into_iter().zip(amounts) {
        let found = stats::ratio_interval(&pairs, block, SEED);
        let sum = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        // What each request adds to the ratio: the series whose correlation matters.
        let parts: Vec<f64> = pairs.iter().map(|(amount, time)| amount * sum.1 - sum.0 * time).collect();
        intervals.insert(key.into(), Interval::new(found, &parts, Method::BlockBootstrap, reason.clone()));
    }
}

fn too_few(n: usize) -> Option<String> {
    (n < stats::FEWEST).then(|| format!("only {}: an interval needs {}", requests(n), stats::FEWEST))
}

fn requests(n: usize) -> String {
    if n == 1 { "1 request".into() } else { format!("{n} requests") }
}
