//! What can be measured: the in-process engine, or a server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Clock, Event, Failure, Measured, Request, Stamp};

/// Where a backend puts its events. Cheap to clone, never blocks.
pub type EventSink = Sender<Event>;

/// A request made ready to be sent, so that nothing slow is left to do when it is due.
pub type Prepared = Arc<Request>;

/// Something that answers requests.
///
/// One call to `submit` is followed by exactly one [`EventKind::Sent`](crate::EventKind::Sent), any number of chunks,
/// and one [`EventKind::End`](crate::EventKind::End) on the sink, also when the request is refused or cancelled.
pub trait Backend: Send + Sync {
    /// What it is, for the manifest.
    fn info(&self) -> BackendInfo;

    /// Hands a request over without blocking.
    ///
    /// # Errors
    /// Only when the backend as a whole is gone; what concerns one request arrives as its end event.
    fn submit(&self, request: Prepared, sink: &EventSink) -> Result<(), Failure>;

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
}
