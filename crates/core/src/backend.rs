//! What can be measured: the in-process engine, or a server.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Clock, EventSink, Failure, Measured, Nanos, OutputText, Record, Request, Stamp};

/// A request made ready to be sent, so that nothing slow is left to do when it is due.
pub type Prepared = Arc<Request>;

/// Something that answers requests.
///
/// One call to `submit` is followed by one [`EventKind::Sent`](crate::EventKind::Sent) (none when no connection could be
/// had, so that nothing left this machine), any number of chunks, and exactly one
/// [`EventKind::End`](crate::EventKind::End) on the sink, also when the request is refused or cancelled.
pub trait Backend: Send + Sync {
    /// What it is, for the manifest.
    fn info(&self) -> BackendInfo;

    /// Hands a request over without blocking.
    ///
    /// # Errors
    /// Only when the backend as a whole is gone; what concerns one request arrives as its end event.
    fn submit(&self, request: Prepared, sink: &EventSink) -> Result<(), Failure>;

    /// How long before it is due a request may be handed over by [`Backend::submit_at`]. Zero, the default, where it is
    /// begun as soon as it is handed over.
    fn lead(&self) -> Nanos {
        0
    }

    /// Hands a request over that is to be begun at `due` on the clock of the backend, not before, so that the way from one
    /// thread to another makes nothing late. Its `Sent` says when it was begun.
    ///
    /// # Errors
    /// As [`Backend::submit`].
    fn submit_at(&self, request: Prepared, _due: Nanos, sink: &EventSink) -> Result<(), Failure> {
        self.submit(request, sink)
    }

    /// Whether it becomes faster by having seen the sizes of a load, because kernels are compiled, graphs captured or buffers
    /// made when they are first needed. If not, one request is warm-up enough.
    fn learns_from_load(&self) -> bool {
        true
    }

    /// Finishes the record of an answer whose text came with its end: counts tokens and hashes the text. Called on a thread
    /// that neither sends nor reads, so that this work makes nothing late.
    fn complete(&self, _record: &mut Record, _text: OutputText) {}

    /// Gives up on a request; its end event follows.
    fn cancel(&self, request: u64);

    /// Begins a new window: peaks and counters are counted from here.
    fn begin_window(&self);

    /// What the window held so far.
    fn window(&self) -> BackendStats;

    /// The clock that stamps its events.
    fn clock(&self) -> Clock;
}

/// What a backend is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackendInfo {
    /// Name as on the command line: `cpu`, `vllm`, ...
    pub name: String,
    /// Version of the engine or server.
    pub version: Option<String>,
    /// The model that answers.
    pub model: ModelInfo,
    /// Who takes the stamps.
    pub stamp: Stamp,
    /// Settings that were in force, as words: threads, ISA, block size, ...
    pub settings: BTreeMap<String, String>,
}

/// What is known of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelInfo {
    /// As it was named on the command line.
    pub name: String,
    /// Where its files lie; `null` for a synthetic one or a server's.
    pub path: Option<String>,
    /// Architecture, such as `llama`.
    pub architecture: Option<String>,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Type of the weights as computed with, such as `f32`.
    pub dtype: Option<String>,
    /// Longest sequence.
    pub context_length: Option<u32>,
    /// Whether the weights are random: speed is real, text is not.
    pub synthetic: bool,
    /// SHA-256 of the weight files' names, sizes and headers.
    pub fingerprint: Option<String>,
}

/// What the backend says of one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackendStats {
    /// Most tokens held in the KV cache at once.
    pub kv_used_tokens: Measured<u64>,
    /// The same in bytes.
    pub kv_used_bytes: Measured<u64>,
    /// Tokens that the KV cache can hold.
    pub kv_capacity_tokens: Measured<u64>,
    /// Prompt tokens looked up in the prefix cache.
    pub prefix_lookup_tokens: Measured<u64>,
    /// Of these, found.
    pub prefix_hit_tokens: Measured<u64>,
    /// KV blocks evicted from the prefix cache plus those taken from preempted requests.
    pub evict_count: Measured<u64>,
    /// What `evict_count` counts.
    pub evict_kind: Option<String>,
    /// Time spent on evictions, in milliseconds.
    pub evict_ms: Measured<f64>,
    /// Requests put back to be recomputed.
    pub preemptions: Measured<u64>,
    /// Tokens drafted by speculative decoding.
    pub spec_drafted_tokens: Measured<u64>,
    /// Of these, accepted.
    pub spec_accepted_tokens: Measured<u64>,
    /// Where the time of the engine's steps went; `null` for a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<StepTimes>,
    /// What the gauges of an engine in this process showed, in the order of time. Those of a server are in `server`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<ServerSample>,
    /// What the server's own `/metrics` say; `null` for a backend without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerWindow>,
}

