//! The summary of one workload: a flat object of figures, and beside them what is needed to judge them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use sagellm_core::journal::{Calibration, Close};
use sagellm_core::{Measured, OutcomeKind, Stamp, TokenSource, Workload};
use sagellm_stats as stats;
use sagellm_stats::{Batches, Estimate};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::SteadyMethod;
use crate::batching::TooFew;
use crate::endings::FinishSummary;
use crate::figures::{self, Computed, Figures};
use crate::judge::judge;
use crate::registry::{self, Stat};
use crate::sample::Sample;
use crate::validity::Validity;

/// The figures of one workload and how far they can be trusted.
///
/// As JSON it is one flat object: every key of the registry with a number or `null`, `reasons` with the reason of every
/// `null`, and the fields of [`Details`].
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadSummary {
    pub(crate) figures: Figures,
    /// Everything that is not a plain number.
    pub details: Details,
}

/// What stands beside the figures of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Details {
    /// What was run.
    pub workload: Workload,
    /// When the clock of the run read zero, as RFC 3339 in UTC.
    pub started_at: String,
    /// Measured requests by how they ended.
    pub outcomes: BTreeMap<String, u64>,
    /// How memory was read: `pss`, `rss`, or the name of a metric.
    pub mem_kind: Option<String>,
    /// Samples of memory taken.
    pub mem_samples: Option<u64>,
    /// What `evict_count` counts.
    pub evict_kind: Option<String>,
    /// Who took the stamps; more than one where they were mixed.
    pub stamp: Vec<Stamp>,
    /// Who counted the output tokens; more than one where they were mixed.
    pub output_tokens_source: Vec<TokenSource>,
    /// Successful requests by finish reason.
    #[serde(default)]
    pub finish_reasons: Vec<FinishSummary>,
    /// Who told the figures that only the server knows, by key; a server's time series stay in the journal.
    #[serde(default)]
    pub server_source: BTreeMap<String, ServerSource>,
    /// The client's own error at a load like this; `null` when it was not calibrated.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// How many values each latency has: requests, or gaps for `itl` and tokens for `itl_token`.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
    /// Quantities with so many values that their percentiles come from a sketch, and how far these can be off, as a
    /// share.
    #[serde(default)]
    pub sketch_relative_error: BTreeMap<String, f64>,
    /// The steady part of the run; `null` when there is none, for the reason of `steady_start_s`.
    #[serde(default)]
    pub steady: Option<SteadyWindow>,
    /// 95 % intervals of the headline figures, and of the percentiles of TTFT, TBT, TPOT and E2E.
    pub intervals: BTreeMap<String, Interval>,
    /// Successes that each percentile needs before it may be claimed, and how many are missing.
    pub tail_samples: BTreeMap<String, TailSamples>,
    /// Whether the figures can be believed.
    pub validity: Validity,
}

/// Who told a figure that only the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerSource {
    /// Its `/metrics`.
    Metrics,
    /// Its answers, each about itself.
    Answers,
}

/// The steady part of a run, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SteadyWindow {
    /// How it was found.
    pub method: SteadyMethod,
    /// Its beginning in seconds from the first sent request.
    pub start_s: f64,
    /// Its end, likewise.
    pub end_s: f64,
}

/// A 95 % interval, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Lower end; `null` when there is no interval.
    pub low: Option<f64>,
    /// Upper end; `null` when there is no interval.
    pub high: Option<f64>,
    /// Observations.
    pub n: u64,
    /// Independent observations that would be worth as much; `null` of no observation.
    pub effective_n: Option<f64>,
    /// How it was found.
    pub method: Method,
    /// Batches whose spread it comes from; `null` when there is no interval.
    #[serde(default)]
    pub batches: Option<u64>,
    /// Why there is none.
    pub reason: Option<String>,
    /// Observations that it needs, where they are too few.
    #[serde(default)]
    pub needed: Option<u64>,
}

/// How an interval was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Order statistics with the binomial ranks of as many independent values as these are worth by the spread of batches:
    /// no distribution is assumed, and correlation of neighbors is allowed for.
    OrderStatistics,
    /// The spread of batches of neighbors, with Student's t: correlation of neighbors is allowed for.
    #[serde(alias = "block_bootstrap")]
    BatchMeans,
}

/// The data behind a percentile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TailSamples {
    /// Successes that it needs to be claimed with 99 % confidence.
    pub needed: u64,
    /// Successes that there are.
    pub have: u64,
    /// How many more are needed; 0 when there are enough.
    pub missing: u64,
}

impl Interval {
    pub(crate) fn new(
        method: Method,
        n: u64,
        batches: &Result<Batches, TooFew>,
        found: Option<Estimate>,
        effective_n: Option<f64>,
    ) -> Self {
        const NOTHING: &str = "the values are no positive numbers";
        let too_few = batches.as_ref().err();
        let reason = || too_few.map_or(NOTHING, |too_few| &too_few.reason).to_owned();
        Self {
            low: found.map(|found| found.interval.low),
            high: found.map(|found| found.interval.high),
            n,
            effective_n: effective_n.filter(|n| n.is_finite()),
            method,
            batches: batches.as_ref().ok().filter(|_| found.is_some()).map(|batches| batches.count() as u64),
            reason: found.is_none().then(reason),
            needed: too_few.map(|too_few| too_few.needed),
        }
    }
}

