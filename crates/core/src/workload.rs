//! What a workload is: where its prompts come from and when its requests are due.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Slo;

/// How a workload is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By an arrival pattern.
    #[default]
    Traffic,
    /// Everything at time zero; total time and throughput are the result.
    Batch,
}

/// A workload that can be planned: its name and the parameters that its requests are made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Name in results, such as `short_input`.
    pub name: String,
    /// Traffic or batch.
    pub mode: Mode,
    /// Where the prompts come from.
    pub source: Source,
    /// Measured requests; with `duration_s` the most there can be.
    pub num_prompts: u32,
    /// Seconds after which nothing more is sent; `null` means that the requests are the only limit.
    pub duration_s: Option<f64>,
    /// Requests in flight at most, or conversations at once; `null` means no cap.
    pub max_concurrency: Option<u32>,
    /// The arrival process.
    pub arrival: Arrival,
    /// Requests sent before the measured ones, with prompts of their own, and kept out of every figure; `null` sends waves
    /// of them until two agree.
    pub num_warmups: Option<u32>,
    /// Seed of prompts and offsets.
    pub seed: u64,
    /// What a request must keep to be of use; absent when nothing was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<Slo>,
}

impl Workload {
    /// Whether a free slot is what makes a request due: traffic with a cap and without an arrival process.
    pub fn is_closed_loop(&self) -> bool {
        self.mode == Mode::Traffic && self.arrival == Arrival::Immediate && self.max_concurrency.is_some()
    }
}

/// Where prompts and their lengths come from. Lengths are in tokens, special tokens included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Readable English of exactly the stated length.
    Text {
        /// Tokens per prompt.
        input_tokens: u32,
        /// Tokens asked for per request.
        output_tokens: u32,
        /// Leading prompt tokens that all measured prompts share.
        #[serde(default)]
        shared_prefix_tokens: u32,
    },
    /// Random tokens. Lengths are whole numbers drawn evenly from ⌊L(1−r)⌋ to ⌈L(1+r)⌉, as vLLM does.
    Random {
        /// L of the prompt, without `prefix_tokens`.
        input_tokens: u32,
        /// L of the output.
        output_tokens: u32,
        /// r, from 0 to below 1; 0 makes all lengths exact.
        #[serde(default)]
        range_ratio: f64,
        /// Leading tokens that all measured prompts share, in addition to `input_tokens`.
        #[serde(default)]
        prefix_tokens: u32,
    },
    /// Prompts of a common beginning, one of several, and an ending of their own: vLLM's `prefix_repetition`.
    PrefixRepetition {
        /// Tokens of each beginning.
        prefix_tokens: u32,
        /// Number of beginnings; the prompts take turns.
        num_prefixes: u32,
        /// Tokens of each ending.
        suffix_tokens: u32,
        /// Tokens asked for per request.
        output_tokens: u32,
    },
    /// Groups of prompts that share a system prompt: SGLang's `generated-shared-prefix`.
    SharedPrefix {
        /// Number of groups.
        num_groups: u32,
        /// Prompts of each group; with `zipf` the mean.
        prompts_per_group: u32,
        /// Tokens of the system prompt of a group.
        system_tokens: u32,
        /// Tokens of each question.
        question_tokens: u32,
        /// Tokens asked for per request.
        output_tokens: u32,
        /// Exponent of a Zipf law over the groups: some are asked far more often. `null` makes all equally frequent.
        #[serde(default)]
        zipf: Option<f64>,
    },
    /// Conversations of the ShareGPT data set.
    Sharegpt {
        /// The JSON file.
        path: PathBuf,
        /// Whose rules decide what is kept.
        #[serde(default)]
        rules: SharegptRules,
        /// Tokens asked for per request, instead of those of the answer in the data set.
        #[serde(default)]
        output_tokens: Option<u32>,
    },
    /// A JSONL file with one request per line: vLLM's `{"prompt", "output_tokens"}` or OpenAI's `{"messages", "max_tokens"}`.
    Custom {
        /// The file.
        path: PathBuf,
        /// Tokens asked for per request, instead of those that the line states.
        #[serde(default)]
        output_tokens: Option<u32>,
    },
    /// Conversations whose later turns carry the answers that were given to the earlier ones.
    MultiTurn {
        /// Turns of each conversation.
        turns: u32,
        /// Tokens of the first message.
        first_tokens: u32,
        /// Tokens of each later message.
        turn_tokens: u32,
        /// Tokens asked for per turn.
        output_tokens: u32,
        /// Seconds from the end of an answer to the next message; the mean of an exponential law.
        #[serde(default)]
        think_s: f64,
    },
    /// Recorded lengths and times of a real service.
    Trace {
        /// The file.
        path: PathBuf,
        /// What it holds.
        format: TraceFormat,
        /// Factor on all times: 0.5 is twice as fast.
        #[serde(default = "one")]
        time_scale: f64,
        /// Seconds of the trace, before scaling, that are skipped at its beginning.
        #[serde(default)]
        skip_s: f64,
        /// Seconds of the trace after these, before scaling, that are taken; `null` takes all that follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        take_s: Option<f64>,
    },
}

