//! `/metrics` under vLLM's names.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sagellm_core::{Backend, FinishReason, Nanos, seconds};

use super::Service;

/// vLLM's bounds, in seconds.
const TTFT_BOUNDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
const TOKEN_BOUNDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
const REQUEST_BOUNDS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
];

/// What is counted while serving.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counts>);

#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) prompt_tokens: u64,
    pub(crate) generation_tokens: u64,
    stopped: u64,
    full_length: u64,
    aborted: u64,
    failed: u64,
    pub(crate) ttft: Histogram,
    pub(crate) inter_token: Histogram,
    pub(crate) latency: Histogram,
    pub(crate) queue: Histogram,
    pub(crate) prefill: Histogram,
    pub(crate) decode: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            prompt_tokens: 0,
            generation_tokens: 0,
            stopped: 0,
            full_length: 0,
            aborted: 0,
            failed: 0,
            ttft: Histogram::new(TTFT_BOUNDS),
            inter_token: Histogram::new(TOKEN_BOUNDS),
            latency: Histogram::new(REQUEST_BOUNDS),
            queue: Histogram::new(REQUEST_BOUNDS),
            prefill: Histogram::new(REQUEST_BOUNDS),
            decode: Histogram::new(REQUEST_BOUNDS),
        }
    }
}

impl Metrics {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after every change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Counts a request that ended; `None` when its client went.
    pub(crate) fn finished(&mut self, reason: Option<FinishReason>) {
        match reason {
            Some(FinishReason::Length) => self.full_length += 1,
            Some(_) => self.stopped += 1,
            None => self.aborted += 1,
        }
    }

    /// Counts a request that the engine failed.
    pub(crate) fn failed(&mut self) {
        self.failed += 1;
    }
}

/// A histogram of durations.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds.
    buckets: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, buckets: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub(crate) fn add(&mut self, duration: Nanos) {
        let value = seconds(duration);
        self.buckets[self.bounds.partition_point(|&bound| bound < value)] += 1;
        self.sum += value;
    }

    fn write(&self, out: &mut String, name: &str, help: &str, labels: &str) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut total = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            total += count;
            let bound = self.bounds.get(place).map_or("+Inf".into(), |bound| format!("{bound:?}"));
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\",{labels}}} {total}");
        }
        let _ = writeln!(out, "{name}_count{{{labels}}} {total}\n{name}_sum{{{labels}}} {}", self.sum);
    }
}