impl WorkloadSummary {
    pub(crate) fn of(sample: &Sample, close: Option<&Close>) -> Self {
        let Computed { figures, intervals, server_source } = figures::compute(sample, close);
        let have = sample.count(OutcomeKind::Success);
        let tail_samples = Stat::TAILS.into_iter().filter_map(|stat| tail_samples(stat, have)).collect();
        let mut summary = Self {
            figures,
            details: Details {
                workload: sample.header.workload.clone(),
                started_at: sample.header.clock_started.rfc3339(),
                outcomes: sample.outcomes.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect(),
                mem_kind: close.map(|close| close.memory.kind.clone()),
                mem_samples: close.map(|close| close.memory.samples),
                evict_kind: close.and_then(|close| close.backend.evict_kind.clone()),
                stamp: sample.stamps.clone(),
                output_tokens_source: sample.token_sources.clone(),
                finish_reasons: sample.endings.by_reason(),
                server_source,
                calibration: sample.header.calibration.clone(),
                counts: sample.counts(),
                sketch_relative_error: sample.sketched(),
                steady: sample.steady.as_ref().ok().map(|steady| SteadyWindow {
                    method: steady.method,
                    start_s: steady.start_s,
                    end_s: steady.start_s + steady.length_s,
                }),
                intervals,
                tail_samples,
                validity: Validity::default(),
            },
        };
        summary.details.validity = judge(sample, close, &summary);
        summary
    }

    /// Name of the workload.
    pub fn name(&self) -> &str {
        &self.details.workload.name
    }

    /// The figure with this key, if it is known.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.figures.values.get(key).copied()
    }

    /// The figure with this key, or the reason why there is none.
    pub fn figure(&self, key: &str) -> Measured<f64> {
        match self.get(key) {
            Some(value) => Measured::known(value),
            None => Measured::unknown(self.reason(key)),
        }
    }

    /// Why the figure with this key is not known.
    pub fn reason(&self, key: &str) -> &str {
        self.figures.reasons.get(key).map_or("the file does not say", String::as_str)
    }

    /// Whether its requests went over HTTP, and not to the engine in this process.
    pub fn over_http(&self) -> bool {
        self.details.stamp.iter().any(|stamp| *stamp != Stamp::Engine)
    }

    /// Whether the percentile with this prefix has fewer successes than it needs to be claimed.
    pub fn lacks_samples(&self, percentile: &str) -> bool {
        self.details.tail_samples.get(percentile).is_some_and(|tail| tail.missing > 0)
    }
}

fn tail_samples(stat: Stat, have: u64) -> Option<(String, TailSamples)> {
    let Stat::Percentile(name, q) = stat else { return None };
    let needed = stats::successes_needed(q)?;
    Some((name.to_owned(), TailSamples { needed, have, missing: needed.saturating_sub(have) }))
}

const REASONS: &str = "reasons";

impl Serialize for WorkloadSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let details = serde_json::to_value(&self.details).map_err(S::Error::custom)?;
        let Value::Object(details) = details else { return Err(S::Error::custom("details are not an object")) };
        let mut map = serializer.serialize_map(None)?;
        for metric in registry::all() {
            match self.get(&metric.key) {
                Some(value) if metric.unit.is_whole() => map.serialize_entry(&metric.key, &(value as u64))?,
                value => map.serialize_entry(&metric.key, &value)?,
            }
        }
        map.serialize_entry(REASONS, &self.figures.reasons)?;
        for (key, value) in &details {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for WorkloadSummary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Flat;
        impl<'de> Visitor<'de> for Flat {
            type Value = WorkloadSummary;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("the figures of a workload")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WorkloadSummary, A::Error> {
                let mut figures = Figures::default();
                let mut details = Map::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key == REASONS {
                        figures.reasons = map.next_value()?;
                    } else if registry::find(&key).is_some() {
                        if let Some(value) = map.next_value::<Option<f64>>()? {
                            figures.values.insert(key, value);
                        }
                    } else {
                        details.insert(key, map.next_value()?);
                    }
                }
                for metric in registry::all().iter().filter(|metric| !figures.values.contains_key(&metric.key)) {
                    figures.reasons.entry(metric.key.clone()).or_insert_with(|| "not in the file that was read".into());
                }
                let details = Details::deserialize(Value::Object(details)).map_err(A::Error::custom)?;
                Ok(WorkloadSummary { figures, details })
            }
        }
        deserializer.deserialize_map(Flat)
    }
}

impl JsonSchema for WorkloadSummary {
    fn schema_name() -> Cow<'static, str> {
        "WorkloadSummary".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = Map::new();
        for metric in registry::all() {
            let kind = if metric.unit.is_whole() { "integer" } else { "number" };
            let text = format!("{} [{}]. Null when: {}.", metric.definition, metric.unit.symbol(), metric.undefined);
            properties.insert(metric.key.clone(), json!({ "description": text, "type": [kind, "null"] }));
        }
        let reasons = json!({
            "description": "Why each figure that is null is so.",
            "type": "object",
            "additionalProperties": { "type": "string" },
        });
        properties.insert(REASONS.into(), reasons);
        if let Some(Value::Object(details)) = Details::json_schema(generator).get("properties") {
            properties.extend(details.clone());
        }
        let required: Vec<Value> = properties.keys().map(|key| json!(key)).collect();
        let mut schema = Schema::default();
        schema.insert("description".into(), json!("The figures of one workload and how far they can be trusted."));
        schema.insert("type".into(), json!("object"));
        schema.insert("properties".into(), Value::Object(properties));
        schema.insert("required".into(), Value::Array(required));
        schema
    }
}
