//! `report`: results of a run, rendered.

use sagellm_core::{Exit, Failure, Slo};
use sagellm_report::render::{Format, Look, Wanted};
use sagellm_report::{render, write_atomic};

use crate::args::ReportArgs;
use crate::terminal::Printer;

pub(crate) fn report(args: &ReportArgs, printer: &Printer) -> Result<Exit, Failure> {
    let slo = Slo::of(&args.goodput)?;
    let wanted = Wanted { slo: slo.as_ref(), workload: args.workload.as_deref() };
    match (args.format, &args.output) {
        (Format::Parquet, Some(file)) => {
            render::write_records(&args.input, wanted, file)?;
            return Ok(Exit::Ok);
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
    Ok(Exit::Ok)
}
