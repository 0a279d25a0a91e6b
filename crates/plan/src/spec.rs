//! What a workload is, before it is known how many requests its source holds.

use sagellm_core::{Arrival, Mode, Slo, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PlanError, arrival, planner};

/// A workload as a file or the command line describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Name in results, such as `short_input`.
    pub name: String,
    /// Traffic or batch.
    #[serde(default)]
    pub mode: Mode,
    /// Where the prompts come from.
    pub source: Source,
    /// Measured requests; `null` takes all that the source has, else what `duration_s` asks for, else 1000.
    #[serde(default)]
    pub num_prompts: Option<u32>,
    /// Seconds after which nothing more is sent.
    #[serde(default)]
    pub duration_s: Option<f64>,
    /// Requests in flight at most, or conversations at once.
    #[serde(default)]
    pub max_concurrency: Option<u32>,
    /// The arrival process.
    #[serde(default)]
    pub arrival: Arrival,
    /// Requests before the measured ones, with prompts of their own, kept out of every figure; `null` sends waves of them
    /// until two agree.
    #[serde(default)]
    pub num_warmups: Option<u32>,
    /// Seed of prompts, offsets and sampling.
    #[serde(default)]
    pub seed: u64,
    /// How tokens are chosen.
    #[serde(default)]
    pub sampling: Decoding,
    /// What a request must keep to count as goodput.
    #[serde(default)]
    pub goodput: Option<Slo>,
    /// Conditions under which a run fails (exit code 6), such as `p99_ttft_ms>500ms`: see `run --fail-on`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fail_on: Vec<String>,
}

impl Spec {
    /// A workload in which everything is due at once.
    pub fn new(name: impl Into<String>, source: Source) -> Self {
        Self {
            name: name.into(),
            mode: Mode::default(),
            source,
            num_prompts: None,
            duration_s: None,
            max_concurrency: None,
            arrival: Arrival::default(),
            num_warmups: None,
            seed: 0,
            sampling: Decoding::default(),
            goodput: None,
            fail_on: Vec::new(),
        }
    }

    /// Refuses what is out of range or contradicts itself, as far as it can be known without the data.
    ///
    /// # Errors
    /// [`PlanError::Value`] and [`PlanError::Contradiction`], which name the field.
    pub fn check(&self) -> Result<(), PlanError> {
        // The name becomes that of a file.
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            let range = "made of letters, digits, `_`, `-` and `.`, which does not come first";
            return Err(PlanError::Value { option: "name", value: self.name.clone(), range });
        }
        self.sampling.check()?;
        if let Some(slo) = self.goodput.as_ref().filter(|slo| !slo.is_sound()) {
            let range = "limits that are positive numbers of milliseconds, at least one";
            return Err(PlanError::Value { option: "goodput", value: slo.to_string(), range });
        }
        arrival::check(&self.arrival)?;
        planner::check(self)
    }
}

/// How tokens are chosen, for all requests of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Decoding {
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// Smallest set of tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// The so many most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Whether generation goes on past an end-of-sequence token, so that the length is the one asked for.
    pub ignore_eos: bool,
}

impl Default for Decoding {
    fn default() -> Self {
        Self { temperature: 0.0, top_p: 1.0, top_k: 0, ignore_eos: true }
    }
}

impl Decoding {
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let Self { temperature, top_p, .. } = *self;
        if !temperature.is_finite() || temperature < 0.0 {
            let range = "a number that is not below 0";
            return Err(PlanError::Value { option: "--temperature", value: temperature.to_string(), range });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(PlanError::Value {
                option: "--top-p",
                value: top_p.to_string(),
                range: "above 0 and at most 1",
            });
        }
        Ok(())
    }
}
