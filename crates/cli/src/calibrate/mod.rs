//! `calibrate`: this client's own error on this machine.
//!
//! The client measures a server of which every moment is known: a simulator in a process of its own, which notes the
//! kernel's stamp of each arrival and the time of each write. What the client reports otherwise is its error.

mod error;
mod load;
mod measure;
mod simulator;
mod streams;

use std::fmt::Write;
use std::num::NonZero;

use sagellm_core::{Exit, Failure};

use crate::args::{CalibrateArgs, CalibrateFormat};
use crate::run::open_options;
use crate::signals::Interrupt;
use crate::terminal::{Printer, Progress};
pub(crate) use error::Spread;
pub(crate) use load::Load;
pub(crate) use measure::{ClientOptions, Measurement, counter, measure};
pub(crate) use simulator::LISTENING;
use streams::MostStreams;

/// Share of its threads' time from which a side counts as busy all the time.
const BUSY: f64 = 0.9;

pub(crate) fn calibrate(args: &CalibrateArgs, printer: &Printer) -> Result<Exit, Failure> {
    let load = Load::of(args)?;
    let interrupt = Interrupt::listen(printer)?;
    let progress = Progress::new(printer, args.quiet);
    progress.line_unless_quiet(&format!(
        "measuring a simulated server: {} streams, {} requests of {} tokens",
        load.streams, load.requests, load.tokens
    ));
    let client = client_options(args, &progress)?;
    let at_load = measure(&load, &client, &interrupt)?;
    progress.line_unless_quiet("measuring it again without any delay");
    let full_load = load.full_speed();
    let full_speed = measure(&full_load, &client, &interrupt)?;
    let budget = args.search_time.0;
    let most = (!budget.is_zero()).then(|| MostStreams::search(&load, &client, budget, &interrupt, &progress));
    let text = match args.format {
        CalibrateFormat::Table => table(&load, &at_load, &full_load, &full_speed, most.as_ref()),
        CalibrateFormat::Json => json(&load, &at_load, &full_speed, most.as_ref())?,
    };
    printer.result(&text)?;
    // What was lost would be missing in the errors, so they cannot be believed.
    at_load.check()?;
    full_speed.check()?;
    Ok(Exit::Ok)
}

/// What the client does besides reading.
fn client_options(args: &CalibrateArgs, progress: &Progress) -> Result<ClientOptions, Failure> {
    let Some(named) = &args.tokenizer else { return Ok(ClientOptions::default()) };
    let tokenizer = sagellm_model::open_tokenizer(named, &open_options(), progress)?;
    Ok(ClientOptions { tokenizer: Some(counter(tokenizer)), simulated: Some(named.clone()), retries: 0 })
}

fn table(
    load: &Load,
    at_load: &Measurement,
    full_load: &Load,
    full_speed: &Measurement,
    most: Option<&MostStreams>,
) -> String {
    let mut text = format!(
        "Error of this client at {} streams, {:.1} ms between tokens, stamps by the {}\n\n",
        if load.capped { u64::from(load.streams) } else { at_load.peak_streams },
        load.itl.as_secs_f64() * 1e3,
        at_load.stamp
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:24}{:>10}{:>10}{:>10}{:>10}", "ms", "mean", "p50", "p99", "max");
    for (name, spread) in at_load.errors() {
        let Spread { mean, p50, p99, max } = spread;
        let _ = writeln!(text, "{name:24}{mean:>10.4}{p50:>10.4}{p99:>10.4}{max:>10.4}");
    }
    let _ = writeln!(
        text,
        "\n{} of {} requests compared, {} tokens at {:.0} tokens/s, {}, {:.0} MiB",
        at_load.compared,
        at_load.requests,
        at_load.tokens,
        at_load.tokens_per_second,
        cost(at_load),
        at_load.peak_memory_mb
    );
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let _ = writeln!(
        text,
        "Without any delay of the server: {:.0} tokens/s, {}\n  {}",
        full_speed.tokens_per_second,
        cost(full_speed),
        limit(full_speed, full_load.server_threads, cores)
    );
    if let Some(most) = most {
        text += &most.describe(load);
    }
    text
}

fn cost(measured: &Measurement) -> String {
    match measured.cpu_ms_per_1000_tokens {
        Some(cpu) => format!("{cpu:.2} ms of processor time per 1000 tokens"),
        None => "too little processor time to be measured".into(),
    }
}

/// Which of the two sides kept the other from going faster.
fn limit(measured: &Measurement, server_threads: usize, cores: usize) -> String {
    let (Some(client), Some(simulator)) = (measured.client_cpu_percent, measured.simulator_cpu_percent) else {
        return "which side was the limit cannot be told: processor time was not known".into();
    };
    let busy = |percent: f64, threads: usize| percent >= BUSY * 100.0 * threads.min(cores) as f64;
    let side = match (busy(client, measured.client_threads), busy(simulator, server_threads)) {
        (true, true) => "both sides saturated: either could be faster only with more threads",
        (true, false) => "the client saturated: this is what it can take",
        (false, true) => "the simulator saturated: the client could take more",
        (false, false) if busy(client + simulator, cores) => {
            "the processors, which both share, saturated: on a machine of its own the client could take more"
        }
        (false, false) => "neither side was busy all the time",
    };
    let used = |percent: f64, threads: usize| match threads {
        1 => format!("{percent:.0} % of a core with one thread"),
        threads => format!("{percent:.0} % of a core with {threads} threads"),
    };
    format!("{side} (client {}, simulator {})", used(client, measured.client_threads), used(simulator, server_threads))
}

fn json(
    load: &Load,
    at_load: &Measurement,
    full_speed: &Measurement,
    most: Option<&MostStreams>,
) -> Result<String, Failure> {
    let value = serde_json::json!({ "load": load, "at_load": at_load, "full_speed": full_speed, "most_streams": most });
    serde_json::to_string_pretty(&value)
        .map(|text| text + "\n")
        .map_err(|error| Failure::new(Exit::Bug, format!("the calibration cannot be written as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::measure::tests::measurement;
    use super::*;

    #[test]
    fn the_side_that_saturated_is_named() {
        let of = |client, simulator| {
            let measured =
                Measurement { client_cpu_percent: client, simulator_cpu_percent: simulator, ..measurement() };
            limit(&measured, 1, 2)
        };
        assert!(of(Some(98.0), Some(40.0)).starts_with("the client saturated"));
        let simulator = of(Some(60.0), Some(99.0));
        assert_eq!(
            simulator,
            "the simulator saturated: the client could take more (client 60 % of a core with one thread, simulator 99 % of \
             a core with one thread)"
        );
        assert!(of(Some(95.0), Some(95.0)).starts_with("both sides saturated"));
        assert!(of(Some(10.0), Some(10.0)).starts_with("neither side"));
        assert!(of(None, Some(10.0)).starts_with("which side was the limit cannot be told"));
        let measured = Measurement {
            client_cpu_percent: Some(100.0),
            simulator_cpu_percent: Some(85.0),
            client_threads: 2,
            ..measurement()
        };
        assert!(limit(&measured, 1, 2).starts_with("the processors"));
    }
}
