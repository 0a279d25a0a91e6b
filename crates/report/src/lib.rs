//! From the records of a run to a summary that says how fast it was and whether it can be believed.
//!
//! [`registry`] defines every figure once. A [`Sample`] takes the records of one workload, a [`WorkloadSummary`] holds
//! its figures, a [`Summary`] those of a run; [`render`] turns one into text. The summary at the end of `run` and that
//! of `report` are both rebuilt from the journals on disk by [`load`].

mod batching;
mod catalog;
pub mod compare;
mod course;
mod damage;
mod endings;
mod error;
mod export;
mod figures;
mod glossary;
mod goodput;
pub mod history;
mod identity;
mod journal;
mod judge;
mod latency;
mod lines;
mod load;
mod manifest;
pub mod registry;
pub mod render;
mod sample;
mod schema;
mod stimulus;
mod summary;
pub mod sweep;
mod throughput;
mod uncertainty;
mod validity;
mod wire;
mod workload;
mod write;

pub use course::SteadyMethod;
pub use endings::FinishSummary;
pub use error::Error;
pub use glossary::glossary;
pub use identity::Identity;
pub use journal::{read_journal, read_records};
pub use load::{
    MANIFEST_FILE, SUMMARY_FILE, journal_file, load, load_with_slo, metrics_file, read_manifest, summarize_folder,
};
pub use manifest::{Hashes, Host, Manifest};
pub use sample::Sample;
pub use schema::schemas;
pub use summary::{Overall, Summary, Workloads};
pub use validity::{Code, Finding, Validity, Verdict};
pub use workload::{Details, Interval, Method, ServerSource, SteadyWindow, TailSamples, WorkloadSummary};
pub use write::{check_writable, write_atomic, write_json, write_results};
