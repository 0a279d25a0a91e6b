//! `calibrate`: this client's own error on this machine.
//!
//! The client measures a server of which every moment is known: a simulator in a process of its own, which notes the
//! kernel's stamp of each arrival and the time of each write. What the client reports otherwise is its error.

mod error;
mod measure;
mod simulator;

use std::fmt::Write;
use std::time::Duration;

use sagellm_core::{Exit, Failure};

use crate::args::{CalibrateArgs, CalibrateFormat, StampName};
use crate::terminal::{Printer, Progress};
pub(crate) use error::Spread;
pub(crate) use measure::{Load, Measurement, measure};
pub(crate) use simulator::LISTENING;

/// Streams of the run without any delay of the server, which shows how much the client can take.
const FULL_SPEED_STREAMS: u32 = 64;

pub(crate) fn calibrate(args: &CalibrateArgs, printer: &Printer) -> Result<Exit, Failure> {
    let progress = Progress::new(printer, args.quiet);
    let load = Load {
        streams: args.concurrency,
        rate: args.rate,
        requests: args.num_prompts.unwrap_or(args.concurrency.saturating_mul(4)),
        tokens: args.output_len,
        ttft: args.ttft.0,
        itl: args.itl.0,
        stamp: StampName::choice(args.stamp),
        client_threads: args.client_threads.unwrap_or(0),
        server_threads: args.server_threads,
    };
    progress.line_unless_quiet(&format!(
        "measuring a simulated server: {} streams, {} requests of {} tokens",
        load.streams, load.requests, load.tokens
    ));
    let at_load = measure(&load)?;
    progress.line_unless_quiet("measuring it again without any delay");
    let full = Load {
        streams: FULL_SPEED_STREAMS,
        rate: None,
        requests: FULL_SPEED_STREAMS * 32,
        tokens: 256,
        ttft: Duration::ZERO,
        itl: Duration::ZERO,
        ..load
    };
    let full_speed = measure(&full)?;
    let text = match args.format {
        CalibrateFormat::Table => table(&load, &at_load, &full_speed),
        CalibrateFormat::Json => json(&load, &at_load, &full_speed)?,
    };
    printer.result(&text)?;
    Ok(Exit::Ok)
}

fn table(load: &Load, at_load: &Measurement, full_speed: &Measurement) -> String {
    let mut text = format!(
        "Error of this client at {} streams, {:.1} ms between tokens, stamps by the {}\n\n",
        load.streams,
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
    let _ = writeln!(
        text,
        "Without any delay of the server: {:.0} tokens/s, {}",
        full_speed.tokens_per_second,
        cost(full_speed)
    );
    text
}

fn cost(measured: &Measurement) -> String {
    match measured.cpu_ms_per_1000_tokens {
        Some(cpu) => format!("{cpu:.2} ms of processor time per 1000 tokens"),
        None => "too little processor time to be measured".into(),
    }
}

fn json(load: &Load, at_load: &Measurement, full_speed: &Measurement) -> Result<String, Failure> {
    let value = serde_json::json!({ "load": load, "at_load": at_load, "full_speed": full_speed });
    serde_json::to_string_pretty(&value)
        .map(|text| text + "\n")
        .map_err(|error| Failure::new(Exit::Bug, format!("the calibration cannot be written as JSON: {error}")))
}
