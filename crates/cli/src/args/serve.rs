//! Options of `serve`.

use clap::Args;
use sagellm_core::Failure;

use super::{EngineArgs, Time, refuse, whole};

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
    /// API key that clients must send; /health needs none [default: none]
    #[arg(long, value_name = "KEY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) api_key: Option<String>,
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
    /// Tokenizer that counts the tokens of prompts and gives every token its text, as for `run` [default: synthetic:tiny,
    /// for which a byte is a token]
    #[arg(long, value_name = "TOKENIZER")]
    pub(crate) tokenizer: Option<String>,
    /// Serve the so many requests at once and let the others wait, each for its turn
    #[arg(long, value_name = "N", requires = "service_time", value_parser = whole::<u32>(1..=65_536))]
    pub(crate) servers: Option<u32>,
    /// How long each request occupies one of --servers
    #[arg(long, value_name = "TIME", requires = "servers")]
    pub(crate) service_time: Option<Time>,
    /// Delay that the first request causes for all responses [default: 0ms]
    #[arg(long, value_name = "TIME")]
    pub(crate) cold_start: Option<Time>,
    /// Delay that each batch size causes for all responses when it first occurs, like kernel compilation [default: 0ms]
    #[arg(long, value_name = "TIME")]
    pub(crate) cold_batch: Option<Time>,
    /// Threads that answer [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=64))]
    pub(crate) server_threads: Option<usize>,
}

impl SimulationArgs {
    /// The engine takes the time that it takes.
    pub(crate) fn refuse_for_engine(&self) -> Result<(), Failure> {
        let given = [
            ("--ttft", self.ttft.is_some()),
            ("--itl", self.itl.is_some()),
            ("--jitter", self.jitter.is_some()),
            ("--tokens", self.tokens.is_some()),
            ("--tokenizer", self.tokenizer.is_some()),
            ("--servers", self.servers.is_some()),
            ("--cold-start", self.cold_start.is_some()),
            ("--cold-batch", self.cold_batch.is_some()),
            ("--server-threads", self.server_threads.is_some()),
        ];
        refuse(&given, "`--model`", "it is a setting of `--simulate`")
    }
}
