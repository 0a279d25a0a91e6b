//! Workloads, data sets and arrival processes, made into a plan.
//!
//! A [`Spec`] says what a workload is: one of the [`builtin`] ones or a file, changed by [`Overrides`] as the command line
//! asks. A [`Planner`] makes its exact requests, one after the other: when each is due, and its prompt. [`write()`] puts
//! them into a [`PlanFile`], from which they are read again to be run, checked or handed on. Everything drawn by chance is
//! a function of the parameters and the seed, and the same on every machine.

mod arrival;
mod artefact;
mod error;
mod export;
mod overrides;
mod planner;
mod portable;
mod random;
mod sources;
mod spec;
mod survey;
mod warmups;
mod workload_file;
mod workloads;

pub use arrival::Offsets;
pub use artefact::{Outline, PlanFile, write};
pub use error::PlanError;
pub use export::{Exported, Format, export};
pub use overrides::{Overrides, Ramp};
pub use planner::Planner;
pub use sources::Nonce;
pub use spec::{Decoding, Spec};
pub use survey::{ArrivalStats, Lengths, Prefixes, Survey, TimeBin, arrivals_svg, offsets, survey};
pub use workload_file::{names_file, read_workloads, workload_schema};
pub use workloads::{NAMES, builtin, builtin_text};
