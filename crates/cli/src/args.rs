//! The command line.

use std::num::TryFromIntError;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use sagellm_core::Mode;
use sagellm_engine::{ComputeDtype, Isa};
use sagellm_report::render::Format;

/// Measures LLM inference, and says how far its figures can be believed.
#[derive(Debug, Parser)]
#[command(name = "sagellm-benchmark", version = version(), max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done and valid; 2 usage; 3 input file or model not usable; 4 backend not reachable; \
    5 finished but INVALID; 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
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
    /// Render the results of a run
    Report(ReportArgs),
    /// Print the JSON schemas of all files that are written
    Schema(SchemaArgs),
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    /// The CPU engine in this program
    Cpu,
    /// vLLM (not built yet)
    Vllm,
    /// LMDeploy (not built yet)
    Lmdeploy,
    /// SGLang (not built yet)
    Sglang,
    /// llama.cpp's server (not built yet)
    Llamacpp,
    /// sageLLM (not built yet)
    Sagellm,
    /// Any OpenAI-compatible server (not built yet)
    Openai,
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DtypeName {
    /// The checkpoint's own type; f32 where there are no kernels for it
    Auto,
    /// Single precision
    F32,
    /// bfloat16 weights, sums in single precision
    Bf16,
}

impl DtypeName {
    pub(crate) fn dtype(self) -> Option<ComputeDtype> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(ComputeDtype::F32),
            Self::Bf16 => Some(ComputeDtype::Bf16),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Workload: m1 or year1 (short, long and stress), short, long, stress
    #[arg(long, default_value = "m1", value_name = "NAME")]
    pub(crate) workload: String,
    /// Backend to measure
    #[arg(long, value_enum, default_value = "cpu", hide_possible_values = false)]
    pub(crate) backend: BackendName,
    /// Model: a Hugging Face folder, a .gguf file, a hub name such as `gpt2`, or synthetic:PRESET
    #[arg(long, default_value = "synthetic:gpt2")]
    pub(crate) model: String,
    /// How requests are offered
    #[arg(long, value_enum, default_value = "traffic")]
    pub(crate) mode: ModeName,
    /// Folder for the results
    #[arg(long, short, default_value = "./benchmark_results", value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// Also write the metrics of all workloads, keyed by workload, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) output_json: Option<PathBuf>,
    /// Form of the closing report on standard output: table, json, markdown
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Print every token as it comes, and what is set up, to standard error
    #[arg(long, short, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Print nothing but the result and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// More requests than this would not fit into memory: a plan holds all of them.
const MOST_REQUESTS: u64 = 1_000_000;

/// A whole number in a range that the rest of the program can serve.
fn whole<T>(range: RangeInclusive<u64>) -> RangedU64ValueParser<T>
where
    T: TryFrom<u64, Error = TryFromIntError> + Clone + Send + Sync + 'static,
{
    RangedU64ValueParser::new().range(range)
}

/// What is offered, and when.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Measured requests per workload, instead of the workload's own number
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=MOST_REQUESTS))]
    pub(crate) num_prompts: Option<u32>,
    /// Requests in flight at most
    #[arg(long, value_name = "N")]
    pub(crate) max_concurrency: Option<u32>,
    /// Requests per second, in a Poisson process unless --burstiness says otherwise; `inf` sends all at once
    #[arg(long, value_name = "RATE")]
    pub(crate) request_rate: Option<f64>,
    /// Shape of the gamma distribution of the gaps: 1 is a Poisson process, below 1 is burstier
    #[arg(long, value_name = "SHAPE")]
    pub(crate) burstiness: Option<f64>,
    /// Requests before the measured ones, with prompts of their own, kept out of every figure [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(0..=MOST_REQUESTS))]
    pub(crate) num_warmups: Option<u32>,
    /// Seed of prompts, arrivals and sampling
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Longest time for one request, from sending to its end
    #[arg(long, default_value_t = 600.0, value_name = "SECONDS")]
    pub(crate) timeout: f64,
    /// Share of failed requests above which the run is INVALID
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    pub(crate) max_error_rate: f64,
}

/// How tokens are chosen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// 0 takes the most likely token
    #[arg(long, default_value_t = 0.0)]
    pub(crate) temperature: f32,
    /// Keep the smallest set of tokens whose probability reaches this
    #[arg(long, default_value_t = 1.0)]
    pub(crate) top_p: f32,
    /// Keep the so many most likely tokens; 0 keeps all
    #[arg(long, default_value_t = 0)]
    pub(crate) top_k: u32,
    /// Go on past an end-of-sequence token, so that lengths are those asked for
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) ignore_eos: bool,
}

/// Settings of the CPU engine.
#[derive(Debug, Args)]
#[command(next_help_heading = "CPU engine")]
pub(crate) struct EngineArgs {
    /// Threads that compute [default: one per processor]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1024))]
    pub(crate) threads: Option<usize>,
    /// Type of the weights
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) dtype: DtypeName,
    /// Tokens that the KV cache holds [default: enough for the workload]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1 << 32))]
    pub(crate) kv_cache_tokens: Option<usize>,
    /// Tokens computed in one step at most
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = whole::<usize>(1..=1 << 20))]
    pub(crate) max_num_batched_tokens: usize,
    /// Requests that the engine runs together at most
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = whole::<usize>(1..=1 << 20))]
    pub(crate) max_num_seqs: usize,
    /// Compute every prompt in full, even when its beginning is in the cache
    #[arg(long)]
    pub(crate) no_enable_prefix_caching: bool,
    /// Instruction set to use: avx512, avx2, neon, scalar [default: the best there is]
    #[arg(long, value_name = "ISA")]
    pub(crate) isa: Option<Isa>,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Summary file, or folder of a run
    #[arg(long, short, default_value = "./benchmark_results/benchmark_summary.json", value_name = "PATH")]
    pub(crate) input: PathBuf,
    /// Form of the report: table, json, markdown
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub(crate) format: Format,
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
