//! Options of when requests are sent, and for how long.

use clap::{Args, ValueEnum};
use sagellm_core::RampShape;

use super::{MOST_REQUESTS, whole};

/// How a rate goes from one value to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RampName {
    /// By equal amounts in equal times
    Linear,
    /// By equal factors in equal times
    Exponential,
}

impl From<RampName> for RampShape {
    fn from(name: RampName) -> Self {
        match name {
            RampName::Linear => Self::Linear,
            RampName::Exponential => Self::Exponential,
        }
    }
}

/// What is offered, and when.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Measured requests per workload, instead of the workload's own number
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=MOST_REQUESTS))]
    pub(crate) num_prompts: Option<u32>,
    /// Requests in flight at most
    #[arg(long, value_name = "N")]
    pub(crate) max_concurrency: Option<u32>,
    /// Requests per second, in a Poisson process unless --burstiness says otherwise; `inf` sends all at once
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub(crate) request_rate: Option<f64>,
    /// Shape of the gamma distribution of the gaps: 1 is a Poisson process, below 1 is burstier
    #[arg(long, value_name = "SHAPE", allow_negative_numbers = true)]
    pub(crate) burstiness: Option<f64>,
    /// Let the rate change from one value to another, over --duration or else until the last request
    #[arg(long, value_enum, value_name = "HOW", requires_all = ["ramp_up_start_rps", "ramp_up_end_rps"], conflicts_with = "request_rate")]
    pub(crate) ramp_up_strategy: Option<RampName>,
    /// Requests per second at the start of the ramp
    #[arg(long, value_name = "RATE", requires = "ramp_up_strategy", allow_negative_numbers = true)]
    pub(crate) ramp_up_start_rps: Option<f64>,
    /// Requests per second at its end
    #[arg(long, value_name = "RATE", requires = "ramp_up_strategy", allow_negative_numbers = true)]
    pub(crate) ramp_up_end_rps: Option<f64>,
    /// Number of warm-up requests, excluded from all metrics [default: waves of requests at the workload's concurrency until
    /// two waves agree; 1 for `--backend cpu`]
    #[arg(long, value_name = "N", value_parser = whole::<u32>(0..=MOST_REQUESTS))]
    pub(crate) num_warmups: Option<u32>,
    /// Seed of prompts, arrivals and sampling [default: the workload's own, else 0]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Seconds after which nothing more is sent
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<f64>,
}

/// How tokens are chosen.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// 0 takes the most likely token [default: the workload's own, else 0]
    #[arg(long)]
    pub(crate) temperature: Option<f32>,
    /// Keep the smallest set of tokens whose probability reaches this [default: the workload's own, else 1]
    #[arg(long)]
    pub(crate) top_p: Option<f32>,
    /// Keep the so many most likely tokens; 0 keeps all [default: the workload's own, else 0]
    #[arg(long)]
    pub(crate) top_k: Option<u32>,
    /// Go on past an end-of-sequence token, so that lengths are those asked for [default: the workload's own, else true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) ignore_eos: Option<bool>,
}

/// What a run may take and may fail.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Start no warm-up wave after this time
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS", conflicts_with = "num_warmups")]
    pub(crate) warmup_max: f64,
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
