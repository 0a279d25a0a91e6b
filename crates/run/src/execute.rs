//! One workload from its warm-up to the closing line of its journal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sagellm_core::journal::{Calibration, Close, Header, Line};
use sagellm_core::{Backend, Failure, Nanos, OutcomeKind, Plan, SCHEMA_VERSION};

use crate::dispatch::{Dispatch, Finished, Phase};
use crate::keeper::Keeper;
use crate::stalls::StallWatch;
use crate::supply::Supply;
use crate::warmup::{Warmed, warm_up};
use crate::{Journal, Observer, RunError, Watch};

/// Time between the opening of the window and the first due request: enough to write the header of the journal, so that
/// this does not make the first request late.
const LEAD: Nanos = 5_000_000;

/// How to run a plan.
#[derive(Debug)]
pub struct RunOptions<'a> {
    /// The journal to write; its folder must exist.
    pub journal: &'a Path,
    /// Longest time from sending a request to its end. After it the request is cancelled and recorded as `timeout`.
    pub timeout: Duration,
    /// No wave of a warm-up begins later than this after its first request.
    pub warmup_max: Duration,
    /// Longest time that what runs at the end of the workload's duration may go on; after it, it is recorded as `censored`.
    pub drain: Duration,
    /// Largest share of failed requests that is still accepted; noted in the journal for whoever judges the run.
    pub max_error_rate: f64,
    /// The client's own error at this load, where it was calibrated; noted in the journal.
    pub calibration: Option<Calibration>,
    /// Set, by a signal handler for instance, to stop: nothing more is sent, what runs gets a second to finish.
    pub stop: &'a AtomicBool,
    /// Set to cut off at once what a stop gives a second.
    pub hurry: &'a AtomicBool,
}

/// How a workload went. The figures are in the journal.
#[derive(Clone, Debug)]
pub struct WorkloadRun {
    /// The finished journal.
    pub journal: PathBuf,
    /// How the measured requests ended.
    pub outcomes: BTreeMap<OutcomeKind, u64>,
    /// Whether it was stopped from outside.
    pub interrupted: bool,
    /// Why the backend was given up, if it was. The requests that were left are recorded as failed.
    pub gone: Option<Failure>,
}

/// Runs a plan on a backend.
///
/// The warm-up comes first: as many requests as the workload says, else waves until two agree. Then the measured requests follow, each at its offset and within the
/// workload's cap on concurrency. `scheduled_ns` of a record is the plan's own time, however long the request waited for
/// a slot; only in a closed loop (traffic mode, immediate arrival, a cap) where the slots are the schedule, it is the
/// moment at which its slot became free.
///
/// # Errors
/// [`RunError`] when the plan contradicts itself or the journal cannot be written. A failing request or backend is not
/// an error here: it is recorded, and the journal is complete.
pub fn execute(
    plan: Plan,
    backend: &dyn Backend,
    options: &RunOptions<'_>,
    watch: &mut dyn Watch,
    observer: &mut dyn Observer,
) -> Result<WorkloadRun, RunError> {
    let Plan { workload, warmups, requests } = plan;
    if workload.max_concurrency == Some(0) {
        let reason = "`max_concurrency` is 0, so no request could ever be sent".into();
        return Err(RunError::Plan { workload: workload.name, reason });
    }
    let cap = workload.max_concurrency.map(|cap| cap as usize);
    // Read ahead now, so that the first requests are not late.
    let requests = Supply::read(requests);
    let clock = backend.clock();
    let stamp = backend.info().stamp;
    let dispatch =
        Dispatch { backend, clock, stamp, timeout: options.timeout, stop: options.stop, hurry: options.hurry };

    let journal = Journal::create(options.journal)?;
    observer.on_begin(&workload);

    // The header names the start of the window and comes first, so the warm-up's lines wait for it.
    let Warmed { warmup, finished: warmed, ending: warmup_ended } =
        warm_up(&dispatch, &workload, warmups, options.warmup_max, observer).map_err(RunError::Warmup)?;

    std::thread::scope(|scope| {
        let mut keeper = Keeper::start(scope, journal, backend)?;
        let mut stalls = StallWatch::new(clock);
        backend.begin_window();
        watch.begin();
        let start = clock.now() + LEAD;
        keeper.line(Line::Header(Header {
            schema_version: SCHEMA_VERSION,
            workload: workload.clone(),
            clock_started: clock.started_at(),
            start_ns: start,
            warmup: Some(warmup.clone()),
            max_error_rate: options.max_error_rate,
            calibration: options.calibration.clone(),
        }));
        for (record, text) in warmed {
            keeper.request(record, text);
        }
        observer.on_start(&warmup);

        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX);
        let until = workload.duration_s.map(|seconds| (start + (seconds * 1e9) as Nanos, nanos(options.drain)));
        let phase = Phase { warmup: false, start, cap, closed_loop: workload.is_closed_loop(), until };
        let mut outcomes = BTreeMap::new();
        let mut keep = |(record, text): Finished, observer: &mut dyn Observer| {
            *outcomes.entry(record.outcome).or_insert(0) += 1;
            observer.on_request_end(&record);
            keeper.request(record, text)
        };
        let ending = match warmup_ended.gone {
            None => dispatch.run(requests, phase, &mut stalls, observer, &mut keep),
            Some(failure) => dispatch.give_up(requests, phase, failure, &mut stalls, observer, &mut keep),
        };

        let seen = watch.end();
        let close = Close {
            end_ns: clock.now(),
            interrupted: ending.interrupted,
            wall_drift_ns: Some(clock.wall_drift_ns()),
            unsent: ending.unsent,
            stalls: Some(stalls.found(keeper.waited())),
            backend: backend.window(),
            memory: seen.memory,
            client_cpu_percent: seen.client_cpu_percent,
            server_cpu_percent: seen.server_cpu_percent,
            host: seen.host,
        };
        keeper.line(Line::Close(close.clone()));
        let journal = keeper.close()?.close()?;
        observer.on_end(&close);
        Ok(WorkloadRun { journal, outcomes, interrupted: ending.interrupted, gone: ending.gone })
    })
}
