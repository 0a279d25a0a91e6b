//! The figures of requests over HTTP: the client's own part, and what the server says.

use std::collections::BTreeMap;

use sagellm_core::journal::{Close, ErrorSpread};
use sagellm_core::{Measured, OutcomeKind, ServerWindow, Stamp, ms};

use super::{Figures, NO_CLOSE, combine};
use crate::registry::Stat;
use crate::sample::Sample;
use crate::uncertainty::Uncertainty;
use crate::wire::Total;
use crate::workload::ServerSource;

/// Why a run of the engine has none of this.
const ENGINE: &str = "the engine runs in this process, without a connection";

/// Sets the figures and says who told those of the server.
pub(super) fn compute(figures: &mut Figures, sample: &Sample, close: Option<&Close>) -> BTreeMap<String, ServerSource> {
    client(figures, sample);
    stalls(figures, sample, close);
    error(figures, sample);
    tokens(figures, sample);
    let mut server = Server { figures, over_http: sample.over_http(), source: BTreeMap::new() };
    server.compute(sample, close);
    server.source
}

fn client(figures: &mut Figures, sample: &Sample) {
    let wire = &sample.wire;
    let http = sample.over_http();
    let why = |reason: &'static str| if http { reason } else { ENGINE };
    let no_delay = if sample.stamps.contains(&Stamp::Kernel) {
        "no chunk came"
    } else {
        "stamps were taken after the read: without the kernel's there is nothing to compare them with"
    };
    figures.describe("client_delay", &Stat::DELAY, &wire.delays, why(no_delay));
    figures.describe("connect", &Stat::DELAY, &wire.connects, why("every request found a connection ready"));
    let no_visible = "no successful answer has a visible token, or the client did not tell it apart";
    figures.describe("ttft_visible", &Stat::VISIBLE, &wire.answers.visible, why(no_visible));
    let counts = [
        ("merged_chunks", wire.merged_chunks),
        ("held_back_chunks", wire.held_back_chunks),
        ("out_of_order_segments", wire.out_of_order),
        ("retransmitted_segments", wire.retransmitted),
        ("retries", wire.retries),
        ("stale_connections", wire.stale_connections),
    ];
    for (key, count) in counts {
        figures.set(key, http.then_some(count as f64), ENGINE);
    }
    let Uncertainty { first, tbt, gaps, .. } = &sample.uncertainty;
    let shares = [
        ("ttft_uncertainty_ms", first.mean()),
        ("p99_ttft_uncertainty_ms", first.quantile(0.99)),
        ("tbt_uncertainty_ms", tbt.mean()),
        ("uncertain_first_tokens", first.share()),
        ("uncertain_gaps", gaps.share()),
    ];
    for (key, value) in shares {
        figures.set(key, value.filter(|_| http), why("no successful request has what this is about"));
    }
}

/// When this program did not run, and what that left empty.
fn stalls(figures: &mut Figures, sample: &Sample, close: Option<&Close>) {
    let stalls = close.and_then(|close| close.stalls);
    let reason = if close.is_some() { "the program that wrote the journal did not watch for it" } else { NO_CLOSE };
    figures.set("client_stall_ms", stalls.map(|it| ms(it.total_ns)), reason);
    figures.set("max_client_stall_ms", stalls.map(|it| ms(it.worst_ns)), reason);
    figures.set("journal_wait_ms", stalls.map(|it| ms(it.journal_ns)), reason);
    figures.set("suspended_ms", stalls.map(|it| ms(it.suspended_ns)), reason);
    let refilled = sample.empty_share().is_some();
    let reason = "the load is not a closed loop, or nothing was sent";
    let of = |value: Option<f64>| value.filter(|_| refilled);
    figures.set("avg_slot_refill_ms", of(sample.waits.mean()), reason);
    figures.set("max_slot_refill_ms", of(sample.waits.max()), reason);
    figures.set("empty_slot_share", sample.empty_share(), reason);
}

/// The error that a calibration found.
fn error(figures: &mut Figures, sample: &Sample) {
    let reason = if sample.over_http() { "the client was not calibrated before the run" } else { ENGINE };
    let calibration = sample.header.calibration.as_ref();
    let mut set = |quantity: &str, spread: Option<ErrorSpread>| {
        figures.set(&Stat::P50.key(quantity), spread.map(|it| it.p50), reason);
        figures.set(&Stat::P99.key(quantity), spread.map(|it| it.p99), reason);
        figures.set(&Stat::Max.key(quantity), spread.map(|it| it.max), reason);
    };
    set("client_error", calibration.map(|it| it.ttft_error_ms));
    set("client_error_tbt", calibration.map(|it| it.tbt_error_ms));
}

