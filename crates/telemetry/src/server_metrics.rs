//! One reading of a server's metrics, put into terms that are the same for every server.
//!
//! The names are those of vLLM 0.33, SGLang 0.5.23, LMDeploy 0.18 and llama.cpp b11434, with the older names that are
//! still met. A server is known by the prefix of its metrics, so that one behind another name is read as well.

use std::collections::BTreeMap;

use sagellm_core::ServerSample;

use crate::prometheus::{Exposition, Kind};
use crate::vllm_cache::VllmCache;

/// Whose names the metrics carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// vLLM, and servers that took over its names.
    Vllm,
    /// SGLang.
    Sglang,
    /// LMDeploy.
    Lmdeploy,
    /// llama.cpp's server.
    LlamaCpp,
}

impl Dialect {
    const ALL: [Self; 4] = [Self::Vllm, Self::Sglang, Self::Lmdeploy, Self::LlamaCpp];

    /// Finds out whose names these are.
    pub fn of(exposition: &Exposition<'_>) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| exposition.names().any(|name| name.starts_with(dialect.prefix())))
    }

    /// The server's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::Lmdeploy => "LMDeploy",
            Self::LlamaCpp => "llama.cpp",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Vllm => "vllm:",
            Self::Sglang => "sglang:",
            Self::Lmdeploy => "lmdeploy:",
            Self::LlamaCpp => "llamacpp:",
        }
    }
}

/// What only goes up while a server lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Prompt tokens looked up in the prefix cache.
    PrefixLookups,
    /// Of these, found.
    PrefixHits,
    /// Of these, not found.
    PrefixMisses,
    /// KV entries evicted, in tokens.
    EvictedTokens,
    /// Time spent on evictions, in seconds.
    EvictSeconds,
    /// Requests put back to be recomputed.
    Preemptions,
    /// Steps of speculative decoding.
    Drafts,
    /// Tokens drafted in them.
    Drafted,
    /// Of these, accepted.
    Accepted,
    /// Times to the first token, in seconds.
    TtftSum,
    /// Number of those.
    TtftCount,
    /// Times in the queue, in seconds.
    QueueSum,
    /// Number of those.
    QueueCount,
    /// Times of prefill, in seconds.
    PrefillSum,
    /// Number of those.
    PrefillCount,
    /// Times of decoding, in seconds.
    DecodeSum,
    /// Number of those.
    DecodeCount,
}

impl Counter {
    const ALL: [Self; 17] = [
        Self::PrefixLookups,
        Self::PrefixHits,
        Self::PrefixMisses,
        Self::EvictedTokens,
        Self::EvictSeconds,
        Self::Preemptions,
        Self::Drafts,
        Self::Drafted,
        Self::Accepted,
        Self::TtftSum,
        Self::TtftCount,
        Self::QueueSum,
        Self::QueueCount,
        Self::PrefillSum,
        Self::PrefillCount,
        Self::DecodeSum,
        Self::DecodeCount,
    ];

