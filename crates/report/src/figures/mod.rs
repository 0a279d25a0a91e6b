//! The formulas: from a sample to its figures.

mod answers;
mod host;
mod http;
mod objective;
mod stimulus;
mod warmup;

use std::collections::BTreeMap;

use sagellm_core::journal::{Close, Memory};
use sagellm_core::{BackendStats, Measured, OutcomeKind, StepTimes, Workload, seconds};
use sagellm_stats::{Ascending, Distribution};

use crate::batching::Load;
use crate::latency::Latency;
use crate::registry::{self, Stat};
use crate::sample::Sample;
use crate::workload::{Interval, ServerSource};

/// The journal says nothing about the backend and memory before its closing line.
const NO_CLOSE: &str = "the journal has no closing line: the run did not end";

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
            Some(value) => {
                self.values.insert(key.into(), value);
                self.reasons.remove(key);
            }
            None => {
                self.values.remove(key);
                self.reasons.insert(key.into(), reason.into());
            }
        }
    }

    /// What was set before.
    fn get(&self, key: &str) -> Measured<f64> {
        Measured { value: self.values.get(key).copied(), reason: self.reasons.get(key).cloned() }
    }

    fn set_measured(&mut self, key: &str, measured: &Measured<f64>) {
        let reason = measured.reason.as_deref().unwrap_or("the run gives no reason");
        self.set(key, measured.value, reason);
    }

    fn describe(&mut self, quantity: &str, of: &[Stat], values: &Distribution, reason: &str) {
        let ascending = values.ascending();
        for stat in of {
            let value = value_of(*stat, values, &ascending);
            let reason = if *stat == Stat::Std && values.count() == 1 { "one value has no spread" } else { reason };
            self.set(&stat.key(quantity), value, reason);
        }
    }

    fn describe_none(&mut self, quantity: &str, of: &[Stat], reason: &str) {
        self.describe(quantity, of, &Distribution::default(), reason);
    }
}

/// A statistic of values, which are also given in ascending order.
fn value_of(stat: Stat, values: &Distribution, ascending: &Ascending<'_>) -> Option<f64> {
    match stat {
        Stat::Avg => values.mean(),
        Stat::Std => values.sample_std(),
        Stat::Min => values.min(),
        Stat::Max => values.max(),
        Stat::Percentile(_, q) => ascending.quantile(q),
    }
}

/// A gap whose ends lie within more than this share of the median gap is not known.
const MOST_GAP_UNCERTAINTY: f64 = 0.05;

/// What is computed of a sample.
pub(crate) struct Computed {
    pub(crate) figures: Figures,
    /// Of the headline figures, and of the percentiles of TTFT, TBT, TPOT and E2E.
    pub(crate) intervals: BTreeMap<String, Interval>,
    /// Who told the figures that the server itself knows.
    pub(crate) server_source: BTreeMap<String, ServerSource>,
}

/// All figures of a sample, with intervals.
pub(crate) fn compute(sample: &Sample, close: Option<&Close>) -> Computed {
    let mut figures = Figures::default();
    let mut intervals = BTreeMap::new();
    latencies(&mut figures, sample);
    delays(&mut figures, sample);
    throughput(&mut figures, sample);
    reliability(&mut figures, sample);
    load(&mut figures, sample);
    stimulus::compute(&mut figures, sample);
    objective::goodput(&mut figures, sample);
    objective::steady(&mut figures, sample);
    memory(&mut figures, close.map(|close| &close.memory), sample.over_http());
    host::compute(&mut figures, sample.tokens.1, close);
    cache(&mut figures, close.map(|close| &close.backend));
    answers::answers(&mut figures, &sample.endings);
    warmup::warmup(&mut figures, sample.header.warmup.as_ref());
    engine(&mut figures, close.map(|close| &close.backend));
    match close {
        Some(close) => figures.set_measured("client_cpu_percent", &close.client_cpu_percent),
        None => figures.set("client_cpu_percent", None, NO_CLOSE),
    }
    let server_source = http::compute(&mut figures, sample, close);
    let of = &sample.latencies;
    let load = Load::of(&sample.header.workload, sample.concurrency.map_or(1, |it| it.peak));
    for (quantity, latency) in [("ttft", &of.ttft), ("tbt", &of.tbt), ("tpot", &of.tpot), ("e2e", &of.e2e)] {
        let ascending = latency.values.ascending();
        intervals.insert(Stat::Avg.key(quantity), latency.mean_interval(load));
        for stat in Stat::INFLATED {
            if let Stat::Percentile(_, q) = stat {
                intervals.insert(stat.key(quantity), latency.quantile_interval(&ascending, q, load));
            }
        }
    }
    intervals.insert("avg_throughput_tps".into(), of.user_rate.mean_interval(load));
    let value = |key: &str| figures.values.get(key).copied();
    intervals.extend(sample.throughput.intervals(sample.goodput.is_some(), load, value));
    Computed { figures, intervals, server_source }
}

