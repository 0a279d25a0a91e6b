//! The CPU inference engine.
//!
//! One thread owns everything: it takes requests from a channel, forms steps of prefill chunks and decode tokens
//! ([`scheduler`]), computes them ([`nn`], [`kernels`]) over a paged KV cache ([`kv`]), samples, and sends each token's
//! event stamped the moment its id is known.

mod backend;
mod draft;
mod error;
mod gauges;
mod kernels;
mod kv;
mod likelihood;
mod memory_limit;
mod models;
mod nn;
mod sampler;
mod scheduler;
mod sequence;
mod stats;
mod step;
mod weights;

pub use backend::{CpuEngine, EngineOptions};
pub use error::EngineError;
pub use kernels::Isa;
pub use likelihood::{Likelihood, likelihood};
pub use memory_limit::MemoryLimit;
pub use stats::EngineLoad;
pub use weights::ComputeDtype;
