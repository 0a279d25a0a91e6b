//! Options of `sweep`: those of `run`, with lists in place of a rate or a concurrency.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use sagellm_report::sweep::Limits;
use sha2::{Digest, Sha256};

use super::RunArgs;

/// The loads, and what is run at each.
#[derive(Debug)]
pub(crate) struct SweepArgs {
    pub(crate) loads: LoadsArgs,
    pub(crate) run: RunArgs,
    /// Equal for equal runs, but for their load and what is printed of them. Nothing of the settings can be read off it.
    pub(crate) settings: String,
}

/// Options of `run` that change nothing of what is measured at a load.
const NO_SETTINGS: [&str; 12] = [
    "output",
    "overwrite",
    "output_json",
    "format",
    "quiet",
    "verbose",
    "metadata",
    "plan",
    "repeat",
    "fail_on",
    "request_rate",
    "max_concurrency",
];

/// A hash over the options of `run` that were given and their values, as words and in the order of the names: it stays
/// the same from one build of the program to the next, also when that has more options.
fn fingerprint(matches: &ArgMatches) -> String {
    let command = RunArgs::augment_args(Command::new("run"));
    let ids = command.get_arguments().map(|arg| arg.get_id().as_str()).filter(|id| !NO_SETTINGS.contains(id));
    let settings: BTreeMap<&str, Vec<String>> = ids
        .filter(|id| matches.value_source(id) != Some(ValueSource::DefaultValue))
        .filter_map(|id| {
            let values = matches.get_raw(id)?.map(|value| value.to_string_lossy().into_owned());
            Some((id, values.collect()))
        })
        .collect();
    let mut hash = Sha256::new();
    for (id, values) in settings {
        // Lengths, so that no value can pass for two.
        hash.update(format!("{id} {}\n", values.len()));
        values.iter().for_each(|value| hash.update(format!("{} {value}\n", value.len())));
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sweep")]
pub(crate) struct LoadsArgs {
    /// Requests per second, one after the other: of the option of `run`, which takes several here.
    #[arg(skip)]
    pub(crate) rates: Vec<f64>,
    /// Requests in flight at most, likewise.
    #[arg(skip)]
    pub(crate) concurrencies: Vec<u32>,
    /// Double the concurrency, from 1, until the throughput grows no more
    #[arg(long, conflicts_with_all = ["request_rate", "max_concurrency", "slo"])]
    pub(crate) auto: bool,
    /// Find the highest rate that keeps these limits, such as 'p99_ttft_ms<500,p99_tbt_ms<50'
    #[arg(long, value_name = "LIMITS", conflicts_with = "max_concurrency")]
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
        let command = RunArgs::augment_args(command)
            .mut_arg("request_rate", |arg| {
                arg.value_name("RATES")
                    .value_delimiter(',')
                    .conflicts_with("max_concurrency")
                    .help_heading("Sweep")
                    .help("Requests per second, one after the other, such as 1,2,4,8; with --slo, where to begin")
            })
            .mut_arg("max_concurrency", |arg| {
                arg.value_name("NS")
                    .value_delimiter(',')
                    .help_heading("Sweep")
                    .help("Requests in flight at most, one after the other, such as 1,4,16")
            })
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
        let mut loads = LoadsArgs::from_arg_matches(matches)?;
        loads.rates = matches.get_many("request_rate").into_iter().flatten().copied().collect();
        loads.concurrencies = matches.get_many("max_concurrency").into_iter().flatten().copied().collect();
        let mut run = RunArgs::from_arg_matches(matches)?;
        run.workload.load.request_rate = None;
        run.workload.load.max_concurrency = None;
        Ok(Self { loads, run, settings: fingerprint(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(words: &str) -> String {
        let command = SweepArgs::augment_args(Command::new("sweep").no_binary_name(true));
        SweepArgs::from_arg_matches(&command.try_get_matches_from(words.split(' ')).unwrap()).unwrap().settings
    }

    #[test]
    fn the_fingerprint_of_settings_is_that_of_all_versions() {
        let first = settings("--request-rate 1,2 --seed 1 --num-prompts 5");
        assert_eq!(first, settings("--num-prompts 5 --slo p99_ttft_ms<5 --seed 1 --output elsewhere --quiet"));
        assert_ne!(first, settings("--request-rate 1,2 --seed 2 --num-prompts 5"));
        assert_ne!(first, settings("--request-rate 1,2 --seed 1 --num-prompts 5 --ignore-eos"));
        // Not of one build: whoever changes it makes the sweeps of former versions strangers.
        assert_eq!(first, "2ac0a0813e13fb0a");
    }

    #[test]
    fn lists_of_loads_are_those_of_the_options_of_run() {
        let parse = |words: &str| {
            let command = SweepArgs::augment_args(Command::new("sweep").no_binary_name(true));
            command.try_get_matches_from(words.split(' ')).map(|found| SweepArgs::from_arg_matches(&found).unwrap())
        };
        let args = parse("--request-rate 1,2.5,4").unwrap();
        assert_eq!(args.loads.rates, [1.0, 2.5, 4.0]);
        assert_eq!(args.run.workload.load.request_rate, None);
        assert_eq!(parse("--max-concurrency 1,16").unwrap().loads.concurrencies, [1, 16]);
        for wrong in ["--request-rate 1 --max-concurrency 1", "--auto --request-rate 1", "--one-request-rate 1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
