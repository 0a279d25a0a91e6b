//! Every figure, defined once: its key, unit, formula, and when there is none.
//!
//! The JSON schema, the glossary and the renderers read this table. Notation for one request: `s` scheduled, `a` sent,
//! `f` first token, `l` last token, `n` output tokens, `n1` tokens in the first chunk.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One figure.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name in every machine-readable output.
    pub key: String,
    /// What it is counted in.
    pub unit: Unit,
    /// What it is, as a formula where there is one.
    pub definition: String,
    /// When it is `null`.
    pub undefined: String,
    /// Which way is good.
    pub better: Better,
    /// Which part of a report it belongs to.
    pub group: Group,
    /// Whether it is one of the figures that a run is judged by: these have a 95 % interval.
    pub headline: bool,
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Tokens per second.
    TokensPerSecond,
    /// Requests per second.
    RequestsPerSecond,
    /// Tokens, counted.
    Tokens,
    /// Tokens, averaged.
    MeanTokens,
    /// Requests, counted.
    Requests,
    /// Requests, averaged.
    MeanRequests,
    /// Mebibytes: 2^20 bytes. The keys say `mb`, as they always did.
    Mebibytes,
    /// Bytes.
    Bytes,
    /// Joules.
    Joules,
    /// A share between 0 and 1.
    Share,
    /// Percent of one core.
    Percent,
    /// A number of happenings.
    Count,
    /// A number without a unit.
    Ratio,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// It describes, and is neither.
    Neither,
}

/// Parts of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// How long requests took.
    Latency,
    /// How much was done per second.
    Throughput,
    /// What became of the requests.
    Reliability,
    /// What was offered, and how many requests ran at once.
    Load,
    /// The service level objective, and how many requests kept it.
    Objective,
    /// The part of the run in which it was steady.
    Steady,
    /// Memory.
    Memory,
    /// The machine as a whole.
    Host,
    /// The KV cache and speculative decoding.
    Cache,
    /// Where the time of the CPU engine's steps went.
    Engine,
    /// The measuring program itself.
    Client,
    /// What a server says of itself, and how it fits with what was measured.
    Server,
}

impl Unit {
    /// As it stands behind a number.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::TokensPerSecond => "tokens/s",
            Self::RequestsPerSecond => "requests/s",
            Self::Tokens | Self::MeanTokens => "tokens",
            Self::Requests | Self::MeanRequests => "requests",
            Self::Mebibytes => "MiB",
            Self::Bytes => "bytes",
            Self::Joules => "J",
            Self::Share => "0 to 1",
            Self::Percent => "%",
            Self::Count => "count",
            Self::Ratio => "ratio",
        }
    }

    /// Whether every value is a whole number.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Tokens | Self::Requests | Self::Bytes | Self::Count)
    }
}

/// A statistic over the requests of a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stat {
    /// Arithmetic mean.
    Avg,
    /// Sample standard deviation (n − 1).
    Std,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Percentile, by linear interpolation.
    Percentile(&'static str, f64),
}

impl Stat {
    /// The median.
    pub const P50: Self = Self::Percentile("p50", 0.5);
    /// The 90th percentile.
    pub const P90: Self = Self::Percentile("p90", 0.9);
    /// The 95th percentile.
    pub const P95: Self = Self::Percentile("p95", 0.95);
    /// The 99th percentile.
    pub const P99: Self = Self::Percentile("p99", 0.99);
    /// The 99.9th percentile.
    pub const P999: Self = Self::Percentile("p99.9", 0.999);
    /// The percentiles that need a number of successes before they may be claimed.
    pub const TAILS: [Self; 4] = [Self::P90, Self::P95, Self::P99, Self::P999];
    /// All statistics of a latency.
    pub const ALL: [Self; 9] =
        [Self::Avg, Self::Std, Self::Min, Self::Max, Self::P50, Self::P90, Self::P95, Self::P99, Self::P999];
    /// Those of a delay of the client.
    pub const DELAY: [Self; 4] = [Self::Avg, Self::P50, Self::P99, Self::Max];

    /// Those of the steady window.
    pub const STEADY: [Self; 3] = [Self::Avg, Self::P50, Self::P99];

    /// Those that failures, which take forever, can have.
    pub const INFLATED: [Self; 5] = [Self::P50, Self::P90, Self::P95, Self::P99, Self::P999];
    /// Those of the time to the first visible token.
    pub const VISIBLE: [Self; 3] = [Self::Avg, Self::P50, Self::P99];

    /// How keys begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Std => "std",
            Self::Min => "min",
            Self::Max => "max",
            Self::Percentile(name, _) => name,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Avg => "mean".into(),
            Self::Std => "sample standard deviation (n − 1)".into(),
            Self::Min => "smallest".into(),
            Self::Max => "largest".into(),
            Self::Percentile(name, _) => format!("{} percentile (linear interpolation)", &name[1..]),
        }
    }

    /// The key of this statistic of a quantity counted in milliseconds.
    pub fn key(self, quantity: &str) -> String {
        format!("{}_{quantity}_ms", self.prefix())
    }
}

/// All figures in the order in which they are written.
pub fn all() -> &'static [Metric] {
    &REGISTRY.metrics
}

/// The figure with this key.
pub fn find(key: &str) -> Option<&'static Metric> {
    REGISTRY.places.get(key).map(|place| &REGISTRY.metrics[*place])
}

struct Registry {
    metrics: Vec<Metric>,
    places: HashMap<String, usize>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let metrics = crate::catalog::metrics();
    let places = metrics.iter().enumerate().map(|(place, metric)| (metric.key.clone(), place)).collect();
    Registry { metrics, places }
});

/// The definition of one statistic of a quantity.
pub(crate) fn statistic(stat: Stat, of: &str) -> String {
    format!("{} over {of}", stat.words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_fully_described() {
        let mut seen = std::collections::HashSet::new();
        for metric in all() {
            assert!(seen.insert(&metric.key), "{} is defined twice", metric.key);
            assert!(!metric.definition.is_empty() && !metric.undefined.is_empty(), "{}", metric.key);
            assert!(metric.key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c)));
        }
    }

    #[test]
    fn the_keys_that_users_rely_on() {
        let keys = [
            "avg_ttft_ms",
            "p50_ttft_ms",
            "p95_ttft_ms",
            "p99_ttft_ms",
            "avg_tbt_ms",
            "avg_tpot_ms",
            "avg_throughput_tps",
            "request_throughput_rps",
            "input_throughput_tps",
            "output_throughput_tps",
            "total_throughput_tps",
            "total_time_s",
            "total_requests",
            "successful_requests",
            "failed_requests",
            "error_rate",
            "total_input_tokens",
            "total_output_tokens",
            "peak_mem_mb",
            "avg_mem_mb",
            "kv_used_tokens",
            "kv_used_bytes",
            "prefix_hit_rate",
            "evict_count",
            "evict_ms",
            "spec_accept_rate",
        ];
        for key in keys {
            assert!(find(key).is_some(), "{key} is missing");
        }
    }

    #[test]
    fn every_latency_has_every_statistic() {
        for quantity in ["ttft", "tbt", "tpot", "itl", "itl_token", "e2e", "ttft_from_schedule"] {
            for stat in Stat::ALL {
                assert!(find(&stat.key(quantity)).is_some(), "{}", stat.key(quantity));
            }
        }
        assert!(find("p99.9_ttft_ms").is_some());
    }
}
