//! `report`: results of a run, rendered.

use sagellm_core::{Exit, Failure, Slo};
use sagellm_report::{load, load_with_slo, render};

use crate::args::ReportArgs;
use crate::terminal::Printer;

pub(crate) fn report(args: &ReportArgs, printer: &Printer) -> Result<Exit, Failure> {
    let summary = match Slo::of(&args.goodput)? {
        Some(slo) => load_with_slo(&args.input, &slo)?,
        None => load(&args.input)?,
    };
    printer.result(&render::render(&summary, args.format, printer.colour())?)?;
    Ok(Exit::Ok)
}
