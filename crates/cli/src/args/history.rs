//! Arguments of `history`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// The history when none is named.
pub(crate) const DEFAULT_STORE: &str = "./benchmark_history.sqlite";

/// A file of runs, one row each.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(subcommand)]
    pub(crate) command: HistoryCommand,
    /// File of the history
    #[arg(long, global = true, default_value = DEFAULT_STORE, value_name = "FILE")]
    pub(crate) store: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// Add results
    Add(HistoryAddArgs),
    /// List the runs
    List {
        /// Only those of this name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Show one run as `report` does
    Show {
        /// Its number, as `history list` has it
        run: i64,
    },
    /// Show how a figure went from run to run, and where its level changed
    Trend {
        /// The figure by its key, such as `avg_tbt_ms`
        metric: String,
        /// Only runs of this name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Form
        #[arg(long, value_enum, default_value = "table")]
        format: TrendFormat,
        /// Write to this file [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write all figures of all runs
    Export {
        /// Only those of this name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Form
        #[arg(long, value_enum, default_value = "csv")]
        format: ExportFormat,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HistoryAddArgs {
    /// Results: folders of runs, or their summary files
    #[arg(required = true, value_name = "RESULT")]
    pub(crate) results: Vec<PathBuf>,
    /// What they go by, such as the branch
    #[arg(long, default_value = "main", value_name = "NAME")]
    pub(crate) name: String,
    /// Commit of what was measured
    #[arg(long, value_name = "COMMIT")]
    pub(crate) commit: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A line for each figure
    Csv,
    /// A line for each run, with its whole summary
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrendFormat {
    /// A line for each run
    Table,
    /// A page for a browser
    Html,
}
