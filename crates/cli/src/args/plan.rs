//! Options of `plan`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use sagellm_plan::Format;

use super::WorkloadArgs;

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(subcommand)]
    pub(crate) command: PlanCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Write the exact requests of a workload to a file, for `run --plan`
    Write(Box<PlanWriteArgs>),
    /// Validate a plan and show what it asks of a backend
    Check(PlanCheckArgs),
    /// Print a built-in workload as a file to begin with
    Show(PlanShowArgs),
    /// Write the requests of a plan in the form that another benchmark client reads
    Export(PlanExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PlanWriteArgs {
    /// File for the plan
    #[arg(long, short, default_value = "plan.jsonl", value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Model that the plan is for, as for `run` [default: synthetic:gpt2]
    #[arg(long, conflicts_with = "tokenizer")]
    pub(crate) model: Option<String>,
    /// Tokenizer alone, for a server: a folder, a tokenizer.json, a .gguf file, a hub name. Whether prompts fit into the
    /// model is not checked then
    #[arg(long, value_name = "SPEC")]
    pub(crate) tokenizer: Option<String>,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PlanCheckArgs {
    /// The plan
    #[arg(value_name = "FILE", required_unless_present = "results", conflicts_with = "results")]
    pub(crate) plan: Option<PathBuf>,
    /// Folder of a run: the plan in it is checked, and beside its arrivals those that were realised are shown
    #[arg(long, value_name = "FOLDER")]
    pub(crate) results: Option<PathBuf>,
    /// Draw the arrivals (those realised, with --results): their rate over time and the distribution of their gaps
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Workload to draw, when there are several
    #[arg(long, value_name = "NAME", requires = "svg")]
    pub(crate) workload: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanShowArgs {
    /// m1, year1, short, long, stress, Q1 to Q8 or all
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// The forms that other clients read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportName {
    /// vLLM's data set `custom`
    VllmCustom,
    /// vLLM's data set `timed_trace`
    VllmTimedTrace,
    /// SGLang's data set `openai`
    Sglang,
}

impl From<ExportName> for Format {
    fn from(name: ExportName) -> Self {
        match name {
            ExportName::VllmCustom => Self::VllmCustom,
            ExportName::VllmTimedTrace => Self::VllmTimedTrace,
            ExportName::Sglang => Self::SglangOpenai,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PlanExportArgs {
    /// The plan
    #[arg(value_name = "FILE")]
    pub(crate) plan: PathBuf,
    /// Form
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) to: ExportName,
    /// File to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Workload of the plan, when it holds several
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Option<String>,
}
