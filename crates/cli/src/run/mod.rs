//! `run`: measure a workload on a backend.

mod asked;
mod calibration;
mod config;
mod connections;
mod folder;
mod identity;
mod observer;
mod output;
mod repeat;
mod server;
mod setup;
mod subject;
mod vanished;
mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use sagellm_core::{Clock, Exit, Failure, Slo, panics};
use sagellm_plan::Nonce;
use sagellm_report::Summary;
use sagellm_report::render::{self, Format, Wanted};
use sagellm_run::{RunOptions, execute};
use sagellm_telemetry::Monitor;

use crate::args::RunArgs;
use crate::signals::Interrupt;
use crate::terminal::{Printer, Progress};
pub(crate) use folder::{OwnedFolder, TEMPORARY};
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
    let Done { summary, exit, folder } = measured(&args, &interrupt, printer)?;
    match args.format {
        // What it shows is in the journals.
        Format::Html => {
            let page = render::render_path(&folder, Wanted::default(), args.format, printer.look())?;
            printer.result(&String::from_utf8_lossy(&page))?;
        }
        format => printer.result(&render::render(&summary, format, printer.look())?)?,
    }
    let exit = gates.finish(std::slice::from_ref(&summary), exit, args.format, printer)?;
    if !args.quiet {
        printer.note(&format!("Results are in {}", folder.display()));
    }
    Ok(exit)
}

/// A run that came to its end.
pub(super) struct Done {
    summary: Summary,
    exit: Exit,
    /// Where its results are.
    folder: PathBuf,
}

/// Plans, measures and saves one run.
pub(crate) fn once(args: &RunArgs, interrupt: &Interrupt, printer: &Printer) -> Result<(Summary, Exit), Failure> {
    measured(args, interrupt, printer).map(|done| (done.summary, done.exit))
}

fn measured(args: &RunArgs, interrupt: &Interrupt, printer: &Printer) -> Result<Done, Failure> {
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

fn measure(args: &RunArgs, interrupt: &Interrupt, printer: &Printer) -> Result<Done, Failure> {
    let clock = Clock::start();
    let panicked_before = panics().len();
    let timeout = setup::timeout(args)?;
    let drain = setup::drain(args)?;
    let warmup_max = setup::warmup_max(args)?;
    let slo = Slo::of(&args.goodput)?;
    let wanted = setup::wanted(args)?;
    let output = Output::check(args, interrupt)?;
    let monitor = Monitor::new(clock);
    let progress = Progress::new(printer, args.quiet);

    let subject = Subject::open(args, &wanted, &|| output.log(), interrupt, printer.secrets(), &progress)?;
    let scratch = output.scratch()?;
    let (mut plan, replay) = setup::plan(wanted, &subject, &scratch)?;
    if args.format == Format::Vllm && plan.outlines().nth(1).is_some() {
        let message = "`--format vllm` holds one workload, and several are asked for";
        let hint = "choose another format, and use `report --format vllm --workload NAME` afterwards";
        return Err(Failure::new(Exit::Usage, message).with_hint(hint));
    }
    replay.warnings().into_iter().for_each(|warning| printer.note(warning));
    let hashes = subject.hashes(&plan);
    // No two runs start in the same nanosecond on one server, and those of one moment are far apart in what is drawn.
    let tokenizer = subject.tokenizer().clone();
    let nonce = || args.cache_bust.then(|| Nonce::new(&tokenizer, clock.started_at().unix_ns)).transpose();
    nonce()?;
    let calibrations = subject.calibrate(args, &plan, interrupt, &progress)?;
    let Ready { backend, mut watch, launched } =
        subject.start(args, &plan, printer.secrets(), clock, monitor, &progress)?;
    let mut output = output.open(args, &mut plan, hashes, backend.info(), clock, &progress)?;

    let mut reporter = Reporter::new(&progress, clock, args.verbose);
    reporter.introduce(&backend.info(), args.quiet);
    let orderly = interrupt.orderly();
    let (stop, hurry) = (orderly.stop(), orderly.hurry());
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
        let options =
            RunOptions { journal: &journal, timeout, warmup_max, drain, max_error_rate, calibration, stop, hurry };
        let mut plan = replay.apply(plan.plan(nth, &tokenizer)?, nonce()?);
        plan.workload.num_warmups = args.workload.load.num_warmups.or(plan.workload.num_warmups);
        plan.workload.goodput = slo.clone().or(plan.workload.goodput);
        reporter.keep_journal(&journal);
        let run = catch_unwind(AssertUnwindSafe(|| execute(plan, &*backend, &options, &mut *watch, &mut reporter)));
        reporter.take_journal().into_iter().for_each(|file| output.keep_open(&journal, file));
        let Ok(run) = run else {
            // It has been reported.
            ending = Exit::Bug;
            break;
        };
        let run = run?;
        if run.interrupted {
            ending = Exit::Interrupted;
        } else if let Some(gone) = server::died(launched.as_deref(), &run, printer.secrets()).or(run.gone) {
            printer.failure(&gone);
            ending = Exit::Backend;
        }
        if ending != Exit::Ok {
            break;
        }
    }
    drop(orderly);
    let faults = panics().split_off(panicked_before);
    if let Err(failure) = interrupt.check_hurried() {
        output.end(true, &faults)?;
        return Err(failure);
    }
    let summary = output.finish(ending == Exit::Interrupted, &faults)?;
    let exit = match ending {
        _ if !faults.is_empty() => Exit::Bug,
        Exit::Ok => summary.validity.exit(),
        ending => ending,
    };
    Ok(Done { summary, exit, folder: output.folder().to_owned() })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use sagellm_core::report_panics;
    use sagellm_report::{Code, load};

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn a_panic_of_any_thread_makes_a_run_invalid_and_loses_no_record() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        let line = "sagellm-benchmark run --model synthetic:tiny --workload short --num-prompts 60 --quiet --output";
        let cli = Cli::parse_from(line.split(' ').map(Into::into).chain([folder.clone().into_os_string()]));
        let Command::Run(args) = cli.command else { unreachable!("it is `run`") };
        report_panics(|_| ());
        let journal = folder.join("short_input.records.jsonl");
        let begun = move || std::fs::metadata(&journal).is_ok_and(|found| found.len() > 0);
        let thread = std::thread::Builder::new().name("sampler".into()).spawn(move || {
            while !begun() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            panic!("the gauge is broken");
        });
        let printer = Printer::new();
        let interrupt = Interrupt::listen_quietly(&printer).unwrap();
        let done = measured(&args, &interrupt, &printer).unwrap();
        assert!(thread.unwrap().join().is_err());
        assert_eq!(done.exit, Exit::Bug);
        for summary in [done.summary, load(&folder).unwrap()] {
            let reason = summary.validity.reasons.iter().find(|reason| reason.code == Code::InternalFault).unwrap();
            assert!(reason.message.starts_with("internal fault: thread `sampler` panicked at "), "{}", reason.message);
            assert!(reason.message.ends_with(": the gauge is broken"), "{}", reason.message);
            assert_eq!(summary.overall.successful_requests, 60);
        }
    }
}
