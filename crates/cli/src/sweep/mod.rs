//! `sweep`: one workload at many loads.

mod resume;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sagellm_core::{Exit, Failure, SCHEMA_VERSION};
use sagellm_report::compare::GateReport;
use sagellm_report::render::Format;
use sagellm_report::sweep::{Axis, Limits, Measure, Point, SWEEP_FILE, Search, Sweep, Timing, Trial};
use sagellm_report::{
    Identity, Summary, check_writable, journal_file, read_manifest, summarize_folder, write_atomic, write_json,
};

use crate::args::{LoadsArgs, RunArgs, SweepArgs};
use crate::gates::Gates;
use crate::run::{OwnedFolder, gates, once, worse};
use crate::signals::Interrupt;
use crate::terminal::Printer;
use resume::{check_runs, check_same, inputs, resume, runs};

/// A doubled concurrency that gives less than this much more is the last of `--auto`.
const GROWTH: f64 = 1.05;
/// The highest concurrency of `--auto`.
const MAX_CONCURRENCY: u32 = 1024;
/// Runs of one load of `--auto` while they are INVALID for another reason than the load.
const MAX_TRIES: u32 = 2;

pub(crate) fn sweep(args: SweepArgs, printer: &Printer) -> Result<Exit, Failure> {
    let SweepArgs { loads, run, settings } = args;
    check(&loads, &run)?;
    let interrupt = Interrupt::listen(printer)?;
    let axis = if loads.auto || !loads.concurrencies.is_empty() { Axis::MaxConcurrency } else { Axis::RequestRate };
    let settings = settings + &inputs(&run.workload)?;
    let new =
        Sweep { schema_version: SCHEMA_VERSION, settings, axis, runs_started: 0, points: Vec::new(), capacity: None };
    let gates = gates(&run)?;
    let folder = run.output.clone();
    let _owned = OwnedFolder::take(&folder, &interrupt)?;
    let format = run.format;
    let sweep = resume(&folder, new)?;
    let identity = check_runs(&folder, &run, &interrupt, printer)?;
    // A signal that ends a later run at once loses nothing of those that are done.
    let done: Arc<Mutex<Sweep>> = Arc::new(Mutex::new(sweep.clone()));
    let (kept, html, out) = (Arc::clone(&done), loads.html.clone(), printer.clone());
    let hook = interrupt.while_kept(move || {
        let sweep = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !sweep.points.is_empty() {
            drop(show(&sweep, html.as_deref(), format, &out));
        }
    });
    let mut worker = Worker {
        run,
        folder,
        interrupt,
        printer,
        sweep,
        done,
        identity,
        gates,
        judged: GateReport::default(),
        worst: Exit::Ok,
    };
    let done = worker.work(&loads);
    drop(hook);
    let Worker { sweep, folder, worst, .. } = worker;
    if done.is_err() && sweep.points.is_empty() {
        return done.map(|()| worst);
    }
    // An error in a later run loses nothing of the earlier ones.
    write_json(&folder.join(SWEEP_FILE), &sweep)?;
    show(&sweep, loads.html.as_deref(), format, printer)?;
    let failed = sweep.points.iter().any(|point| !point.failed_gates.is_empty());
    done.map(|()| if worst == Exit::Ok && failed { Exit::Gate } else { worst })
}

/// Prints a sweep, and writes its page where one is wanted.
fn show(sweep: &Sweep, html: Option<&Path>, format: Format, printer: &Printer) -> Result<(), Failure> {
    if let Some(file) = html {
        write_atomic(file, sweep.html()?.as_bytes())?;
    }
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(sweep)
                .map_err(|error| Failure::new(Exit::Bug, format!("the sweep cannot be written as JSON: {error}")))?;
            printer.result(&(text + "\n"))
        }
        _ => printer.result(&sweep.table()),
    }
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
    if let Some(file) = &loads.html {
        check_writable(file)?;
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

/// Runs loads, each in a folder of its own.
struct Worker<'a> {
    run: RunArgs,
    folder: PathBuf,
    interrupt: Interrupt,
    printer: &'a Printer,
    sweep: Sweep,
    /// The sweep with the loads that are done, for a signal that ends the program at once.
    done: Arc<Mutex<Sweep>>,
    /// What the runs so far measured; `None` before the first.
    identity: Option<Identity>,
    gates: Gates,
    /// What became of the gates in the last run.
    judged: GateReport,
    worst: Exit,
}

