//! Options of what is offered, and when.

use clap::{Args, ValueEnum};
use sagellm_core::Mode;

use super::{MOST_REQUESTS, whole};

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
