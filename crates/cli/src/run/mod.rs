//! `run`: measure a workload on a backend.

mod asked;
mod calibration;
mod config;
mod connections;
mod identity;
mod observer;
mod output;
mod repeat;
mod server;
mod setup;
mod subject;
mod watch;

use sagellm_core::{Clock, Exit, Failure, Slo};
use sagellm_plan::Nonce;
use sagellm_report::Summary;
use sagellm_report::render::{self, Format, Wanted};
use sagellm_run::{RunOptions, execute};
use sagellm_telemetry::Monitor;

use crate::args::RunArgs;
use crate::signals::Interrupt;
use crate::terminal::{Printer, Progress};
pub(crate) use identity::identity;
use observer::Reporter;
use output::Output;
pub(crate) use output::PLAN_FILE;
pub(crate) use repeat::worse;
pub(crate) use setup::gates;
pub(crate) use subject::open_options;
use subject::{Ready, Subject};

/// Plans, measures, saves, and shows; the exit code says whether the result can be used.
pub(crate) fn run(args: RunArgs, printer: &Printer) -> Result<Exit, Failure> {
    let interrupt = Interrupt::listen(printer)?;
    if args.repeat > 1 {
        return repeat::run(args, &interrupt, printer);
    }
    let gates = gates(&args)?;
    let (summary, exit) = once(&args, &interrupt, printer)?;
    match args.format {
        // What it shows is in the journals.
        Format::Html => {
            let page = render::render_path(&args.output, Wanted::default(), args.format, printer.look())?;
            printer.result(&String::from_utf8_lossy(&page))?;
        }
        format => printer.result(&render::render(&summary, format, printer.look())?)?,
    }
    let exit = gates.finish(std::slice::from_ref(&summary), exit, args.format, printer)?;
    if !args.quiet {
        printer.note(&format!("Results are in {}", args.output.display()));
    }
    Ok(exit)
}

/// Plans, measures and saves one run.
pub(crate) fn once(args: &RunArgs, interrupt: &Interrupt, printer: &Printer) -> Result<(Summary, Exit), Failure> {
    let secrets = printer.secrets();
    secrets.learn(&args.server);
    let done = measure(args, interrupt, printer);
    // A server may have told its own command line. It has been stopped by now.
    if args.server.launch.is_some()
        && let Err(error) = server::clean_log(&args.output, secrets)
    {
        printer.note(&format!("warning: the server's log may hold secrets, since it could not be rewritten: {error}"));
    }
    done
}

fn measure(args: &RunArgs, interrupt: &Interrupt, printer: &Printer) -> Result<(Summary, Exit), Failure> {
    let clock = Clock::start();
    let timeout = setup::timeout(args)?;
    let drain = setup::drain(args)?;
    let slo = Slo::of(&args.goodput)?;
    let wanted = setup::wanted(args)?;
    let output = Output::check(args)?;
    let monitor = Monitor::new(clock);
    let progress = Progress::new(printer, args.quiet);

    let subject = Subject::open(args, &wanted, interrupt, printer.secrets(), &progress)?;
    let scratch = output.scratch(interrupt)?;
    let (mut plan, replay) = setup::plan(wanted, &subject, &scratch)?;
    if args.format == Format::Vllm && plan.outlines().nth(1).is_some() {
        let message = "`--format vllm` holds one workload, and several are asked for";
        let hint = "choose another format, and use `report --format vllm --workload NAME` afterwards";
        return Err(Failure::new(Exit::Usage, message).with_hint(hint));
    }
    replay.warnings().into_iter().for_each(|warning| printer.note(warning));
    let hashes = subject.hashes(&plan);
    // No two runs start in the same nanosecond on one server, and those of one moment are far apart in what is drawn.
    let tokenizer = args.cache_bust.then(|| subject.tokenizer().clone());
    let nonce = || tokenizer.as_ref().map(|it| Nonce::new(it, clock.started_at().unix_ns)).transpose();
    nonce()?;
    let calibrations = subject.calibrate(args, &plan, interrupt, &progress)?;
    let Ready { backend, mut watch, launched } =
        subject.start(args, &plan, printer.secrets(), clock, monitor, &progress)?;
    let mut output = output.open(args, &mut plan, hashes, backend.info(), printer.secrets(), clock)?;
    drop(scratch);

    let mut reporter = Reporter::new(&progress, clock, args.verbose);
    reporter.introduce(&backend.info(), args.quiet);
    let stop = interrupt.orderly();
    let mut ending = Exit::Ok;
    for (nth, outline) in plan.outlines().enumerate() {
        if nth > 0 {
            // After the last workload everything is written anyway.
            output.save()?;
        }
        let journal = output.journal(&outline.workload.name);
        let max_error_rate = args.limits.max_error_rate;
        reporter.expect(outline.output_tokens);
        let calibration = calibrations.get(nth).cloned();
        let options = RunOptions { journal: &journal, timeout, drain, max_error_rate, calibration, stop };
        let mut plan = replay.apply(plan.plan(nth)?, nonce()?)?;
        plan.workload.goodput = slo.clone().or(plan.workload.goodput);
        let run = execute(plan, &*backend, &options, &mut *watch, &mut reporter)?;
        if run.interrupted {
            ending = Exit::Interrupted;
        } else if let Some(gone) = server::died(launched.as_deref(), &run).or(run.gone) {
            printer.failure(&gone);
            ending = Exit::Backend;
        }
        if ending != Exit::Ok {
            break;
        }
    }
    let summary = output.finish(ending == Exit::Interrupted)?;
    let exit = if ending == Exit::Ok { summary.validity.exit() } else { ending };
    Ok((summary, exit))
}
