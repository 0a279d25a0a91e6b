//! `plan`: the exact requests of a workload, before they are sent.

mod check;

use std::path::Path;

use sagellm_core::{Exit, Failure};
use sagellm_model::{HubOptions, OpenOptions};
use sagellm_plan::{Format, PlanFile, Planner, builtin_text, export};

use crate::args::{PlanArgs, PlanCommand, PlanExportArgs, PlanWriteArgs};
use crate::terminal::{Printer, Progress};
use crate::workloads::specs;

/// What a plan is made for when nobody says what: what `run` measures then.
const DEFAULT_MODEL: &str = "synthetic:gpt2";

pub(crate) fn plan(args: &PlanArgs, printer: &Printer) -> Result<Exit, Failure> {
    match &args.command {
        PlanCommand::Write(args) => write(args, printer)?,
        PlanCommand::Check(args) => check::check(args, printer)?,
        PlanCommand::Show(args) => printer.result(&builtin_text(&args.name)?)?,
        PlanCommand::Export(args) => export_plan(args, printer)?,
    }
    Ok(Exit::Ok)
}

fn write(args: &PlanWriteArgs, printer: &Printer) -> Result<(), Failure> {
    let specs = specs(&args.workload)?;
    let progress = Progress::new(printer, args.quiet);
    let options = OpenOptions { hub: HubOptions::from_env() };
    let (tokenizer, context) = match &args.tokenizer {
        Some(named) => (sagellm_model::open_tokenizer(named, &options, &progress)?, usize::MAX),
        None => {
            let named = args.model.as_deref().unwrap_or(DEFAULT_MODEL);
            let model = sagellm_model::open(named, &options, &progress)?;
            (model.tokenizer, model.config.context_length)
        }
    };
    let planners: Vec<_> =
        specs.iter().map(|spec| Planner::new(spec, &tokenizer, context)).collect::<Result<_, _>>()?;
    let folder = args.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut plan = sagellm_plan::write(folder, &planners, &tokenizer)?;
    plan.keep(&args.output)?;
    if !args.quiet {
        for outline in plan.outlines() {
            let (name, requests, hash) = (&outline.workload.name, outline.requests, &outline.hash);
            printer.note(&format!("{name}: {requests} requests, SHA-256 {hash}"));
        }
        printer.note(&format!("The plan is in {}", args.output.display()));
    }
    Ok(())
}

fn export_plan(args: &PlanExportArgs, printer: &Printer) -> Result<(), Failure> {
    let plan = PlanFile::open(&args.plan)?;
    let nth = chosen(&plan, args.workload.as_deref())?;
    let exported = export(&plan, nth, Format::from(args.to), &args.output)?;
    printer.note(&format!("{} requests are in {}", exported.requests, args.output.display()));
    printer.result(&format!("{}\n", exported.arguments.join(" ")))
}

/// The place of a workload in a plan: the one that was named, or the only one.
fn chosen(plan: &PlanFile, wanted: Option<&str>) -> Result<usize, Failure> {
    let names: Vec<&str> = plan.outlines().map(|outline| &*outline.workload.name).collect();
    let nth = match wanted {
        Some(wanted) => names.iter().position(|name| *name == wanted),
        None => (names.len() == 1).then_some(0),
    };
    nth.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("the plan holds the workloads {}", names.join(", ")))
            .with_hint("choose one of them with `--workload`")
    })
}