fn latencies(figures: &mut Figures, sample: &Sample) {
    let no_token = match sample.count(OutcomeKind::Success) {
        0 => "no request succeeded",
        _ => "no successful request has a token",
    };
    let of = &sample.latencies;
    let one_chunk = if of.ttft.values.count() == 0 { no_token } else { "every answer came in one chunk" };
    figures.describe("ttft", &Stat::ALL, &of.ttft.values, no_token);
    figures.describe("tbt", &Stat::ALL, &of.tbt.values, one_chunk);
    figures.describe("tpot", &Stat::ALL, &of.tpot.values, no_token);
    gaps(figures, sample, "itl", &of.gaps, one_chunk);
    match sample.untold() {
        Some(reason) => figures.describe_none("itl_token", &Stat::ALL, &reason),
        None => gaps(figures, sample, "itl_token", &of.token_gaps, one_chunk),
    }
    figures.describe("e2e", &Stat::ALL, &of.e2e.values, no_token);
    inflated(figures, sample, "ttft_inflated", &of.ttft, no_token);
    inflated(figures, sample, "tbt_inflated", &of.tbt, one_chunk);
    inflated(figures, sample, "tpot_inflated", &of.tpot, no_token);
    inflated(figures, sample, "e2e_inflated", &of.e2e, no_token);
    let scheduled = [
        ("ttft_from_schedule", &of.scheduled_ttft),
        ("tpot_from_schedule", &of.scheduled_tpot),
        ("e2e_from_schedule", &of.scheduled_e2e),
    ];
    for (quantity, values) in scheduled {
        match no_schedule(&sample.header.workload) {
            Some(reason) => figures.describe_none(quantity, &Stat::ALL, reason),
            None => figures.describe(quantity, &Stat::ALL, values, no_token),
        }
    }
}

/// Gaps between chunks, and no percentile of them that lies among those whose ends are known too roughly. The mean is that of
/// first and last token.
fn gaps(figures: &mut Figures, sample: &Sample, quantity: &str, values: &Distribution, none: &str) {
    figures.describe(quantity, &Stat::ALL, values, none);
    let Some(median) = values.ascending().quantile(0.5) else { return };
    let widths = &sample.uncertainty.gaps;
    for stat in Stat::ALL {
        let width = match stat {
            Stat::Percentile(_, q) => widths.quantile(q),
            Stat::Max => widths.quantile(1.0),
            Stat::Std => widths.mean(),
            Stat::Avg | Stat::Min => continue,
        };
        if width.is_some_and(|width| width > MOST_GAP_UNCERTAINTY * median) {
            let share = widths.share().unwrap_or(0.0) * 100.0;
            let reason =
                format!("{share:.2} % of the gaps are between chunks that were read together: this lies among them");
            figures.set(&stat.key(quantity), None, &reason);
        }
    }
}

/// Percentiles over the failed requests too, each of which took forever.
fn inflated(figures: &mut Figures, sample: &Sample, quantity: &str, latency: &Latency, none: &str) {
    let failed = sample.failed();
    let ascending = latency.values.ascending();
    let ended = sample.count(OutcomeKind::Success) + failed;
    let infinite = format!("{failed} of {ended} requests failed: this percentile lies among them");
    let reason = if latency.values.count() == 0 { none } else { &infinite };
    for stat in Stat::INFLATED {
        if let Stat::Percentile(_, q) = stat {
            figures.set(&stat.key(quantity), ascending.quantile_below_infinite(q, failed), reason);
        }
    }
}

/// Why a workload has no schedule to measure from, if it has none.
fn no_schedule(workload: &Workload) -> Option<&'static str> {
    workload
        .is_closed_loop()
        .then_some("the workload is a closed loop: a request is due when another ends, not by a schedule")
}