impl Service {
    /// The page.
    pub(crate) fn metrics(&self) -> String {
        let model = self.model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels = format!("engine=\"0\",model_name=\"{model}\"");
        let mut out = String::new();
        let mut one = |name: &str, kind: &str, help: &str, labels: &str, value: f64| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            let _ = writeln!(out, "{name}{{{labels}}} {value:?}");
        };
        let load = self.engine.load();
        let window = self.engine.window();
        let capacity = window.kv_capacity_tokens.value.unwrap_or(0);
        let usage = if capacity == 0 { 0.0 } else { load.kv_used_tokens as f64 / capacity as f64 };
        one("vllm:num_requests_running", "gauge", "Requests being computed.", &labels, load.running as f64);
        one("vllm:num_requests_waiting", "gauge", "Requests in the queue.", &labels, load.waiting as f64);
        one("vllm:kv_cache_usage_perc", "gauge", "Share of the KV cache in use, from 0 to 1.", &labels, usage);
        let settings = self.engine.info().settings;
        // As vLLM does it, so that what has them speculates and what has not does not.
        let speculates = |value: Option<u64>| value.filter(|_| settings.contains_key("spec"));
        let counts = self.metrics.lock();
        for (name, help, value) in [
            ("prefix_cache_queries", "Prompt tokens looked up in the prefix cache.", window.prefix_lookup_tokens.value),
            ("prefix_cache_hits", "Prompt tokens found in the prefix cache.", window.prefix_hit_tokens.value),
            ("num_preemptions", "Requests put back to be recomputed.", window.preemptions.value),
            (
                "spec_decode_num_drafts",
                "Times that tokens were drafted for a request.",
                speculates(Some(self.engine.spec_drafts())),
            ),
            (
                "spec_decode_num_draft_tokens",
                "Tokens drafted by speculative decoding.",
                speculates(window.spec_drafted_tokens.value),
            ),
            (
                "spec_decode_num_accepted_tokens",
                "Drafted tokens that were accepted.",
                speculates(window.spec_accepted_tokens.value),
            ),
            ("prompt_tokens", "Prompt tokens of the requests that have a first token.", Some(counts.prompt_tokens)),
            ("generation_tokens", "Tokens generated.", Some(counts.generation_tokens)),
        ] {
            if let Some(value) = value {
                one(&format!("vllm:{name}_total"), "counter", help, &labels, value as f64);
            }
        }
        let name = "vllm:request_success_total";
        let _ = writeln!(out, "# HELP {name} Requests that ended, by reason.\n# TYPE {name} counter");
        for (reason, count) in [
            ("stop", counts.stopped),
            ("length", counts.full_length),
            ("abort", counts.aborted),
            ("error", counts.failed),
        ] {
            let _ = writeln!(out, "{name}{{finished_reason=\"{reason}\",{labels}}} {count}");
        }
        for (name, help, histogram) in [
            ("time_to_first_token_seconds", "From arrival to the first token.", &counts.ttft),
            ("inter_token_latency_seconds", "From each token to the next.", &counts.inter_token),
            ("e2e_request_latency_seconds", "From arrival to the end.", &counts.latency),
            ("request_queue_time_seconds", "In the queue.", &counts.queue),
            ("request_prefill_time_seconds", "From the queue to the first token.", &counts.prefill),
            ("request_decode_time_seconds", "From the first token to the last.", &counts.decode),
        ] {
            histogram.write(&mut out, &format!("vllm:{name}"), help, &labels);
        }
        drop(counts);
        let block: u64 = settings.get("kv_block_tokens").and_then(|size| size.parse().ok()).unwrap_or(1);
        let _ = writeln!(
            out,
            "# HELP vllm:cache_config_info Size of the KV cache.\n# TYPE vllm:cache_config_info gauge\n\
             vllm:cache_config_info{{block_size=\"{block}\",num_gpu_blocks=\"{}\",kv_cache_size_tokens=\"{capacity}\",\
             kv_cache_memory_bytes=\"{}\",enable_prefix_caching=\"{}\",engine=\"0\"}} 1",
            // vLLM's number has one more, which it never hands out.
            capacity / block + 1,
            settings.get("kv_cache_bytes").map_or("", String::as_str),
            settings.get("prefix_caching").map_or("", String::as_str),
        );
        if let Some(bytes) = resident_bytes() {
            let name = "process_resident_memory_bytes";
            let _ = writeln!(out, "# HELP {name} Resident memory.\n# TYPE {name} gauge\n{name} {bytes}");
        }
        let name = "process_start_time_seconds";
        let started = seconds(self.clock.started_at().unix_ns);
        let _ = writeln!(
            out,
            "# HELP {name} When it was started, in seconds since 1970.\n# TYPE {name} gauge\n{name} {started}"
        );
        out
    }
}

/// Memory of this process, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative() {
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        [50_000_000, 100_000_000, 200_000_000, 3_000_000_000].into_iter().for_each(|duration| histogram.add(duration));
        let mut out = String::new();
        histogram.write(&mut out, "x", "Help.", "a=\"b\"");
        assert_eq!(
            out,
            "# HELP x Help.\n# TYPE x histogram\nx_bucket{le=\"0.1\",a=\"b\"} 2\nx_bucket{le=\"1.0\",a=\"b\"} 3\n\
             x_bucket{le=\"+Inf\",a=\"b\"} 4\nx_count{a=\"b\"} 4\nx_sum{a=\"b\"} 3.35\n"
        );
    }
}