    /// Its names in a dialect, the present one first; none where the server has no such counter.
    pub fn names(self, dialect: Dialect) -> &'static [&'static str] {
        match dialect {
            Dialect::Vllm => match self {
                Self::PrefixLookups => &["vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"],
                Self::PrefixHits => &["vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"],
                Self::PrefixMisses | Self::EvictedTokens | Self::EvictSeconds => &[],
                Self::Preemptions => &["vllm:num_preemptions_total"],
                Self::Drafts => &["vllm:spec_decode_num_drafts_total"],
                Self::Drafted => &["vllm:spec_decode_num_draft_tokens_total"],
                Self::Accepted => &["vllm:spec_decode_num_accepted_tokens_total"],
                Self::TtftSum => &["vllm:time_to_first_token_seconds_sum"],
                Self::TtftCount => &["vllm:time_to_first_token_seconds_count"],
                Self::QueueSum => &["vllm:request_queue_time_seconds_sum"],
                Self::QueueCount => &["vllm:request_queue_time_seconds_count"],
                Self::PrefillSum => &["vllm:request_prefill_time_seconds_sum"],
                Self::PrefillCount => &["vllm:request_prefill_time_seconds_count"],
                Self::DecodeSum => &["vllm:request_decode_time_seconds_sum"],
                Self::DecodeCount => &["vllm:request_decode_time_seconds_count"],
            },
            Dialect::Sglang => match self {
                Self::PrefixLookups => &["sglang:prompt_tokens_total"],
                Self::PrefixHits => &["sglang:cached_tokens_total"],
                Self::EvictedTokens => &["sglang:evicted_tokens_total"],
                Self::EvictSeconds => &["sglang:eviction_duration_seconds_sum"],
                Self::Preemptions => &["sglang:num_retracted_requests_total"],
                // Of speculative decoding it tells the rate and length of the latest steps, not counts.
                Self::PrefixMisses | Self::Drafts | Self::Drafted | Self::Accepted => &[],
                Self::TtftSum => &["sglang:time_to_first_token_seconds_sum"],
                Self::TtftCount => &["sglang:time_to_first_token_seconds_count"],
                Self::QueueSum => &["sglang:queue_time_seconds_sum"],
                Self::QueueCount => &["sglang:queue_time_seconds_count"],
                Self::PrefillSum | Self::PrefillCount | Self::DecodeSum | Self::DecodeCount => &[],
            },
            Dialect::Lmdeploy => match self {
                Self::PrefixLookups => &["lmdeploy:prompt_tokens_total"],
                Self::PrefixHits => &["lmdeploy:cached_tokens_total"],
                Self::PrefixMisses | Self::EvictedTokens | Self::EvictSeconds | Self::Preemptions => &[],
                Self::Drafts => &["lmdeploy:spec_decode_num_drafts_total"],
                Self::Drafted => &["lmdeploy:spec_decode_num_draft_tokens_total"],
                Self::Accepted => &["lmdeploy:spec_decode_num_accepted_tokens_total"],
                Self::TtftSum => &["lmdeploy:time_to_first_token_seconds_sum"],
                Self::TtftCount => &["lmdeploy:time_to_first_token_seconds_count"],
                Self::QueueSum => &["lmdeploy:request_queue_time_seconds_sum"],
                Self::QueueCount => &["lmdeploy:request_queue_time_seconds_count"],
                Self::PrefillSum => &["lmdeploy:request_prefill_time_seconds_sum"],
                Self::PrefillCount => &["lmdeploy:request_prefill_time_seconds_count"],
                Self::DecodeSum => &["lmdeploy:request_decode_time_seconds_sum"],
                Self::DecodeCount => &["lmdeploy:request_decode_time_seconds_count"],
            },
            Dialect::LlamaCpp => match self {
                Self::PrefixHits => &["llamacpp:prompt_tokens_cached_total"],
                Self::PrefixMisses => &["llamacpp:prompt_tokens_total"],
                Self::Drafts => &["llamacpp:spec_decode_num_drafts_total"],
                Self::Drafted => &["llamacpp:spec_decode_num_draft_tokens_total"],
                Self::Accepted => &["llamacpp:spec_decode_num_accepted_tokens_total"],
                _ => &[],
            },
        }
    }
}

/// The names of the gauges of one dialect.
struct Gauges {
    running: &'static [&'static str],
    waiting: &'static [&'static str],
    kv_usage: &'static [&'static str],
    kv_used_tokens: &'static [&'static str],
    kv_capacity_tokens: &'static [&'static str],
}

