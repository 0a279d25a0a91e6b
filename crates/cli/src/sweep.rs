//! `sweep`: one workload at many loads.

use std::fs;
use std::path::{Path, PathBuf};

use sagellm_core::{Exit, Failure, SCHEMA_VERSION};
use sagellm_report::render::Format;
use sagellm_report::sweep::{Axis, Figures, Limits, Measure, Point, SWEEP_FILE, Search, Sweep, Timing, Trial};
use sagellm_report::{Summary, Verdict, journal_file, summarize_folder, write_atomic, write_json};

use crate::args::{LoadsArgs, RunArgs, SweepArgs};
use crate::run::{OwnedFolder, once, worse};
use crate::signals::Interrupt;
use crate::terminal::Printer;

/// A doubled concurrency that gives less than this much more is the last of `--auto`.
const GROWTH: f64 = 1.05;
/// The highest concurrency of `--auto`.
const MOST_AT_ONCE: u32 = 1024;

pub(crate) fn sweep(args: SweepArgs, printer: &Printer) -> Result<Exit, Failure> {
    let SweepArgs { loads, run, settings } = args;
    check(&loads, &run)?;
    let interrupt = Interrupt::listen(printer)?;
    let axis = if loads.auto || !loads.concurrencies.is_empty() { Axis::MaxConcurrency } else { Axis::RequestRate };
    let new = Sweep { schema_version: SCHEMA_VERSION, settings, axis, points: Vec::new(), capacity: None };
    let folder = run.output.clone();
    let _owned = OwnedFolder::take(&folder, &interrupt)?;
    let format = run.format;
    let mut sweep = resume(&folder, new)?;
    let mut worker = Worker { run, folder, interrupt, printer, runs: 0, worst: Exit::Ok };
    match &loads.slo {
        Some(limits) => {
            let search = search(limits, &loads);
            let found = search.run(&mut Searching { worker: &mut worker, sweep: &mut sweep })?;
            sweep.capacity = Some(found);
        }
        None if loads.auto => {
            let (mut at_once, mut former) = (1, 0.0);
            while at_once <= MOST_AT_ONCE && worker.goes_on() {
                let point = worker.point(axis, f64::from(at_once))?;
                let now: f64 = point.workloads.iter().filter_map(|it| it.values.get("output_throughput_tps")).sum();
                worker.save(&mut sweep, point)?;
                if now < former * GROWTH {
                    break;
                }
                former = now;
                at_once *= 2;
            }
        }
        None => {
            let listed = loads.rates.iter().copied().chain(loads.concurrencies.iter().map(|n| f64::from(*n)));
            for load in listed {
                if !worker.goes_on() {
                    break;
                }
                let point = worker.point(axis, load)?;
                worker.save(&mut sweep, point)?;
            }
        }
    }
    write_json(&worker.folder.join(SWEEP_FILE), &sweep)?;
    if let Some(file) = &loads.html {
        write_atomic(file, sweep.html()?.as_bytes())?;
    }
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&sweep)
                .map_err(|error| Failure::new(Exit::Bug, format!("the sweep cannot be written as JSON: {error}")))?;
            printer.result(&(text + "\n"))?;
        }
        _ => printer.result(&sweep.table())?,
    }
    Ok(worker.worst)
}

fn is_invalid(summary: &Summary) -> bool {
    summary.validity.verdict == Verdict::Invalid
}

/// Refuses what a sweep cannot do.
fn check(loads: &LoadsArgs, run: &RunArgs) -> Result<(), Failure> {
    let wrong = |message: &str| Err(Failure::new(Exit::Usage, message));
    if loads.rates.is_empty() && loads.concurrencies.is_empty() && !loads.auto && loads.slo.is_none() {
        return wrong("a sweep needs loads: `--request-rate 1,2,4`, `--max-concurrency 1,4,16`, `--auto` or `--slo`");
    }
    if loads.rates.iter().any(|rate| !(rate.is_finite() && *rate > 0.0)) || loads.concurrencies.contains(&0) {
        return wrong("the loads of a sweep have to be above 0");
    }
    if !(1e-6..=0.5).contains(&loads.error) || !(0.1..=100.0).contains(&loads.precision) || loads.most_runs == 0 {
        return wrong("`--error` is from 1e-6 to 0.5, `--precision` from 0.1 to 100, `--most-runs` at least 1");
    }
    if run.plan.is_some() || run.repeat > 1 {
        return wrong("`--plan` and `--repeat` have no meaning in a sweep: every load has requests of its own");
    }
    if !matches!(run.format, Format::Table | Format::Json) {
        let message =
            format!("`--format {}` is not possible: a sweep is shown as `table` or `json`", run.format.name());
        return Err(Failure::new(Exit::Usage, message).with_hint("`--html FILE` writes its page"));
    }
    if run.output_json.is_some() {
        return Err(Failure::new(Exit::Usage, "`--output-json` is of one run, and a sweep has many").with_hint(
            format!(
                "`{SWEEP_FILE}` in its folder holds the figures of all loads, and the folder of each run its metrics"
            ),
        ));
    }
    Ok(())
}

