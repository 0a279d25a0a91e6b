//! Options of a server that is measured.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sagellm_core::Failure;
use sagellm_http::{Priority, StampChoice};

use super::{number, refuse, whole};

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

/// How the scheduler treats the threads that read answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PriorityName {
    /// As other programs
    Normal,
    /// Before ordinary programs (nice -20)
    High,
    /// Before everything ordinary (SCHED_FIFO)
    Realtime,
}

impl PriorityName {
    /// For the client.
    pub(crate) fn choice(self) -> Priority {
        match self {
            Self::Normal => Priority::Normal,
            Self::High => Priority::High,
            Self::Realtime => Priority::RealTime,
        }
    }
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
    /// File that holds the API key; without it and without a header `Authorization`, OPENAI_API_KEY is used when it is set
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Longest wait for the server to become ready [default: 10, with --launch 600]
    #[arg(long, value_name = "SECONDS", value_parser = number(1e-3..=1e9))]
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
    /// Scheduling priority of the threads that read answers; `high` and `realtime` need CAP_SYS_NICE [default: the
    /// highest that is permitted]
    #[arg(long, value_enum, value_name = "PRIORITY")]
    pub(crate) priority: Option<PriorityName>,
    /// Threads that read answers [default: from the processors]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=64))]
    pub(crate) client_threads: Option<usize>,
    /// Empty the server's prefix cache before the run: vLLM's /reset_prefix_cache, SGLang's /flush_cache or the slots of
    /// llama.cpp, whichever the server has
    #[arg(long)]
    pub(crate) reset_cache: bool,
    /// Do not find out this client's own error before the run
    #[arg(long)]
    pub(crate) no_calibrate: bool,
    /// Longest wait for the first token of a request
    #[arg(long, value_name = "SECONDS", value_parser = number(1e-3..=1e9))]
    pub(crate) timeout_first_token: Option<f64>,
    /// Longest wait between tokens of a request
    #[arg(long, value_name = "SECONDS", value_parser = number(1e-3..=1e9))]
    pub(crate) timeout_between: Option<f64>,
    /// Longest time that setting up a connection may take [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = number(1e-3..=1e9))]
    pub(crate) timeout_connect: Option<f64>,
    /// Times that a request is sent again when the server refuses it for now (429, 503) or the connection breaks before the
    /// answer begins; its latencies count from the first time [default: 0]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(0..=100))]
    pub(crate) retries: Option<u32>,
    /// Time between readings of the server's /metrics [default: 0.5]
    #[arg(long, value_name = "SECONDS", value_parser = number(1e-3..=1e9))]
    pub(crate) metrics_interval: Option<f64>,
    /// Certificates (PEM) to trust in place of the system's, as `curl --cacert` does
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
            ("--priority", self.priority.is_some()),
            ("--client-threads", self.client_threads.is_some()),
            ("--reset-cache", self.reset_cache),
            ("--no-calibrate", self.no_calibrate),
            ("--timeout-first-token", self.timeout_first_token.is_some()),
            ("--timeout-between", self.timeout_between.is_some()),
            ("--timeout-connect", self.timeout_connect.is_some()),
            ("--retries", self.retries.is_some()),
            ("--metrics-interval", self.metrics_interval.is_some()),
            ("--ca-cert", self.ca_cert.is_some()),
            ("--client-cert", self.client_cert.is_some()),
            ("--insecure", self.insecure),
            ("--proxy", self.proxy.is_some()),
        ];
        refuse(&given, "`--backend cpu`", "name the server's kind, such as `--backend vllm`")
    }
}
