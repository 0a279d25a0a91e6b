//! Workloads and arrival processes, made into a plan.
//!
//! [`builtin`] looks workloads up by name, [`Overrides`] changes them as the command line asks, and [`build`] makes the
//! exact requests: when each is due, and a prompt of exactly the stated number of tokens. Everything drawn by chance is a
//! function of the workload's parameters and its seed, and the same on every machine.

mod arrival;
mod artefact;
mod build;
mod corpus;
mod error;
mod fit;
mod overrides;
mod portable;
mod random;
mod workloads;

pub use arrival::offsets;
pub use artefact::{hash, to_jsonl};
pub use build::{Decoding, build};
pub use error::PlanError;
pub use overrides::Overrides;
pub use workloads::{NAMES, builtin};
