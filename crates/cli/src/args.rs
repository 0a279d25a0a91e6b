//! The command line.

use std::num::TryFromIntError;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use sagellm_core::{Exit, Failure, Mode};
use sagellm_engine::{ComputeDtype, EngineOptions, Isa};
use sagellm_http::StampChoice;
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
    /// Find out this client's own error on this machine
    Calibrate(CalibrateArgs),
    /// Serve a model with the CPU engine, or simulated answers, as an OpenAI-compatible server
    Serve(Box<ServeArgs>),
    /// Print the JSON schemas of all files that are written
    Schema(SchemaArgs),
}

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

/// Which of a server's two interfaces is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EndpointName {
    /// /v1/completions: the prompt as it is
    Completions,
    /// /v1/chat/completions: the prompt as a message of a user
    Chat,
}

/// Who takes the stamps of a server's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StampName {
    /// The kernel, where it can
    Kernel,
    /// This program, right at the read
    User,
}

impl StampName {
    /// What the client is told: the kernel, unless somebody says otherwise.
    pub(crate) fn choice(given: Option<Self>) -> StampChoice {
        match given {
            Some(Self::User) => StampChoice::User,
            Some(Self::Kernel) | None => StampChoice::Kernel,
        }
    }
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
    /// Model: a Hugging Face folder, a .gguf file, a hub name such as `gpt2`, or synthetic:PRESET [default:
    /// synthetic:gpt2]; of a server: the name it goes by there [default: its first]
    #[arg(long)]
    pub(crate) model: Option<String>,
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
    #[command(flatten)]
    pub(crate) server: ServerArgs,
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
    /// Seconds after which nothing more is sent
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<f64>,
    /// How long what runs at the end of --duration may go on; what takes longer counts as censored
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub(crate) drain: f64,
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
    /// Type of the weights [default: auto]
    #[arg(long, value_enum)]
    pub(crate) dtype: Option<DtypeName>,
    /// Tokens that the KV cache holds [default: enough for the workload]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1 << 32))]
    pub(crate) kv_cache_tokens: Option<usize>,
    /// Tokens computed in one step at most [default: 512]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1 << 20))]
    pub(crate) max_num_batched_tokens: Option<usize>,
    /// Requests that the engine runs together at most [default: 256]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1 << 20))]
    pub(crate) max_num_seqs: Option<usize>,
    /// Compute every prompt in full, even when its beginning is in the cache
    #[arg(long)]
    pub(crate) no_enable_prefix_caching: bool,
    /// Instruction set to use: avx512, avx2, neon, scalar [default: the best there is]
    #[arg(long, value_name = "ISA")]
    pub(crate) isa: Option<Isa>,
}

/// The server to measure.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server (every backend but cpu)")]
pub(crate) struct ServerArgs {
    /// Address of the server [default: http://127.0.0.1 and the backend's usual port]
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// Interface to measure [default: completions]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) endpoint_type: Option<EndpointName>,
    /// Path of the interface, when it is not the backend's usual one
    #[arg(long, value_name = "PATH")]
    pub(crate) endpoint: Option<String>,
    /// Tokenizer that prompts are cut with: a folder, a tokenizer.json, a .gguf file, a hub name [default: the model's]
    #[arg(long, value_name = "SPEC")]
    pub(crate) tokenizer: Option<String>,
    /// Header to send with every request; can be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) header: Vec<String>,
    /// JSON object whose fields are added to every request
    #[arg(long, value_name = "JSON")]
    pub(crate) extra_body: Option<String>,
    /// File that holds the API key; without it, OPENAI_API_KEY is used when it is set
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Longest wait for the server to become ready [default: 10, with --launch 600]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ready_timeout: Option<f64>,
    /// Start the server with this command, in which {port} stands for a free port, and stop it at the end; without a
    /// command, the backend's usual one
    #[arg(long, value_name = "COMMAND", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["base_url", "server_pid"])]
    pub(crate) launch: Option<String>,
    /// Process of a server that already runs here, whose memory is to be measured
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// Who takes the stamps [default: kernel]
    #[arg(long, value_enum, value_name = "WHO")]
    pub(crate) stamp: Option<StampName>,
    /// Threads that read answers [default: from the processors]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=64))]
    pub(crate) client_threads: Option<usize>,
    /// Do not find out this client's own error before the run
    #[arg(long)]
    pub(crate) no_calibrate: bool,
    /// Longest wait for the first token of a request
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout_first_token: Option<f64>,
    /// Longest wait between tokens of a request
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout_between: Option<f64>,
    /// Time between readings of the server's /metrics [default: 0.5]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) metrics_interval: Option<f64>,
    /// Certificates (PEM) to trust besides the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Certificate (PEM) to show to the server
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// Key (PEM) of that certificate
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
    /// Do not check the server's certificate; the result says so
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Proxy to go through; those of the environment are not used
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
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

impl ServerArgs {
    /// The CPU engine has no use for options of a server, and ignores none.
    pub(crate) fn refuse_for_cpu(&self) -> Result<(), Failure> {
        let given = [
            ("--base-url", self.base_url.is_some()),
            ("--endpoint-type", self.endpoint_type.is_some()),
            ("--endpoint", self.endpoint.is_some()),
            ("--tokenizer", self.tokenizer.is_some()),
            ("--header", !self.header.is_empty()),
            ("--extra-body", self.extra_body.is_some()),
            ("--api-key-file", self.api_key_file.is_some()),
            ("--ready-timeout", self.ready_timeout.is_some()),
            ("--launch", self.launch.is_some()),
            ("--server-pid", self.server_pid.is_some()),
            ("--stamp", self.stamp.is_some()),
            ("--client-threads", self.client_threads.is_some()),
            ("--no-calibrate", self.no_calibrate),
            ("--timeout-first-token", self.timeout_first_token.is_some()),
            ("--timeout-between", self.timeout_between.is_some()),
            ("--metrics-interval", self.metrics_interval.is_some()),
            ("--ca-cert", self.ca_cert.is_some()),
            ("--client-cert", self.client_cert.is_some()),
            ("--insecure", self.insecure),
            ("--proxy", self.proxy.is_some()),
        ];
        refuse(&given, "`--backend cpu`", "name the server's kind, such as `--backend vllm`")
    }
}

impl EngineArgs {
    /// The engine's settings; `kv_cache_tokens` holds unless told otherwise.
    pub(crate) fn options(&self, kv_cache_tokens: usize, stream_text: bool) -> EngineOptions {
        EngineOptions {
            threads: self.threads.unwrap_or(0),
            isa: self.isa,
            dtype: self.dtype.and_then(DtypeName::dtype),
            kv_cache_tokens: self.kv_cache_tokens.unwrap_or(kv_cache_tokens),
            max_num_batched_tokens: self.max_num_batched_tokens.unwrap_or(512),
            max_num_seqs: self.max_num_seqs.unwrap_or(256),
            prefix_caching: !self.no_enable_prefix_caching,
            stream_text,
        }
    }

