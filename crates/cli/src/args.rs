//! The command line.

mod calibrate;
mod compare;
mod dataset;
mod engine;
mod history;
mod load;
mod plan;
mod run;
mod serve;
mod server;
mod sweep;
mod workload;

use std::num::TryFromIntError;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use sagellm_core::{Exit, Failure, Objective};
use sagellm_report::compare::Gate;
use sagellm_report::render::Format;

pub(crate) use calibrate::{CalibrateArgs, CalibrateFormat};
pub(crate) use compare::{CompareArgs, CompareFormat};
pub(crate) use dataset::{DatasetArgs, DatasetName};
pub(crate) use engine::EngineArgs;
pub(crate) use history::{ExportFormat, HistoryArgs, HistoryCommand, TrendFormat};
pub(crate) use load::{LimitArgs, LoadArgs, SamplingArgs};
pub(crate) use plan::{PlanArgs, PlanCheckArgs, PlanCommand, PlanExportArgs, PlanWriteArgs};
pub(crate) use run::{BackendName, RunArgs};
pub(crate) use serve::{ServeArgs, SimulationArgs};
pub(crate) use server::{EndpointName, PriorityName, ServerArgs, StampName};
pub(crate) use sweep::{LoadsArgs, SweepArgs};
pub(crate) use workload::WorkloadArgs;

/// Measures LLM inference, and says how far its figures can be believed.
#[derive(Debug, Parser)]
#[command(name = "sagellm-benchmark", version = version(), max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done and valid; 2 usage; 3 input file or model not usable; 4 backend not reachable; \
    5 finished but INVALID; 6 a gate failed; 7 inconclusive; 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The command line. Clap prints help and usage errors itself, and exits with 0 or 2.
    ///
    /// # Errors
    /// When `run` is given an option of vLLM's that it does not have.
    pub(crate) fn parse_or_explain() -> Result<Self, Failure> {
        Self::try_parse().or_else(|error| match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(word))
                if error.kind() == ErrorKind::UnknownArgument
                    && std::env::args_os().nth(1).is_some_and(|word| word == "run") =>
            {
                let option = word.split_once('=').map_or(word.as_str(), |(option, _)| option);
                crate::vllm_flags::refusal(option).map_or_else(|| error.exit(), Err)
            }
            _ => error.exit(),
        })
    }
}

fn version() -> &'static str {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    static LINE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    match crate::GIT_COMMIT {
        Some(commit) => LINE.get_or_init(|| format!("{VERSION} ({commit})")),
        None => VERSION,
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure a workload on a backend
    Run(Box<RunArgs>),
    /// Write, check, show and export the exact requests of a workload
    Plan(PlanArgs),
    /// Render the results of a run
    Report(ReportArgs),
    /// Compare two or more results: what changed, how surely, and a verdict
    Compare(CompareArgs),
    /// Keep results of many runs in one file: baselines, and how figures went over time
    History(HistoryArgs),
    /// Measure at many rates or concurrencies; find the capacity under limits
    Sweep(Box<SweepArgs>),
    /// Find out this client's own error on this machine
    Calibrate(CalibrateArgs),
    /// Serve a model with the CPU engine, or simulated answers, as an OpenAI-compatible server
    Serve(Box<ServeArgs>),
    /// Print the JSON schemas of all files that are written
    Schema(SchemaArgs),
    /// Print what a shell needs to complete commands and options
    Completions(CompletionsArgs),
    /// Print or write manual pages
    Man(ManArgs),
}

/// Requests of a workload at most.
const MOST_REQUESTS: u64 = 100_000_000;

/// A whole number in a range that the rest of the program can serve.
fn whole<T>(range: RangeInclusive<u64>) -> RangedU64ValueParser<T>
where
    T: TryFrom<u64, Error = TryFromIntError> + Clone + Send + Sync + 'static,
{
    RangedU64ValueParser::new().range(range)
}

/// A number in a range; what is no number or infinite is in none.
fn number(range: RangeInclusive<f64>) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {} to {}", range.start(), range.end())),
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Summary file, or folder of a run or of repeated ones
    #[arg(long, short, default_value = "./benchmark_results/benchmark_summary.json", value_name = "PATH")]
    pub(crate) input: PathBuf,
    /// Form of the report: table, json, markdown, csv, vllm, sglang, junit, openmetrics, html;
    /// parquet: the requests themselves
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub(crate) format: Format,
    /// This workload alone, such as short_input; `--format vllm` holds no more than one
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Option<String>,
    /// Judge the requests by these limits in place of those of the run: see `run --goodput`
    #[arg(long, num_args = 1.., value_name = "LIMIT")]
    pub(crate) goodput: Vec<Objective>,
    /// Fail (exit code 6) when a value is beyond a limit, such as 'p99_ttft_ms>500ms' or 'error_rate>0.01'; of repeated runs
    /// the median counts
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_on: Vec<Gate>,
    /// Write the report to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Schema to print; without one, their names are listed
    #[arg(conflicts_with_all = ["output", "glossary"])]
    pub(crate) name: Option<String>,
    /// Write all schemas into this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// Write the definition of every metric, as Markdown, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) glossary: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to write for
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page per command into this folder; without it, the program's own is printed
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}

/// Refuses the first option that was given though it can do nothing.
pub(crate) fn refuse(given: &[(&str, bool)], with: &str, hint: &str) -> Result<(), Failure> {
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => {
            Err(Failure::new(Exit::Usage, format!("`{option}` has no meaning with {with}")).with_hint(hint))
        }
    }
}

/// A note such as `tp=2`.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.into(), value: value.into() }),
            _ => Err("expected KEY=VALUE".into()),
        }
    }
}

/// A time such as `50ms` or `1.5s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a time such as 50ms, 1.5s or 200us".to_owned();
        let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(split);
        let unit = match unit {
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            _ => return Err(wrong()),
        };
        let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit;
        if !(0.0..=86_400.0).contains(&seconds) {
            return Err("expected a time from 0 to a day".into());
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}
