//! Arguments of `compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sagellm_report::compare::Gate;

use super::history::DEFAULT_STORE;

/// Two or more results, the first of which is what the others are compared with.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Results: the folder of a run, a folder of repeated runs, a summary, or a file that vLLM's
    /// or SGLang's benchmark, AIPerf or llama-bench wrote
    #[arg(required = true, num_args = 1.., value_name = "RESULT")]
    pub(crate) results: Vec<PathBuf>,
    /// Compare with the runs that the history has by this name: the latest, or where results are repeated runs, the latest
    /// twenty
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,
    /// File of the history
    #[arg(long, default_value = DEFAULT_STORE, value_name = "FILE", requires = "baseline")]
    pub(crate) store: PathBuf,
    /// Fail (exit code 6) when this is sure, such as 'avg_tbt_ms>5%' (the change) or 'p99_ttft_ms>500ms' (the value); can be
    /// given several times
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_on: Vec<Gate>,
    /// A change within this percentage is no difference
    #[arg(long, default_value_t = 2.0, value_name = "PERCENT")]
    pub(crate) margin: f64,
    /// Fail (exit code 7) when there are too few data for a verdict or for a condition of --fail-on
    #[arg(long)]
    pub(crate) require_conclusive: bool,
    /// Compare results of different requests all the same
    #[arg(long)]
    pub(crate) allow_different_plans: bool,
    /// Compare results of which the requests meant different things (endpoint, `ignore_eos`, optional fields) all the same
    #[arg(long)]
    pub(crate) allow_different_semantics: bool,
    /// Take a baseline of another machine, and let --fail-on judge results of different machines
    #[arg(long)]
    pub(crate) allow_different_hosts: bool,
    /// Show INVALID results next to others; nothing of them is judged without --allow-disturbed
    #[arg(long)]
    pub(crate) allow_invalid: bool,
    /// Judge although a warm prefix cache, a different hit rate or other load disturbs one side, or a side is INVALID
    #[arg(long)]
    pub(crate) allow_disturbed: bool,
    /// Form of the comparison
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: CompareFormat,
    /// Write the comparison to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareFormat {
    /// For the terminal
    Table,
    /// Good as a comment on GitHub
    Markdown,
    /// For a browser: one page with a forest plot
    Html,
    /// For programs
    Json,
    /// For CI: a test for each gate
    Junit,
}