/// The counts of output tokens.
fn tokens(figures: &mut Figures, sample: &Sample) {
    let answers = &sample.wire.answers;
    let succeeded = sample.count(OutcomeKind::Success);
    let complete = |total: Total, who: &str| {
        if !sample.over_http() {
            Measured::unknown(ENGINE)
        } else if succeeded == 0 {
            Measured::unknown("no request succeeded")
        } else if total.told < succeeded {
            Measured::unknown(format!("{} of {succeeded} successful answers have no {who}", succeeded - total.told))
        } else {
            Measured::known(total.sum as f64)
        }
    };
    figures.set_measured("usage_output_tokens", &complete(answers.usage, "usage from the server"));
    let by_tokenizer = match answers.checked {
        checked if checked > 0 && checked < succeeded && answers.usage.told == succeeded => Measured::unknown(format!(
            "the server counts too, so only {checked} of {succeeded} answers were counted, as a check"
        )),
        _ => complete(answers.tokenizer, "count by a tokenizer"),
    };
    figures.set_measured("tokenizer_output_tokens", &by_tokenizer);
    let checked = (sample.over_http() && succeeded > 0).then_some(answers.checked as f64);
    let none = if sample.over_http() { "no request succeeded" } else { ENGINE };
    figures.set("checked_token_counts", checked, none);
    let chunks = Total { sum: answers.content_chunks, told: succeeded };
    figures.set_measured("content_chunks", &complete(chunks, ""));
    let no_pair = if sample.over_http() { "no successful answer was counted by both" } else { ENGINE };
    figures.set("output_tokens_discrepancy", answers.discrepancy(), no_pair);
}

/// What the server says of itself, by its `/metrics`, or else in its answers.
struct Server<'a> {
    figures: &'a mut Figures,
    over_http: bool,
    source: BTreeMap<String, ServerSource>,
}

impl Server<'_> {
    fn compute(&mut self, sample: &Sample, close: Option<&Close>) {
        let answers = &sample.wire.answers;
        let none = match close {
            _ if !self.over_http => ENGINE,
            None => NO_CLOSE,
            // Why the metrics are not there is why none of their figures is.
            Some(close) => close.backend.preemptions.reason.as_deref().unwrap_or("the server's metrics were not read"),
        };
        let window = close.and_then(|close| close.backend.server.as_ref());
        let told = |of: fn(&ServerWindow) -> &Measured<f64>| {
            window.map_or_else(|| Measured::unknown(none), |window| of(window).clone())
        };
        self.set("server_ttft_ms", &told(|it| &it.ttft_ms), answers.server_ttft.get());
        self.set("server_queue_ms", &told(|it| &it.queue_ms), answers.server_queue.get());
        self.set("server_prefill_ms", &told(|it| &it.prefill_ms), answers.server_prefill.get());
        self.set("server_decode_ms", &told(|it| &it.decode_ms), answers.server_generation.get());
        self.set("spec_accept_length", &told(|it| &it.spec_accept_length), None);
        let weights = window.map_or_else(|| Measured::unknown(none), |window| window.weight_bytes.clone());
        self.set("server_weights_mb", &weights.map(|bytes| bytes / f64::from(1 << 20)), None);
        // A server that counts nothing may still tell its own rate.
        if let Some(rate) = window.and_then(|window| window.spec_accept_rate)
            && self.figures.get("spec_accept_rate").value.is_none()
        {
            self.set("spec_accept_rate", &Measured::known(rate), None);
        }
        let (client, server) = (self.figures.get("avg_ttft_ms"), self.figures.get("server_ttft_ms"));
        let share = combine(&server, &client, |server, client| client - server);
        self.figures.set_measured("network_client_ms", &share);
        let cpu = match close {
            _ if !self.over_http => Measured::unknown(ENGINE),
            None => Measured::unknown(NO_CLOSE),
            Some(close) => close.server_cpu_percent.clone(),
        };
        self.figures.set_measured("server_cpu_percent", &cpu);
        let (cached, prompt) = answers.cached;
        let by_answers = (self.over_http && prompt > 0).then(|| cached as f64 / prompt as f64);
        let by_metrics = self.figures.get("prefix_hit_rate");
        self.set("prefix_hit_rate", &by_metrics, by_answers);
    }

    fn set(&mut self, key: &str, by_metrics: &Measured<f64>, by_answers: Option<f64>) {
        match by_answers {
            Some(value) if by_metrics.value.is_none() => {
                self.figures.set(key, Some(value), "");
                self.source.insert(key.into(), ServerSource::Answers);
            }
            _ => {
                self.figures.set_measured(key, by_metrics);
                if by_metrics.value.is_some() && self.over_http {
                    self.source.insert(key.into(), ServerSource::Metrics);
                }
            }
        }
    }
}