impl Worker<'_> {
    /// Runs all loads that were asked for. What is done by the time of an error is in the sweep.
    fn work(&mut self, loads: &LoadsArgs) -> Result<(), Failure> {
        if let Some(limits) = &loads.slo {
            let mut searching = Searching { worker: self, failed: None };
            let Ok(found) = search(limits, loads).run(&mut searching);
            let failed = searching.failed;
            self.sweep.capacity = Some(found).filter(|found| found.runs > 0).or(self.sweep.capacity.take());
            return failed.map_or(Ok(()), Err);
        }
        if loads.auto {
            return self.double();
        }
        let listed = loads.rates.iter().copied().chain(loads.concurrencies.iter().map(|n| f64::from(*n)));
        for load in listed {
            if !self.goes_on() {
                break;
            }
            let (point, _) = self.point(load, 1)?;
            self.save(point)?;
        }
        Ok(())
    }

    /// Doubles the concurrency until the throughput does not grow any more, or a load has no valid run.
    fn double(&mut self) -> Result<(), Failure> {
        let (mut at_once, mut former) = (1, 0.0);
        while at_once <= MAX_CONCURRENCY && self.goes_on() {
            let (point, invalid) = self.point(f64::from(at_once), MAX_TRIES)?;
            let now: f64 = point.workloads.iter().filter_map(|it| it.values.get("output_throughput_tps")).sum();
            self.save(point)?;
            if let Some(reason) = invalid {
                self.printer
                    .note(&format!("--auto stops at a concurrency of {at_once}, whose runs are INVALID: {reason}"));
                break;
            }
            // Also ends where nothing is produced at all.
            if now <= former * GROWTH {
                break;
            }
            former = now;
            at_once *= 2;
        }
        Ok(())
    }

    fn goes_on(&self) -> bool {
        matches!(self.worst, Exit::Ok | Exit::Invalid) && self.interrupt.check().is_ok()
    }

    /// The folder of the `nth` run of a load.
    fn folder(&self, load: f64, nth: u32) -> PathBuf {
        self.folder.join(self.sweep.axis.folder(load)).join(format!("run-{}", nth + 1))
    }

    /// The `nth` run of a load: the one in the folder, if it has finished, else measured now.
    fn measure(&mut self, load: f64, nth: u32) -> Result<Summary, Failure> {
        let folder = self.folder(load, nth);
        if read_manifest(&folder)?.is_some_and(|manifest| manifest.finished && !manifest.interrupted) {
            let summary = summarize_folder(&folder)?;
            self.worst = worse(self.worst, summary.validity.exit());
            self.judged = self.gates.judge(std::slice::from_ref(&summary))?;
            return Ok(summary);
        }
        match self.sweep.axis {
            Axis::RequestRate => self.run.workload.load.request_rate = Some(load),
            // Loads of this axis were whole numbers.
            Axis::MaxConcurrency => self.run.workload.load.max_concurrency = Some(load as u32),
        }
        (self.run.nth, self.run.runs_before) = (nth, self.sweep.runs_started);
        self.run.output = folder;
        if !self.run.quiet {
            self.printer.note(&format!("{}, run {}", self.sweep.axis.folder(load), nth + 1));
        }
        let is_new = self.begin()?;
        let done = once(&self.run, &self.interrupt, self.printer);
        if done.is_err() && is_new {
            self.withdraw();
        }
        let (summary, exit) = done?;
        if let Some(now) = summary.environment.as_ref().map(Identity::of) {
            if let Some(before) = &self.identity {
                check_same(&self.folder, before, &now)?;
            }
            self.identity = Some(now);
        }
        self.worst = worse(self.worst, exit);
        self.judged = self.gates.judge(std::slice::from_ref(&summary))?;
        Ok(summary)
    }

    /// Writes down what the runs in the folder will be before there is one. Returns whether nothing was written before.
    fn begin(&mut self) -> Result<bool, Failure> {
        let file = self.folder.join(SWEEP_FILE);
        let is_new = !file.exists();
        self.sweep.runs_started += 1;
        std::fs::create_dir_all(&self.folder).map_err(|error| {
            Failure::new(Exit::Input, format!("cannot create directory `{}`: {error}", self.folder.display()))
                .with_hint("choose another folder with `--output`")
        })?;
        write_json(&file, &self.sweep)?;
        Ok(is_new)
    }

    /// Leaves nothing of a sweep whose first run did not begin.
    fn withdraw(&self) {
        if runs(&self.folder).is_empty() {
            // What cannot be removed does no harm.
            let _ = std::fs::remove_file(self.folder.join(SWEEP_FILE));
            let _ = std::fs::remove_dir(&self.folder);
        }
    }

    /// A load, run again up to `tries` times while its run is INVALID for another reason than the load. Also returns why
    /// the last run was INVALID, if it was.
    fn point(&mut self, load: f64, tries: u32) -> Result<(Point, Option<String>), Failure> {
        let mut point = Point::new(self.sweep.axis, load);
        loop {
            let summary = self.measure(load, point.runs)?;
            let trial = Trial::new(&summary, Vec::new());
            point.runs += 1;
            point.invalid_runs += u32::from(trial.invalid);
            point.workloads = trial.figures;
            if trial.useless.is_none() || point.runs >= tries || !self.goes_on() {
                let reason = summary.validity.reasons.first().map(|reason| reason.message.clone());
                return Ok((point, reason.filter(|_| trial.invalid)));
            }
        }
    }

    /// Keeps what is known so far.
    fn save(&mut self, mut point: Point) -> Result<(), Failure> {
        point.gate(std::mem::take(&mut self.judged));
        self.sweep.put(point);
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.sweep);
        Ok(write_json(&self.folder.join(SWEEP_FILE), &self.sweep)?)
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

/// A search that runs its loads, and keeps them in a sweep. A failure ends the search, which says what is known until then.
struct Searching<'a, 'b> {
    worker: &'a mut Worker<'b>,
    failed: Option<Failure>,
}

impl Searching<'_, '_> {
    fn measure(&mut self, rate: f64, nth: u32) -> Result<Trial, Failure> {
        let summary = self.worker.measure(rate, nth)?;
        let folder = self.worker.folder(rate, nth);
        let workloads = summary.workloads.iter();
        let timings = workloads.map(|workload| Timing::read(&folder.join(journal_file(workload.name()))));
        Ok(Trial::new(&summary, timings.collect::<Result<_, _>>()?))
    }
}

impl Measure for Searching<'_, '_> {
    type Error = Infallible;

    fn trial(&mut self, rate: f64, nth: u32) -> Result<Option<Trial>, Infallible> {
        if self.failed.is_some() || !self.worker.goes_on() {
            return Ok(None);
        }
        Ok(self.measure(rate, nth).map_err(|failure| self.failed = Some(failure)).ok())
    }

    fn keep(&mut self, point: Point) -> Result<(), Infallible> {
        if let Err(failure) = self.worker.save(point) {
            self.failed.get_or_insert(failure);
        }
        Ok(())
    }
}
