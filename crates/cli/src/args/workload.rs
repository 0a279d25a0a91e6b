//! Options of what is measured with: the workload, its data and how tokens are chosen.

use clap::{Args, ValueEnum};
use sagellm_core::Mode;

use super::{DatasetArgs, LoadArgs, SamplingArgs};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeName {
    /// By the workload's arrival pattern
    Traffic,
    /// All requests at once; total time and throughput are the result
    Batch,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Traffic => Self::Traffic,
            ModeName::Batch => Self::Batch,
        }
    }
}

/// Which requests there are.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkloadArgs {
    /// Workload: m1 or year1 (short, long and stress), short, long, stress, Q1 to Q8, all (of these), or a file (.yaml,
    /// .toml, .json)
    #[arg(long, default_value = "m1", value_name = "NAME", conflicts_with = "dataset_name")]
    pub(crate) workload: String,
    /// How requests are offered [default: traffic]
    #[arg(long, value_enum)]
    pub(crate) mode: Option<ModeName>,

    #[command(flatten)]
    pub(crate) dataset: DatasetArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
}
