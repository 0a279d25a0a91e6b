//! `plan`: the exact requests of a workload, before they are sent.

use std::fmt::Write;
use std::path::Path;

use sagellm_core::{Exit, Failure};
use sagellm_model::{HubOptions, OpenOptions};
use sagellm_plan::{Format, Lengths, PlanFile, Planner, Survey, builtin_text, export, survey};

use crate::args::{PlanArgs, PlanCheckArgs, PlanCommand, PlanExportArgs, PlanWriteArgs};
use crate::terminal::{Printer, Progress};
use crate::workloads::specs;

/// What a plan is made for when nobody says what: what `run` measures then.
const DEFAULT_MODEL: &str = "synthetic:gpt2";

pub(crate) fn plan(args: &PlanArgs, printer: &Printer) -> Result<Exit, Failure> {
    match &args.command {
        PlanCommand::Write(args) => write(args, printer)?,
        PlanCommand::Check(args) => check(args, printer)?,
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

fn check(args: &PlanCheckArgs, printer: &Printer) -> Result<(), Failure> {
    let plan = PlanFile::open(&args.plan)?;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "tokenizer  {}", plan.header().tokenizer);
    for data in &plan.header().data {
        let _ = writeln!(text, "data       {} (SHA-256 {})", data.name, data.sha256);
    }
    for (nth, outline) in plan.outlines().enumerate() {
        let _ = write!(text, "\n{}", describe(&survey(&plan, nth)?, &outline.hash));
    }
    printer.result(&text)
}

/// The numbers of a workload as text.
fn describe(survey: &Survey, hash: &str) -> String {
    let (workload, arrivals) = (&survey.workload, &survey.arrivals);
    let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
    let mut lines = vec![("hash", format!("SHA-256 {hash}")), ("seed", workload.seed.to_string())];
    let mut requests = format!("{} and {} before them", survey.requests, survey.warmups);
    if survey.conversations > 0 {
        let _ = write!(requests, ", in {} conversations", survey.conversations);
    }
    if survey.untokenized > 0 {
        let _ = write!(requests, "; {} not tokenized", survey.untokenized);
    }
    lines.push(("requests", requests));
    lines.push(("input", lengths(&survey.input)));
    lines.push(("output", lengths(&survey.output)));
    let cap = workload.max_concurrency.map_or("no cap".into(), |cap| format!("{cap} at once at most"));
    lines.push(("concurrency", cap));
    if arrivals.bins.is_empty() {
        lines.push(("arrivals", "all due at once".into()));
    } else {
        let rate = format!("{}/s over {:.3} s", number(arrivals.rate), arrivals.last_s);
        lines.push(("arrivals", rate));
        lines.push(("gaps", format!("CV {}, lag-1 correlation {}", number(arrivals.cv), number(arrivals.lag1))));
        let (one, five) = (number(arrivals.dispersion_1s), number(arrivals.dispersion_5s));
        lines.push(("dispersion", format!("{one} at 1 s, {five} at 5 s")));
        lines.push(("KS distance", number(arrivals.ks)));
    }
    let mut text = format!("{}\n", workload.name);
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:<12} {value}");
    }
    text + &arrivals.plot()
}

fn lengths(lengths: &Lengths) -> String {
    let whole = |value: Option<u64>| value.map_or("-".into(), |value| value.to_string());
    let mean = lengths.mean().map_or("-".into(), |mean| format!("{mean:.1}"));
    let [p50, p95] = [0.5, 0.95].map(|q| whole(lengths.quantile(q)));
    let (min, max, total) = (whole(lengths.min()), whole(lengths.max()), lengths.total());
    format!("{total} tokens; min {min}, mean {mean}, median {p50}, p95 {p95}, max {max}")
}

fn export_plan(args: &PlanExportArgs, printer: &Printer) -> Result<(), Failure> {
    let plan = PlanFile::open(&args.plan)?;
    let names: Vec<&str> = plan.outlines().map(|outline| &*outline.workload.name).collect();
    let nth = match &args.workload {
        Some(wanted) => names.iter().position(|name| name == wanted),
        None => (names.len() == 1).then_some(0),
    };
    let nth = nth.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("the plan holds the workloads {}", names.join(", ")))
            .with_hint("choose one of them with `--workload`")
    })?;
    let exported = export(&plan, nth, Format::from(args.to), &args.output)?;
    printer.note(&format!("{} requests are in {}", exported.requests, args.output.display()));
    printer.result(&format!("{}\n", exported.arguments.join(" ")))
}
