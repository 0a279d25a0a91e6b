//! `report`: results of a run, rendered.

use sagellm_core::{Exit, Failure, Slo};
use sagellm_report::render::{Format, Look, Wanted};
use sagellm_report::{check_writable, render, write_atomic};

use crate::args::ReportArgs;
use crate::gates::Gates;
use crate::terminal::Printer;

pub(crate) fn report(args: &ReportArgs, printer: &Printer) -> Result<Exit, Failure> {
    let slo = Slo::of(&args.goodput)?;
    if let Some(file) = &args.output {
        check_writable(file)?;
    }
    let gates = Gates::new(&args.fail_on, &[])?;
    let wanted = Wanted { slo: slo.as_ref(), workload: args.workload.as_deref() };
    match (args.format, &args.output) {
        (Format::Parquet, Some(file)) => {
            render::write_records(&args.input, wanted, file)?;
            return finish(args, &gates, wanted, printer);
        }
        (Format::Parquet, None) => {
            let message = "`--format parquet` is no text for standard output";
            return Err(Failure::new(Exit::Usage, message).with_hint("name a file: `--output records.parquet`"));
        }
        _ => {}
    }
    let look = if args.output.is_none() { printer.look() } else { Look::default() };
    let report = render::render_path(&args.input, wanted, args.format, look)?;
    match &args.output {
        Some(file) => write_atomic(file, &report)?,
        None => printer.bytes(&report)?,
    }
    finish(args, &gates, wanted, printer)
}

/// Judges the conditions of `--fail-on`, where there are any. Without them a report has no opinion of what it shows.
fn finish(args: &ReportArgs, gates: &Gates, wanted: Wanted<'_>, printer: &Printer) -> Result<Exit, Failure> {
    if args.fail_on.is_empty() {
        return Ok(Exit::Ok);
    }
    let format = if args.output.is_none() { args.format } else { Format::Json };
    gates.finish(&render::summaries(&args.input, wanted)?, Exit::Ok, format, printer)
}