fn one() -> f64 {
    1.0
}

/// Whose rules decide which conversations of ShareGPT are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SharegptRules {
    /// At least 4 tokens each way, a prompt of at most 1024 tokens, both together at most 2048.
    #[default]
    Vllm,
    /// What fits into the model's context.
    Sglang,
}

/// The traces that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TraceFormat {
    /// CSV: Timestamp (s), Model, Request tokens, Response tokens, ...
    Burstgpt,
    /// JSONL: timestamp (ms), input_length, output_length, hash_ids of 512-token blocks.
    Mooncake,
    /// CSV: TIMESTAMP, ContextTokens, GeneratedTokens.
    Azure,
}

/// The process that the offsets of a plan are drawn from. Rates are requests (or conversations) per second; burstiness is
/// the shape of the gamma distribution of the gaps: 1 is a Poisson process, below 1 is burstier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrival {
    /// All requests are due at time zero; a concurrency cap makes it a closed loop.
    #[default]
    Immediate,
    /// When the trace that is the source says.
    Trace,
    /// Equal gaps.
    Constant {
        /// Requests per second.
        rate: f64,
    },
    /// Independent exponential gaps.
    Poisson {
        /// Requests per second.
        rate: f64,
    },
    /// Independent gaps with mean `1/rate` and coefficient of variation `1/sqrt(burstiness)`.
    Gamma {
        /// Requests per second.
        rate: f64,
        /// Shape of the gaps.
        burstiness: f64,
    },
    /// Several requests at once, again and again.
    Burst {
        /// Requests that come together.
        size: u32,
        /// Seconds from one burst to the next.
        every_s: f64,
    },
    /// A rate for a while, then nothing for a while, again and again.
    OnOff {
        /// Requests per second while on.
        rate: f64,
        /// Seconds on.
        on_s: f64,
        /// Seconds off.
        off_s: f64,
        /// Shape of the gaps.
        #[serde(default = "one")]
        burstiness: f64,
    },
    /// A rate that changes with time and stays at its end.
    Ramp {
        /// Requests per second at the start.
        from_rate: f64,
        /// Requests per second at the end.
        to_rate: f64,
        /// Seconds from one to the other; `null` makes the last request the end of the ramp.
        #[serde(default)]
        over_s: Option<f64>,
        /// How it changes.
        #[serde(default)]
        shape: RampShape,
        /// Shape of the gaps.
        #[serde(default = "one")]
        burstiness: f64,
    },
    /// Stages with a rate each; the last one goes on.
    Phases {
        /// In their order.
        phases: Vec<RatePhase>,
        /// Shape of the gaps.
        #[serde(default = "one")]
        burstiness: f64,
    },
}

/// How a rate goes from one value to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RampShape {
    /// By equal amounts in equal times.
    #[default]
    Linear,
    /// By equal factors in equal times.
    Exponential,
}

/// One stage of an arrival process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RatePhase {
    /// Requests per second.
    pub rate: f64,
    /// Seconds that it lasts.
    pub for_s: f64,
}
