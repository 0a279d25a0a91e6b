//! Options of `run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sagellm_core::Objective;
use sagellm_report::compare::Gate;
use sagellm_report::render::Format;

use super::{EngineArgs, LimitArgs, Pair, ServerArgs, WorkloadArgs, whole};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    /// The CPU engine in this program
    Cpu,
    /// A vLLM server
    Vllm,
    /// A SGLang server
    Sglang,
    /// An LMDeploy server
    Lmdeploy,
    /// llama.cpp's server
    Llamacpp,
    /// A sageLLM server
    Sagellm,
    /// Any other OpenAI-compatible server
    Openai,
}

impl BackendName {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Lmdeploy => "lmdeploy",
            Self::Llamacpp => "llamacpp",
            Self::Sagellm => "sagellm",
            Self::Openai => "openai",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Replay the requests of a plan that `plan write` or another run wrote, as they are
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "workload", "mode", "dataset_name", "num_prompts", "max_concurrency", "request_rate", "burstiness",
        "ramp_up_strategy", "seed", "duration", "temperature", "top_p", "top_k", "ignore_eos",
    ])]
    pub(crate) plan: Option<PathBuf>,
    /// Backend to measure
    #[arg(long, value_enum, default_value = "cpu", hide_possible_values = false)]
    pub(crate) backend: BackendName,
    /// Model: a Hugging Face folder, a .gguf file, a hub name such as `gpt2`, or synthetic:PRESET [default:
    /// synthetic:gpt2]; of a server: the name it goes by there [default: its first]
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Limits in milliseconds that a request must keep to count as goodput, such as `ttft:500 tbt:50 e2e:5000`, or a preset of MLPerf such as `mlperf:llama3.1-8b-interactive` [default: the workload's].
    /// `tpot` is vLLM's TPOT, the time per token after the first: our TBT, not our TPOT. `e2el` is our e2e
    #[arg(long, num_args = 1.., value_name = "LIMIT")]
    pub(crate) goodput: Vec<Objective>,
    /// Fail (exit code 6) when a value is beyond a limit, such as 'p99_ttft_ms>500ms', 'error_rate>0.01' or 'goodput<5req/s';
    /// can be given several times, also as `fail_on` of a workload file
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_on: Vec<Gate>,
    /// Begin every prompt with words that no other run has, in place of as many tokens, so that a prefix cache holds nothing
    /// of an earlier run; the plan and its hash stay the same
    #[arg(long)]
    pub(crate) cache_bust: bool,
    /// Folder for the results
    #[arg(long, short, default_value = "./benchmark_results", value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// Delete the results of an earlier run in the output folder, in place of moving them to a folder `earlier` in it
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Runs, each with seeds of its own (the seed, the seed + 1, ...) and in a folder of its own: run-1, run-2, ...
    #[arg(long, default_value_t = 1, value_name = "R", value_parser = whole::<u32>(1..=1000), conflicts_with_all = ["plan", "output_json"])]
    pub(crate) repeat: u32,
    /// Which of the runs this is, counted from 0.
    #[arg(skip)]
    pub(crate) nth: u32,
    /// Runs against the same server before this one: it asks other prompts than they.
    #[arg(skip)]
    pub(crate) runs_before: u32,
    /// Also write the metrics of all workloads, keyed by workload, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) output_json: Option<PathBuf>,
    /// Notes that the results are to hold, such as --metadata gpu=H100 tp=2
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub(crate) metadata: Vec<Pair>,
    /// Form of the closing report on standard output, as of `report`
    #[arg(long, default_value = "table", value_name = "FORMAT", value_parser = printed)]
    pub(crate) format: Format,
    /// Print every token as it comes, and what is set up, to standard error
    #[arg(long, short, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Print nothing but the result and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A format that is text.
fn printed(name: &str) -> Result<Format, String> {
    match name.parse::<Format>().map_err(|error| error.to_string())? {
        Format::Parquet => Err("parquet is no text: `report --format parquet --output FILE` writes it".into()),
        format => Ok(format),
    }
}