fn gauges(dialect: Dialect) -> Gauges {
    match dialect {
        Dialect::Vllm => Gauges {
            running: &["vllm:num_requests_running"],
            waiting: &["vllm:num_requests_waiting"],
            kv_usage: &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
            kv_used_tokens: &[],
            kv_capacity_tokens: &[],
        },
        Dialect::Sglang => Gauges {
            running: &["sglang:num_running_reqs"],
            waiting: &["sglang:num_queue_reqs"],
            kv_usage: &["sglang:token_usage"],
            kv_used_tokens: &["sglang:num_used_tokens", "sglang:kv_used_tokens"],
            kv_capacity_tokens: &["sglang:max_total_num_tokens"],
        },
        Dialect::Lmdeploy => Gauges {
            running: &["lmdeploy:num_requests_running"],
            waiting: &["lmdeploy:num_requests_waiting"],
            kv_usage: &["lmdeploy:gpu_cache_usage_perc"],
            kv_used_tokens: &[],
            kv_capacity_tokens: &[],
        },
        Dialect::LlamaCpp => Gauges {
            running: &["llamacpp:requests_processing"],
            waiting: &["llamacpp:requests_deferred"],
            kv_usage: &[],
            kv_used_tokens: &[],
            kv_capacity_tokens: &[],
        },
    }
}

/// What a server said at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Whose names the metrics carry; `None` when they are those of no server known here.
    pub dialect: Option<Dialect>,
    /// The gauges.
    pub sample: ServerSample,
    /// The counters that are exposed.
    pub counters: BTreeMap<Counter, f64>,
    /// Tokens that the KV cache can hold.
    pub kv_capacity_tokens: Option<f64>,
    /// Bytes of the KV cache.
    pub kv_capacity_bytes: Option<f64>,
    /// Bytes of the weights.
    pub weight_bytes: Option<f64>,
    /// The latest rate of accepted drafted tokens and the latest tokens per step, where gauges tell them.
    pub spec_gauges: Option<(f64, f64)>,
    /// Whether what is exposed says that speculative decoding is off.
    pub speculation_off: bool,
    /// When the process was started, in seconds since 1970: tells a restart.
    pub process_started: Option<f64>,
}

impl Reading {
    /// When it was read, on the clock of the run.
    pub fn at(&self) -> u64 {
        self.sample.at_ns
    }

    /// Reads what was exposed at `at_ns` on the clock of the run.
    pub fn new(exposition: &Exposition<'_>, at_ns: u64) -> Self {
        let dialect = Dialect::of(exposition);
        let mut reading = Self {
            dialect,
            sample: ServerSample {
                at_ns,
                memory_bytes: total(exposition, "process_resident_memory_bytes"),
                ..ServerSample::default()
            },
            process_started: total(exposition, "process_start_time_seconds"),
            ..Self::default()
        };
        let Some(dialect) = dialect else { return reading };
        for counter in Counter::ALL {
            if let Some(value) = first(exposition, counter.names(dialect), total) {
                reading.counters.insert(counter, value);
            }
        }
        let names = gauges(dialect);
        let sample = &mut reading.sample;
        sample.running = first(exposition, names.running, total);
        sample.waiting = first(exposition, names.waiting, total);
        sample.kv_usage = first(exposition, names.kv_usage, mean);
        sample.kv_used_tokens = first(exposition, names.kv_used_tokens, total);
        reading.kv_capacity_tokens = first(exposition, names.kv_capacity_tokens, total);
        if dialect == Dialect::Vllm {
            let cache = VllmCache::new(exposition);
            (reading.kv_capacity_tokens, reading.kv_capacity_bytes) = (cache.tokens, cache.bytes);
            // Blocks in use count in full, so this is an upper bound within one block per request.
            let used = reading.sample.kv_usage.zip(cache.usable);
            reading.sample.kv_used_tokens = used.map(|(usage, usable)| usage * usable);
            // Since it has this name for the usage, it makes these counters exactly when speculative decoding is on.
            let counts = reading.counters.contains_key(&Counter::Drafted);
            reading.speculation_off = !counts && !exposition.samples("vllm:kv_cache_usage_perc").is_empty();
        }
        if dialect == Dialect::Sglang {
            // In units of 2^30: 16384 tokens of 23040 bytes are told as 0.3516.
            let gib = f64::from(1 << 30);
            reading.kv_capacity_bytes = total(exposition, "sglang:kv_cache_memory_usage_gb").map(|size| size * gib);
            // A rank has a part of the weights.
            reading.weight_bytes = over_ranks(exposition, "sglang:weight_memory_usage_gb").map(|size| size * gib);
            let rate = mean(exposition, "sglang:spec_accept_rate");
            reading.spec_gauges = rate.zip(mean(exposition, "sglang:spec_accept_length"));
            // A step gives one token at least.
            reading.speculation_off = reading.spec_gauges.is_some_and(|(_, length)| length == 0.0);
        }
        reading
    }
}

