//! Which requests, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Request;

/// How a workload is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By an arrival pattern.
    Traffic,
    /// Everything at time zero; total time and throughput are the result.
    Batch,
}

/// The process that the offsets of a plan were drawn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "process", rename_all = "snake_case")]
pub enum Arrival {
    /// All requests are due at time zero; a concurrency cap makes it a closed loop.
    Immediate,
    /// Gaps drawn from a gamma distribution with mean `1/rate` and coefficient of variation `1/sqrt(burstiness)`;
    /// burstiness 1 is a Poisson process.
    Gamma {
        /// Requests per second.
        rate: f64,
        /// Shape of the distribution of the gaps.
        burstiness: f64,
    },
}

/// What a workload is: its name and the parameters that its requests were made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Name in results, such as `short_input`.
    pub name: String,
    /// Traffic or batch.
    pub mode: Mode,
    /// Measured requests.
    pub num_prompts: u32,
    /// Tokens per prompt, special tokens included.
    pub input_tokens: u32,
    /// Tokens asked for per request.
    pub output_tokens: u32,
    /// Leading prompt tokens that all measured prompts share.
    pub shared_prefix_tokens: u32,
    /// Requests in flight at most; `null` means no cap.
    pub max_concurrency: Option<u32>,
    /// The arrival process.
    pub arrival: Arrival,
    /// Requests sent before the measured ones, with prompts of their own, and kept out of every figure.
    pub num_warmups: u32,
    /// Seed of prompts and offsets.
    pub seed: u64,
}

/// A workload made concrete: the exact requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// What the requests were made from.
    pub workload: Workload,
    /// Sent one after the other before the measured ones.
    pub warmups: Vec<Request>,
    /// The measured requests by ascending offset.
    pub requests: Vec<Request>,
}

/// One line of `plan.jsonl`. A header comes first; each workload is followed by its requests, warm-ups first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum PlanLine {
    /// The first line.
    Header {
        /// [`SCHEMA_VERSION`](crate::SCHEMA_VERSION).
        schema_version: u32,
        /// The generator that prompts and offsets were drawn with.
        generator: String,
    },
    /// What the requests below were made from.
    Workload(Workload),
    /// A request sent before the measured ones.
    Warmup(Request),
    /// A measured request.
    Request(Request),
}