fn delays(figures: &mut Figures, sample: &Sample) {
    const NOTHING_SENT: &str = "no request was sent";
    let workload = &sample.header.workload;
    match no_schedule(workload) {
        Some(reason) => figures.describe_none("queue_client", &Stat::DELAY, reason),
        None => figures.describe("queue_client", &Stat::DELAY, &sample.waits, NOTHING_SENT),
    }
    if sample.held_back() {
        let reason = "a concurrency cap holds requests back on purpose: see queue_client_ms";
        figures.describe_none("schedule_lag", &Stat::DELAY, reason);
    } else {
        figures.describe("schedule_lag", &Stat::DELAY, &sample.waits, NOTHING_SENT);
    }
}

fn throughput(figures: &mut Figures, sample: &Sample) {
    let no_rate = match sample.count(OutcomeKind::Success) {
        0 => "no request succeeded",
        _ => "no successful request took time for its tokens",
    };
    figures.set("avg_throughput_tps", sample.latencies.user_rate.values.mean(), no_rate);
    let window = sample.throughput.window.map(|(first, last)| seconds(last - first));
    figures.set("total_time_s", window, "no request was sent");
    let no_window = if window.is_some() { "the window has no length" } else { "no request was sent" };
    let (input, output) = (sample.tokens.0 as f64, sample.tokens.1 as f64);
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
    let busiest = sample.throughput.busiest_second().map(|tokens| tokens as f64);
    figures.set("peak_output_throughput_tps", busiest, "no successful request has a token");
}

fn reliability(figures: &mut Figures, sample: &Sample) {
    let (total, failed) = (sample.total() as f64, sample.failed() as f64);
    figures.set("total_requests", Some(total), "");
    figures.set("successful_requests", Some(sample.count(OutcomeKind::Success) as f64), "");
    figures.set("failed_requests", Some(failed), "");
    figures.set("total_input_tokens", Some(sample.tokens.0 as f64), "");
    figures.set("total_output_tokens", Some(sample.tokens.1 as f64), "");
    figures.set("error_rate", (total > 0.0).then(|| failed / total), "there was no request");
}

fn load(figures: &mut Figures, sample: &Sample) {
    let concurrency = sample.concurrency;
    figures.set("peak_concurrency", concurrency.map(|it| it.peak as f64), "no request took any time");
    figures.set("avg_concurrency", concurrency.map(|it| it.average), "no request took any time");
    let chunks = &sample.chunk_tokens;
    let ascending = chunks.ascending();
    let untold = sample.untold();
    for stat in Stat::ALL {
        let (value, reason) = match (stat, &untold) {
            // The mean needs the totals only.
            (Stat::Avg, Some(_)) => (Some(sample.tokens.1 as f64 / chunks.count() as f64), "no chunk came"),
            (_, Some(reason)) => (None, reason.as_str()),
            (Stat::Std, None) if chunks.count() == 1 => (None, "one value has no spread"),
            (_, None) => (value_of(stat, chunks, &ascending), "no chunk came"),
        };
        figures.set(&format!("{}_chunk_tokens", stat.prefix()), value, reason);
    }
}

fn memory(figures: &mut Figures, memory: Option<&Memory>, of_server: bool) {
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
        // A server's memory is its own from the start; this process held more than the engine.
        let own = if of_server { bytes.clone() } else { combine(bytes, &baseline, |bytes, baseline| bytes - baseline) };
        figures.set_measured(key, &own.map(|bytes| bytes / MEBIBYTE));
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

/// Where the time of the CPU engine's steps went.
fn engine(figures: &mut Figures, backend: Option<&BackendStats>) {
    let reason = if backend.is_some() { "a server does not tell where its steps spend time" } else { NO_CLOSE };
    let steps = backend.and_then(|backend| backend.steps);
    let per_step = |it: StepTimes| if it.steps == 0 { 0.0 } else { it.tokens as f64 / it.steps as f64 };
    figures.set("engine_steps", steps.map(|it| it.steps as f64), reason);
    figures.set("engine_step_tokens", steps.map(per_step), reason);
    figures.set("engine_attention_ms", steps.map(|it| it.attention_ms), reason);
    figures.set("engine_matmul_ms", steps.map(|it| it.matmul_ms), reason);
    figures.set("engine_sampling_ms", steps.map(|it| it.sampling_ms), reason);
    figures.set("engine_scheduling_ms", steps.map(|it| it.scheduling_ms), reason);
    figures.set("engine_other_ms", steps.map(|it| it.other_ms), reason);
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