/// The value under the first of the names that is exposed.
fn first(
    exposition: &Exposition<'_>,
    names: &[&str],
    value: impl Fn(&Exposition<'_>, &str) -> Option<f64>,
) -> Option<f64> {
    names.iter().find_map(|name| value(exposition, name))
}

/// Sum over engines, kinds of request and the like.
///
/// A counter that is declared but has no sample has counted nothing yet.
fn total(exposition: &Exposition<'_>, name: &str) -> Option<f64> {
    let values = values(exposition, name);
    if values.is_empty() {
        let metric = name.strip_suffix("_sum").or(name.strip_suffix("_count")).unwrap_or(name);
        let counts = exposition.samples(name).is_empty()
            && matches!(exposition.kind(metric), Some(Kind::Counter | Kind::Histogram));
        return counts.then_some(0.0);
    }
    Some(values.iter().sum())
}

/// Sum over everything, ranks too.
fn over_ranks(exposition: &Exposition<'_>, name: &str) -> Option<f64> {
    let samples = exposition.samples(name).iter().map(|sample| sample.value).filter(|value| value.is_finite());
    (!exposition.samples(name).is_empty()).then(|| samples.sum())
}

/// Mean over engines.
fn mean(exposition: &Exposition<'_>, name: &str) -> Option<f64> {
    let values = values(exposition, name);
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// One value per set of labels. Ranks that work on the same tokens tell the same figure once each: it counts once.
fn values(exposition: &Exposition<'_>, name: &str) -> Vec<f64> {
    const SAME_TOKENS: [&str; 4] = ["tp_rank", "pp_rank", "moe_ep_rank", "pid"];
    let mut by_labels: BTreeMap<Vec<(&str, &str)>, f64> = BTreeMap::new();
    for sample in exposition.samples(name).iter().filter(|sample| sample.value.is_finite()) {
        let mut labels: Vec<_> = sample.labels.iter().map(|(label, value)| (*label, value.as_ref())).collect();
        labels.retain(|(label, _)| !SAME_TOKENS.contains(label));
        labels.sort_unstable();
        let value = by_labels.entry(labels).or_insert(sample.value);
        *value = value.max(sample.value);
    }
    by_labels.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::parse;

    fn reading(text: &str) -> Reading {
        Reading::new(&parse(text).unwrap(), 7)
    }

    fn capture(name: &str) -> String {
        std::fs::read_to_string(format!("../../testdata/servers/{name}")).unwrap()
    }

    #[test]
    fn a_real_vllm_is_read() {
        let read = reading(&capture("vllm/metrics.prom"));
        assert_eq!(read.dialect, Some(Dialect::Vllm));
        let sample = ServerSample {
            at_ns: 7,
            running: Some(0.0),
            waiting: Some(0.0),
            kv_usage: Some(0.0),
            kv_used_tokens: Some(0.0),
            memory_bytes: Some(1_208_799_232.0),
        };
        assert_eq!(read.sample, sample);
        assert_eq!((read.kv_capacity_tokens, read.kv_capacity_bytes), (Some(46592.0), Some(1_073_741_824.0)));
        let counter = |counter| read.counters.get(&counter).copied();
        assert_eq!((counter(Counter::PrefixLookups), counter(Counter::PrefixHits)), (Some(10367.0), Some(8832.0)));
        assert_eq!(
            (counter(Counter::TtftSum), counter(Counter::TtftCount)),
            (Some(196.536_612_272_262_57), Some(28.0))
        );
        assert_eq!(counter(Counter::Preemptions), Some(0.0));
        assert_eq!(counter(Counter::Drafted), None, "without speculative decoding vLLM has no such counter");
        assert!(read.speculation_off);
    }

    #[test]
    fn a_real_vllm_at_work_is_read() {
        let read = reading(&capture("vllm/metrics_loaded.prom"));
        let sample = &read.sample;
        assert_eq!(
            (sample.running, sample.waiting, sample.kv_usage),
            (Some(10.0), Some(0.0), Some(0.082_644_628_099_173_5))
        );
        // Ten requests, each with 256 tokens of prompt and some more: three blocks of 128.
        assert!((sample.kv_used_tokens.unwrap() - 3840.0).abs() < 1e-9);
        assert_eq!(read.kv_capacity_tokens, Some(46592.0));
        let counter = |counter| read.counters.get(&counter).copied();
        assert_eq!((counter(Counter::TtftCount), counter(Counter::QueueCount)), (Some(23.0), Some(13.0)));
    }

    #[test]
    fn a_real_sglang_is_read() {
        let read = reading(&capture("sglang/metrics.prom"));
        assert_eq!(read.dialect, Some(Dialect::Sglang));
        assert_eq!((read.sample.running, read.sample.kv_used_tokens), (Some(0.0), Some(0.0)));
        assert_eq!(read.kv_capacity_tokens, Some(16384.0));
        let per_token = read.kv_capacity_bytes.unwrap() / 16384.0;
        // 134.5 M parameters, some of them in 8 bits.
        assert_eq!(read.weight_bytes, Some(0.157_459_259_033_203_12 * f64::from(1 << 30)));
        assert_eq!((read.spec_gauges, read.speculation_off), (Some((0.0, 0.0)), true));
        assert!((per_token - 23040.0).abs() < 3.0, "30 layers × 2 × 3 heads × 64 × 2 bytes, told as {per_token}");
        let counter = |counter| read.counters.get(&counter).copied();
        assert_eq!(counter(Counter::PrefixLookups), Some(10378.0), "streaming and not are added up");
        assert_eq!(counter(Counter::PrefixHits), Some(9443.0));
        assert_eq!(counter(Counter::QueueCount), Some(32.0));
        assert_eq!(counter(Counter::EvictedTokens), None);
    }

    #[test]
    fn a_real_llamacpp_is_read() {
        let mut read = reading(&capture("llama-server/metrics.prom"));
        assert_eq!(read.dialect, Some(Dialect::LlamaCpp));
        assert_eq!(read.counters.get(&Counter::PrefixHits), Some(&8565.0));
        assert_eq!(read.counters.get(&Counter::PrefixMisses), Some(&1801.0));
        assert_eq!(read.counters.get(&Counter::Drafts), Some(&0.0));
        assert_eq!(read.sample.kv_used_tokens, None);
        read.add_slots(&capture("llama-server/slots.json")).unwrap();
        assert_eq!(read.sample.kv_used_tokens, Some(0.0));
    }

    /// No capture of a real LMDeploy was to be had: these lines are made by hand from the names that its source has.
    #[test]
    fn the_names_of_lmdeploy_are_known() {
        let read = reading(concat!(
            "lmdeploy:num_requests_running 3\n",
            "lmdeploy:num_requests_waiting 2\n",
            "lmdeploy:gpu_cache_usage_perc 0.25\n",
            "lmdeploy:prompt_tokens_total 100\n",
            "lmdeploy:cached_tokens_total 40\n",
            "lmdeploy:spec_decode_num_drafts_total 10\n",
            "lmdeploy:spec_decode_num_draft_tokens_total 30\n",
            "lmdeploy:spec_decode_num_accepted_tokens_total 12\n",
            "lmdeploy:time_to_first_token_seconds_sum 1.5\n",
            "lmdeploy:time_to_first_token_seconds_count 6\n",
            "lmdeploy:request_queue_time_seconds_sum 0.5\n",
            "lmdeploy:request_queue_time_seconds_count 6\n",
            "lmdeploy:request_prefill_time_seconds_sum 0.75\n",
            "lmdeploy:request_prefill_time_seconds_count 6\n",
            "lmdeploy:request_decode_time_seconds_sum 3\n",
            "lmdeploy:request_decode_time_seconds_count 6\n",
        ));
        assert_eq!(read.dialect, Some(Dialect::Lmdeploy));
        let sample = &read.sample;
        assert_eq!((sample.running, sample.waiting, sample.kv_usage), (Some(3.0), Some(2.0), Some(0.25)));
        assert!(!read.speculation_off);
        let expected = [
            (Counter::PrefixLookups, 100.0),
            (Counter::PrefixHits, 40.0),
            (Counter::Drafts, 10.0),
            (Counter::Drafted, 30.0),
            (Counter::Accepted, 12.0),
            (Counter::TtftSum, 1.5),
            (Counter::TtftCount, 6.0),
            (Counter::QueueSum, 0.5),
            (Counter::QueueCount, 6.0),
            (Counter::PrefillSum, 0.75),
            (Counter::PrefillCount, 6.0),
            (Counter::DecodeSum, 3.0),
            (Counter::DecodeCount, 6.0),
        ];
        assert_eq!(read.counters, BTreeMap::from(expected));
    }

    #[test]
    fn older_names_of_vllm_are_known() {
        let read = reading(concat!(
            "vllm:gpu_cache_usage_perc{engine=\"0\"} 0.5\n",
            "vllm:gpu_prefix_cache_hits_total 3\n",
            "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"100\"} 1\n",
        ));
        assert_eq!((read.sample.kv_usage, read.kv_capacity_tokens), (Some(0.5), Some(1600.0)));
        assert_eq!((read.sample.kv_used_tokens, read.kv_capacity_bytes), (Some(0.5 * 99.0 * 16.0), None));
        assert!(!read.speculation_off, "what it would count is not known");
        assert_eq!(read.counters.get(&Counter::PrefixHits), Some(&3.0));
    }

    #[test]
    fn engines_add_up_and_ranks_do_not() {
        let read = reading(concat!(
            "sglang:num_running_reqs{dp_rank=\"0\",tp_rank=\"0\"} 3\n",
            "sglang:num_running_reqs{dp_rank=\"0\",tp_rank=\"1\"} 3\n",
            "sglang:num_running_reqs{dp_rank=\"1\",tp_rank=\"2\"} 4\n",
            "sglang:token_usage{dp_rank=\"0\",tp_rank=\"0\"} 0.2\n",
            "sglang:token_usage{dp_rank=\"1\",tp_rank=\"2\"} 0.4\n",
        ));
        assert_eq!(read.sample.running, Some(7.0));
        assert!((read.sample.kv_usage.unwrap() - 0.3).abs() < 1e-12);
    }

    #[test]
    fn what_is_declared_but_never_counted_is_zero_and_what_is_not_a_number_is_unknown() {
        let read = reading(concat!(
            "# TYPE vllm:num_preemptions_total counter\n",
            "# TYPE vllm:request_queue_time_seconds histogram\n",
            "# TYPE vllm:num_requests_waiting gauge\n",
            "vllm:num_requests_running NaN\n",
        ));
        assert_eq!(read.counters.get(&Counter::Preemptions), Some(&0.0));
        assert_eq!(read.counters.get(&Counter::QueueCount), Some(&0.0));
        assert_eq!((read.sample.waiting, read.sample.running), (None, None));
    }

    #[test]
    fn an_unknown_server_still_tells_its_memory() {
        let read = reading("up 1\nprocess_resident_memory_bytes 5\nprocess_start_time_seconds 9\n");
        assert_eq!((read.dialect, read.sample.memory_bytes, read.process_started), (None, Some(5.0), Some(9.0)));
        assert!(read.counters.is_empty());
    }
}
