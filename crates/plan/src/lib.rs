//! Workloads, data sets and arrival processes, made into a plan.
//!
//! A [`Spec`] says what a workload is: one of the [`builtin`] ones or a file, changed by [`Overrides`] as the command line
//! asks. A [`Planner`] makes its exact requests, one after the other: when each is due, and its prompt. [`write()`] puts
//! them into a [`PlanFile`], from which they are read again to be run, checked or handed on. Everything drawn by chance is
//! a function of the parameters and the seed, and the same on every machine.

mod arrival;
mod artefact;
mod error;
mod overrides;
mod planner;
mod portable;
mod random;
mod sources;
mod spec;
mod workloads;

pub use arrival::Offsets;
pub use artefact::{Outline, PlanFile, write};
pub use error::PlanError;
pub use overrides::Overrides;
pub use planner::Planner;
pub use spec::{Decoding, Spec};
pub use workloads::{NAMES, builtin};
