//! `report`: results of a run, rendered.

use sagellm_core::{Exit, Failure};
use sagellm_report::{load, render};

use crate::args::ReportArgs;
use crate::terminal::Printer;

pub(crate) fn report(args: &ReportArgs, printer: &Printer) -> Result<Exit, Failure> {
    let summary = load(&args.input)?;
    printer.result(&render::render(&summary, args.format, printer.colour())?)?;
    Ok(Exit::Ok)
}