/// The sweep that the folder holds already, to be gone on with, or else the new one. What it holds is not run again; one of
/// something else is refused.
fn resume(folder: &Path, new: Sweep) -> Result<Sweep, Failure> {
    let Ok(text) = fs::read_to_string(folder.join(SWEEP_FILE)) else { return Ok(new) };
    let what = match serde_json::from_str::<Sweep>(&text) {
        Ok(known) if known.settings != new.settings => "with other settings",
        Ok(known) if known.axis != new.axis => "over the other kind of load",
        Ok(known) => return Ok(known),
        Err(_) => "that cannot be read",
    };
    let message = format!("`{}` holds a sweep {what}", folder.display());
    Err(Failure::new(Exit::Input, message).with_hint("choose another folder with `--output`"))
}

/// Runs loads, each in a folder of its own.
struct Worker<'a> {
    run: RunArgs,
    folder: PathBuf,
    interrupt: Interrupt,
    printer: &'a Printer,
    /// Runs so far.
    runs: u32,
    worst: Exit,
}

impl Worker<'_> {
    fn goes_on(&self) -> bool {
        matches!(self.worst, Exit::Ok | Exit::Invalid) && self.interrupt.check().is_ok()
    }

    /// Where the `nth` run of a load lies.
    fn folder(&self, axis: Axis, load: f64, nth: u32) -> PathBuf {
        self.folder.join(axis.folder(load)).join(format!("run-{}", nth + 1))
    }

    /// The `nth` run of a load: as it lies there, if it came to its end, else measured now.
    fn measure(&mut self, axis: Axis, load: f64, nth: u32) -> Result<Summary, Failure> {
        // Runs that lie there count, so that a sweep that is taken up again asks nothing twice.
        let before = self.runs;
        self.runs += 1;
        let folder = self.folder(axis, load, nth);
        if let Ok(summary) = summarize_folder(&folder)
            && summary.environment.as_ref().is_some_and(|manifest| manifest.finished && !manifest.interrupted)
        {
            self.worst = worse(self.worst, if is_invalid(&summary) { Exit::Invalid } else { Exit::Ok });
            return Ok(summary);
        }
        match axis {
            Axis::RequestRate => self.run.workload.load.request_rate = Some(load),
            // Loads of this axis were whole numbers.
            Axis::MaxConcurrency => self.run.workload.load.max_concurrency = Some(load as u32),
        }
        (self.run.nth, self.run.runs_before) = (nth, before);
        self.run.output = folder;
        if !self.run.quiet {
            self.printer.note(&format!("{}, run {}", axis.folder(load), nth + 1));
        }
        let (summary, exit) = once(&self.run, &self.interrupt, self.printer)?;
        self.worst = worse(self.worst, exit);
        Ok(summary)
    }

    /// One run of a load.
    fn point(&mut self, axis: Axis, load: f64) -> Result<Point, Failure> {
        let summary = self.measure(axis, load, 0)?;
        let folder = axis.folder(load);
        let invalid_runs = u32::from(is_invalid(&summary));
        Ok(Point { load, folder, runs: 1, invalid_runs, standing: None, workloads: Figures::of(&summary) })
    }

    /// Keeps what is known so far.
    fn save(&self, sweep: &mut Sweep, point: Point) -> Result<(), Failure> {
        sweep.put(point);
        Ok(write_json(&self.folder.join(SWEEP_FILE), sweep)?)
    }
}

fn search(limits: &Limits, loads: &LoadsArgs) -> Search {
    Search {
        limits: limits.clone(),
        first_rps: loads.rates.first().copied().unwrap_or(1.0),
        error: loads.error,
        precision: loads.precision,
        most_runs: loads.most_runs,
    }
}

/// A search that runs its loads, and keeps them in a sweep.
struct Searching<'a, 'b> {
    worker: &'a mut Worker<'b>,
    sweep: &'a mut Sweep,
}

impl Measure for Searching<'_, '_> {
    type Error = Failure;

    fn trial(&mut self, rate: f64, nth: u32) -> Result<Option<Trial>, Failure> {
        if !self.worker.goes_on() {
            return Ok(None);
        }
        let summary = self.worker.measure(Axis::RequestRate, rate, nth)?;
        let folder = self.worker.folder(Axis::RequestRate, rate, nth);
        let workloads = summary.workloads.iter();
        let timings = workloads.map(|workload| Timing::read(&folder.join(journal_file(workload.name()))));
        Ok(Some(Trial::new(&summary, timings.collect::<Result<_, _>>()?)))
    }

    fn keep(&mut self, point: Point) -> Result<(), Failure> {
        self.worker.save(self.sweep, point)
    }
}
