//! `sweep`: one workload at many loads.

use std::fs;
use std::path::{Path, PathBuf};

use sagellm_core::{Exit, Failure, SCHEMA_VERSION};
use sagellm_report::sweep::{Axis, Bracket, Capacity, Figures, Limits, Point, SWEEP_FILE, Standing, Sweep};
use sagellm_report::{Summary, Verdict, journal_file, summarize_folder, write_atomic, write_json};

use crate::args::{LoadsArgs, RunArgs, SweepArgs};
use crate::run::{once, worse};
use crate::signals::Interrupt;
use crate::terminal::Printer;

/// Loads of a search at most. The error is shared among them.
const MOST_POINTS: u32 = 24;
/// A doubled concurrency that gives less than this much more is the last of `--auto`.
const GROWTH: f64 = 1.05;
/// The highest concurrency of `--auto`.
const MOST_AT_ONCE: u32 = 1024;

pub(crate) fn sweep(args: SweepArgs, printer: &Printer) -> Result<Exit, Failure> {
    let SweepArgs { loads, run, settings } = args;
    check(&loads, &run)?;
    let interrupt = Interrupt::listen(printer)?;
    let axis = if loads.auto || !loads.concurrencies.is_empty() { Axis::MaxConcurrency } else { Axis::RequestRate };
    let mut sweep = Sweep { schema_version: SCHEMA_VERSION, settings, axis, points: Vec::new(), capacity: None };
    let folder = run.output.clone();
    resume(&folder, &sweep)?;
    let mut worker = Worker { run, folder, interrupt, printer, worst: Exit::Ok };
    match &loads.slo {
        Some(limits) => search(&mut worker, &mut sweep, limits, &loads)?,
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
    printer.result(&sweep.table())?;
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
    Ok(())
}

/// Refuses a folder that holds a sweep of something else. What it holds of this one is not run again.
fn resume(folder: &Path, sweep: &Sweep) -> Result<(), Failure> {
    let Ok(text) = fs::read_to_string(folder.join(SWEEP_FILE)) else { return Ok(()) };
    match serde_json::from_str::<Sweep>(&text) {
        Ok(known) if known.settings == sweep.settings => Ok(()),
        _ => {
            let message = format!("`{}` holds a sweep with other settings", folder.display());
            Err(Failure::new(Exit::Input, message).with_hint("choose another folder with `--output`"))
        }
    }
}

/// Runs loads, each in a folder of its own.
struct Worker<'a> {
    run: RunArgs,
    folder: PathBuf,
    interrupt: Interrupt,
    printer: &'a Printer,
    worst: Exit,
}

impl Worker<'_> {
    fn goes_on(&self) -> bool {
        matches!(self.worst, Exit::Ok | Exit::Invalid) && self.interrupt.check().is_ok()
    }

    fn name(axis: Axis, load: f64) -> String {
        match axis {
            Axis::RequestRate => format!("rate-{load}"),
            Axis::MaxConcurrency => format!("concurrency-{load}"),
        }
    }

    /// The `nth` run of a load: as it lies there, if it came to its end, else measured now.
    fn measure(&mut self, axis: Axis, load: f64, nth: u32) -> Result<Summary, Failure> {
        let folder = self.folder.join(Self::name(axis, load)).join(format!("run-{}", nth + 1));
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
        self.run.nth = nth;
        self.run.output = folder;
        if !self.run.quiet {
            self.printer.note(&format!("{}, run {}", Self::name(axis, load), nth + 1));
        }
        let (summary, exit) = once(&self.run, &self.interrupt, self.printer)?;
        self.worst = worse(self.worst, exit);
        Ok(summary)
    }

    /// One run of a load.
    fn point(&mut self, axis: Axis, load: f64) -> Result<Point, Failure> {
        let summary = self.measure(axis, load, 0)?;
        let folder = Self::name(axis, load);
        let invalid_runs = u32::from(is_invalid(&summary));
        Ok(Point { load, folder, runs: 1, invalid_runs, standing: None, workloads: Figures::of(&summary) })
    }

    /// Keeps what is known so far.
    fn save(&self, sweep: &mut Sweep, point: Point) -> Result<(), Failure> {
        sweep.put(point);
        Ok(write_json(&self.folder.join(SWEEP_FILE), sweep)?)
    }
}

/// Looks for the highest rate within the limits.
fn search(worker: &mut Worker<'_>, sweep: &mut Sweep, limits: &Limits, loads: &LoadsArgs) -> Result<(), Failure> {
    let axis = Axis::RequestRate;
    let error = loads.error / f64::from(MOST_POINTS);
    let mut bracket = Bracket::new(loads.precision);
    let mut next = Some(loads.rates.first().copied().unwrap_or(1.0));
    for _ in 0..MOST_POINTS {
        let Some(rate) = next.filter(|_| worker.goes_on()) else { break };
        let mut seen = limits.anew();
        let (mut standing, mut runs, mut invalid_runs) = (Standing::Open, 0, 0);
        let mut last = Vec::new();
        while standing == Standing::Open && runs < loads.most_runs && worker.goes_on() {
            let summary = worker.measure(axis, rate, runs)?;
            let folder = worker.folder.join(Worker::name(axis, rate)).join(format!("run-{}", runs + 1));
            for workload in summary.workloads.iter() {
                seen.read(&folder.join(journal_file(workload.name())))?;
            }
            last = Figures::of(&summary);
            runs += 1;
            invalid_runs += u32::from(is_invalid(&summary));
            standing = seen.standing(error);
        }
        worker.save(
            sweep,
            Point {
                load: rate,
                folder: Worker::name(axis, rate),
                runs,
                invalid_runs,
                standing: Some(standing),
                workloads: last,
            },
        )?;
        if standing == Standing::Open && runs < loads.most_runs {
            break;
        }
        bracket.note(rate, standing);
        next = bracket.next();
    }
    let Bracket { within, beyond, .. } = bracket;
    sweep.capacity = Some(Capacity {
        limits: limits.text().to_owned(),
        error: loads.error,
        within_rps: within,
        beyond_rps: beyond,
        runs: sweep.points.iter().map(|point| point.runs).sum(),
        invalid_runs: sweep.points.iter().map(|point| point.invalid_runs).sum(),
    });
    Ok(())
}
