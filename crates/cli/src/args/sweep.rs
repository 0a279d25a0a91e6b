//! Options of `sweep`: those of `run`, with lists in place of a rate or a concurrency.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use sagellm_report::sweep::Limits;

use super::RunArgs;

/// The loads, and what is run at each.
#[derive(Debug)]
pub(crate) struct SweepArgs {
    pub(crate) loads: LoadsArgs,
    pub(crate) run: RunArgs,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sweep")]
pub(crate) struct LoadsArgs {
    /// Requests per second, one after the other, such as 1,2,4,8; with --slo, where to begin
    #[arg(
        long = "request-rate",
        id = "rates",
        value_name = "RATES",
        value_delimiter = ',',
        conflicts_with = "concurrencies"
    )]
    pub(crate) rates: Vec<f64>,
    /// Requests in flight at most, one after the other, such as 1,4,16
    #[arg(long = "max-concurrency", id = "concurrencies", value_name = "NS", value_delimiter = ',')]
    pub(crate) concurrencies: Vec<u32>,
    /// Double the concurrency, from 1, until the throughput grows no more
    #[arg(long, conflicts_with_all = ["rates", "concurrencies", "slo"])]
    pub(crate) auto: bool,
    /// Find the highest rate that keeps these limits, such as 'p99_ttft_ms<500,p99_tbt_ms<50'
    #[arg(long, value_name = "LIMITS", conflicts_with = "concurrencies")]
    pub(crate) slo: Option<Limits>,
    /// With --slo: probability of any wrong decision at most
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", requires = "slo")]
    pub(crate) error: f64,
    /// With --slo: runs of one rate at most; a rate that is not sure by then is left open
    #[arg(long, default_value_t = 8, value_name = "N", requires = "slo")]
    pub(crate) most_runs: u32,
    /// With --slo: how near the rates within and beyond have to come, in percent
    #[arg(long, default_value_t = 4.0, value_name = "PERCENT", requires = "slo")]
    pub(crate) precision: f64,
    /// Write the curve and the table as a page for a browser to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<std::path::PathBuf>,
}

impl Args for SweepArgs {
    fn augment_args(command: Command) -> Command {
        // The options of `run` for one load step aside for those for many.
        let command = RunArgs::augment_args(command)
            .mut_arg("request_rate", |arg| arg.long("one-request-rate").hide(true))
            .mut_arg("max_concurrency", |arg| arg.long("one-max-concurrency").hide(true))
            .mut_arg("plan", |arg| arg.hide(true))
            .mut_arg("repeat", |arg| arg.hide(true));
        LoadsArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SweepArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self { loads: LoadsArgs::from_arg_matches(matches)?, run: RunArgs::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