impl BackendStats {
    /// Statistics of a backend that tells nothing, and why.
    pub fn unknown(reason: &str) -> Self {
        Self {
            kv_used_tokens: Measured::unknown(reason),
            kv_used_bytes: Measured::unknown(reason),
            kv_capacity_tokens: Measured::unknown(reason),
            prefix_lookup_tokens: Measured::unknown(reason),
            prefix_hit_tokens: Measured::unknown(reason),
            evict_count: Measured::unknown(reason),
            evict_kind: None,
            evict_ms: Measured::unknown(reason),
            preemptions: Measured::unknown(reason),
            spec_drafted_tokens: Measured::unknown(reason),
            spec_accepted_tokens: Measured::unknown(reason),
            steps: None,
            samples: Vec::new(),
            server: None,
        }
    }
}

/// Where the time of the steps of one window went, in milliseconds of the thread that leads them. The parts add up to the
/// time of all steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepTimes {
    /// Steps computed.
    pub steps: u64,
    /// Tokens computed in them: of prompts, of answers, and drafted ones.
    pub tokens: u64,
    /// Attention over the cache, and writing to it.
    pub attention_ms: f64,
    /// Products with weights.
    pub matmul_ms: f64,
    /// From logits to tokens that are sent.
    pub sampling_ms: f64,
    /// Choosing what to compute, and putting away what has ended.
    pub scheduling_ms: f64,
    /// The rest of a forward pass: embedding, norms, positions, activations.
    pub other_ms: f64,
}

/// One window as a server's `/metrics` tell it. Means are exact: difference of sums over difference of counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerWindow {
    /// Mean time to the first token, in milliseconds.
    pub ttft_ms: Measured<f64>,
    /// Mean time in the queue, in milliseconds.
    pub queue_ms: Measured<f64>,
    /// Mean time of prefill, in milliseconds.
    pub prefill_ms: Measured<f64>,
    /// Mean time of decoding, in milliseconds.
    pub decode_ms: Measured<f64>,
    /// Mean of the server's own rate of acceptance over the readings, where it tells no counts of drafted tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_accept_rate: Option<f64>,
    /// Mean number of tokens that a step of speculative decoding gives.
    #[serde(default = "ServerWindow::not_kept")]
    pub spec_accept_length: Measured<f64>,
    /// Bytes that the weights take on the server's device.
    #[serde(default = "ServerWindow::not_kept")]
    pub weight_bytes: Measured<f64>,
    /// Whether a counter went down: the server was started anew within the window.
    pub restarted: bool,
    /// Why what was counted ends a little before the window, where it does: the last reading failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// What was read, in the order of time.
    pub samples: Vec<ServerSample>,
}

impl ServerWindow {
    /// For journals written before a figure was kept.
    fn not_kept() -> Measured<f64> {
        Measured::unknown("the program that wrote the journal did not keep it")
    }
}

/// One reading of the gauges of a server or an engine; `null` where it exposes none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerSample {
    /// When it was read, on the clock of the run.
    pub at_ns: u64,
    /// Requests being computed.
    pub running: Option<f64>,
    /// Requests in the queue.
    pub waiting: Option<f64>,
    /// Share of the KV cache in use, from 0 to 1.
    pub kv_usage: Option<f64>,
    /// Tokens in the KV cache.
    pub kv_used_tokens: Option<f64>,
    /// Resident memory of the server in bytes.
    pub memory_bytes: Option<f64>,
}
