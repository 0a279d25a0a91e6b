//! Options of `calibrate`.

use clap::{Args, ValueEnum};

use super::{PriorityName, StampName, Time, number, whole};

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
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = number(0.01..=1e6))]
    pub(crate) rate: Option<f64>,
    /// Requests in all [default: four per stream]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=1_000_000))]
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
    /// Tokenizer that counts answers, as in a run: a folder, a tokenizer.json, a .gguf file or a hub name; the simulator
    /// then answers with its words [default: none]
    #[arg(long, value_name = "SPEC")]
    pub(crate) tokenizer: Option<String>,
    /// Scheduling priority of the client's threads [default: the highest that is permitted]
    #[arg(long, value_enum, value_name = "PRIORITY")]
    pub(crate) priority: Option<PriorityName>,
    /// Threads of the client [default: from the processors]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=64))]
    pub(crate) client_threads: Option<usize>,
    /// Threads of the simulator
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = whole::<usize>(1..=64))]
    pub(crate) server_threads: usize,
    /// Longest time for finding out how many streams the client can follow; 0s leaves it out
    #[arg(long, default_value = "15s", value_name = "TIME")]
    pub(crate) search_time: Time,
    /// Form of the result
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(crate) format: CalibrateFormat,
    /// Print nothing but the result and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
