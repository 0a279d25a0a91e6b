//! `report`: results of a run, rendered.

use sagellm_core::{Exit, Failure, Slo};
use sagellm_report::{render, write_atomic};

use crate::args::ReportArgs;
use crate::terminal::Printer;

pub(crate) fn report(args: &ReportArgs, printer: &Printer) -> Result<Exit, Failure> {
    let slo = Slo::of(&args.goodput)?;
    let colour = printer.colour() && args.output.is_none();
    let report = render::render_path(&args.input, slo.as_ref(), args.format, colour)?;
    match &args.output {
        Some(file) => write_atomic(file, &report)?,
        None => printer.bytes(&report)?,
    }
    Ok(Exit::Ok)
}