    /// A server has settings of its own.
    pub(crate) fn refuse_for_servers(&self, backend: BackendName) -> Result<(), Failure> {
        let with = format!("`--backend {}`", backend.name());
        refuse(&self.given(), &with, "it is a setting of the CPU engine; configure the server where it is started")
    }

    /// A simulation computes nothing.
    pub(crate) fn refuse_for_simulation(&self) -> Result<(), Failure> {
        refuse(&self.given(), "`--simulate`", "it is a setting of the CPU engine")
    }

    fn given(&self) -> [(&'static str, bool); 7] {
        [
            ("--threads", self.threads.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--kv-cache-tokens", self.kv_cache_tokens.is_some()),
            ("--max-num-batched-tokens", self.max_num_batched_tokens.is_some()),
            ("--max-num-seqs", self.max_num_seqs.is_some()),
            ("--no-enable-prefix-caching", self.no_enable_prefix_caching),
            ("--isa", self.isa.is_some()),
        ]
    }
}

impl SimulationArgs {
    /// The engine takes the time that it takes.
    pub(crate) fn refuse_for_engine(&self) -> Result<(), Failure> {
        let given = [
            ("--ttft", self.ttft.is_some()),
            ("--itl", self.itl.is_some()),
            ("--jitter", self.jitter.is_some()),
            ("--tokens", self.tokens.is_some()),
            ("--server-threads", self.server_threads.is_some()),
        ];
        refuse(&given, "`--model`", "it is a setting of `--simulate`")
    }
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

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["simulate", "model"]))]
pub(crate) struct ServeArgs {
    /// Model to serve with the CPU engine, as for `run`
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Name that clients call the model by [default: as --model]
    #[arg(long, value_name = "NAME", requires = "model")]
    pub(crate) served_model_name: Option<String>,
    /// Serve no model but simulated answers with exact times
    #[arg(long)]
    pub(crate) simulate: bool,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// End when standard input does
    #[arg(long, hide = true)]
    pub(crate) until_eof: bool,

    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) simulation: SimulationArgs,
}

/// What a simulated server does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Simulation")]
pub(crate) struct SimulationArgs {
    /// Time from a request to its first token [default: 50ms]
    #[arg(long, value_name = "TIME")]
    pub(crate) ttft: Option<Time>,
    /// Time from each token to the next; 0ms for as fast as can be [default: 10ms]
    #[arg(long, value_name = "TIME")]
    pub(crate) itl: Option<Time>,
    /// How far a token may come early or late [default: 0ms]
    #[arg(long, value_name = "TIME")]
    pub(crate) jitter: Option<Time>,
    /// Tokens of every answer [default: as many as the request asks for]
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<u32>,
    /// Threads that answer [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=64))]
    pub(crate) server_threads: Option<usize>,
}

/// The forms of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CalibrateFormat {
    /// For the terminal
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct CalibrateArgs {
    /// Streams at once
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = whole::<u32>(1..=100_000))]
    pub(crate) concurrency: u32,
    /// Requests per second, in a Poisson process, instead of keeping all streams busy
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<f64>,
    /// Requests in all [default: four per stream]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=MOST_REQUESTS))]
    pub(crate) num_prompts: Option<u32>,
    /// Tokens per answer
    #[arg(long, default_value_t = 128, value_name = "N", value_parser = whole::<u32>(1..=1 << 20))]
    pub(crate) output_len: u32,
    /// Time from a request to its first token
    #[arg(long, default_value = "50ms", value_name = "TIME")]
    pub(crate) ttft: Time,
    /// Time from each token to the next
    #[arg(long, default_value = "10ms", value_name = "TIME")]
    pub(crate) itl: Time,
    /// Who takes the stamps [default: kernel]
    #[arg(long, value_enum, value_name = "WHO")]
    pub(crate) stamp: Option<StampName>,
    /// Threads of the client [default: from the processors]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=64))]
    pub(crate) client_threads: Option<usize>,
    /// Threads of the simulator
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = whole::<usize>(1..=64))]
    pub(crate) server_threads: usize,
    /// Form of the result
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(crate) format: CalibrateFormat,
    /// Print nothing but the result and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
