//! One measurement of the simulator, held against its truth.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sagellm_core::journal::{Calibration, Close, ErrorSpread, Line};
use sagellm_core::{
    Backend, BackendInfo, Clock, Exit, Failure, Measured, Mode, ModelInfo, Nanos, OutcomeKind, Plan, Prompt, Record,
    Request, Sampling, Source, Stamp, Workload, seconds,
};
use sagellm_http::{CountTokens, HttpBackend, HttpOptions, RequestFields, RequestIds};
use sagellm_model::Tokenizer;
use sagellm_run::{Observed, RunOptions, Silent, Watch, execute};
use sagellm_server::Truth;
use sagellm_stats::Spans;
use sagellm_telemetry::{Monitor, process_cpu_seconds, process_cpu_seconds_of};
use serde::Serialize;

use super::error::Spread;
use super::load::Load;
use super::simulator::SimulatorProcess;
use crate::signals::Interrupt;

/// Processor seconds that can be told from none: the system counts in ticks of 10 ms.
const LEAST_CPU: f64 = 0.1;
/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What came of it. Times in milliseconds; errors are absolute differences from the truth.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    /// Who took the stamps.
    pub(crate) stamp: &'static str,
    /// Requests made.
    pub(crate) requests: u32,
    /// Of these, compared with the truth; the others failed.
    pub(crate) compared: usize,
    /// Tokens received.
    pub(crate) tokens: u64,
    /// Error of the time to the first token.
    pub(crate) ttft_error_ms: Spread,
    /// Error of the mean time between tokens of a request.
    pub(crate) tbt_error_ms: Option<Spread>,
    /// Error of the time to the last token.
    pub(crate) e2e_error_ms: Spread,
    /// From when a request was due to when it was sent.
    pub(crate) schedule_lag_ms: Spread,
    /// From the kernel's receive stamp to the client's read.
    pub(crate) client_delay_ms: Option<Spread>,
    /// By how much the simulator was late with the last token of an answer; `None` where it was to be as fast as it can.
    pub(crate) simulator_late_ms: Option<Spread>,
    /// Most requests in flight at one moment.
    pub(crate) peak_streams: u64,
    /// Received over the whole measurement.
    pub(crate) tokens_per_second: f64,
    /// Processor time of this process, and of the simulator, as shares of one core in percent; `None` as below.
    pub(crate) client_cpu_percent: Option<f64>,
    /// See above.
    pub(crate) simulator_cpu_percent: Option<f64>,
    /// Threads of the client.
    pub(crate) client_threads: usize,
    /// Processor time of this process; `None` when it was too little for the system's clock ticks to tell.
    pub(crate) cpu_ms_per_1000_tokens: Option<f64>,
    /// Largest resident memory of this process.
    pub(crate) peak_memory_mb: f64,
}

impl Measurement {
    /// The distributions by name.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (&'static str, Spread)> {
        [
            ("TTFT error", Some(self.ttft_error_ms)),
            ("TBT error", self.tbt_error_ms),
            ("E2E error", Some(self.e2e_error_ms)),
            ("schedule lag", Some(self.schedule_lag_ms)),
            ("client delay per chunk", self.client_delay_ms),
            ("simulator's lateness", self.simulator_late_ms),
        ]
        .into_iter()
        .filter_map(|(name, spread)| Some((name, spread?)))
    }

    /// That every request could be compared: an error that leaves out those that failed would be too small.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.compared == self.requests as usize {
            return Ok(());
        }
        let message = format!(
            "INVALID: only {} of {} answers of the simulator could be compared with its truth",
            self.compared, self.requests
        );
        Err(Failure::new(Exit::Invalid, message).with_hint("lower the load, or give the simulator more threads"))
    }

    /// As the header of a run's journal keeps it.
    pub(crate) fn calibration(&self, load: &Load) -> Calibration {
        let spread = |Spread { p50, p99, max, .. }: Spread| ErrorSpread { p50, p99, max };
        Calibration {
            // Of an arrival process it is not known before.
            streams: if load.capped { load.streams } else { u32::try_from(self.peak_streams).unwrap_or(u32::MAX) },
            arrival: load.arrival.clone(),
            itl_ms: load.itl.as_secs_f64() * 1e3,
            ttft_error_ms: spread(self.ttft_error_ms),
            // One token has nothing between.
            tbt_error_ms: spread(self.tbt_error_ms.unwrap_or(self.ttft_error_ms)),
        }
    }
}

/// What the client does besides reading, as in the run that is calibrated for.
#[derive(Clone, Default)]
pub(crate) struct ClientOptions {
    /// Counts the tokens of answers.
    pub(crate) tokenizer: Option<CountTokens>,
    /// Tokenizer whose words the simulator answers with; `None` for its own.
    pub(crate) simulated: Option<String>,
    /// Retries of failed requests.
    pub(crate) retries: u32,
}

/// Counts the tokens of a text.
pub(crate) fn counter(tokenizer: Tokenizer) -> CountTokens {
    // Text that cannot be encoded has no tokens to be counted; usage and chunks are still there.
    Arc::new(move |text| tokenizer.encode(text, false).map_or(0, |ids| u32::try_from(ids.len()).unwrap_or(u32::MAX)))
}

/// Measures a simulated server under a load. Nothing is left of it, not even when a signal ends the program.
pub(crate) fn measure(load: &Load, client: &ClientOptions, interrupt: &Interrupt) -> Result<Measurement, Failure> {
    let clock = Clock::start();
    let simulator = SimulatorProcess::start(load, client.simulated.as_deref())?;
    let of_simulator = || process_cpu_seconds_of(simulator.pid());
    let connections = (load.streams as usize).min(load.requests as usize);
    let ids = RequestIds::draw();
    let options = HttpOptions {
        fields: RequestFields { ignore_eos: true, ..RequestFields::default() },
        request_ids: ids.clone(),
        stamp: load.stamp,
        priority: load.priority,
        client_threads: load.client_threads,
        tokenizer: client.tokenizer.clone(),
        retries: client.retries,
        connections,
        ..HttpOptions::new(simulator.target()?, "/v1/completions", "simulated", simulated())
    };
    let backend = HttpBackend::start(options, None, clock)?;
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::new(Exit::Input, format!("cannot make a temporary folder: {error}")))?;
    let doomed = folder.path().to_owned();
    interrupt.before_exit(move || drop(fs::remove_dir_all(&doomed)));
    let journal = folder.path().join("calibration.records.jsonl");
    let stop = AtomicBool::new(false);
    let run = RunOptions {
        journal: &journal,
        timeout: REQUEST_TIMEOUT,
        warmup_max: Duration::ZERO,
        drain: Duration::ZERO,
        max_error_rate: 0.0,
        calibration: None,
        stop: &stop,
        hurry: &stop,
    };
    let threads = backend.info().settings.get("client_threads").and_then(|threads| threads.parse().ok()).unwrap_or(1);
    let mut watch = Cost::new(&of_simulator, threads, clock);
    let done = execute(plan(load), &backend, &run, &mut watch, &mut Silent)?;
    if let Some(gone) = done.gone {
        return Err(gone);
    }
    let (records, close) = read(&journal)?;
    let stamp = match records.first().map(|record| record.stamp) {
        Some(Stamp::Kernel) => "kernel",
        _ => "program",
    };
    let truths = simulator.truth(load.requests)?;
    compare(load, stamp, &records, &close, &watch, |id| truths.get(&ids.of(id)))
}

fn compare<'t>(
    load: &Load,
    stamp: &'static str,
    records: &[Record],
    close: &Close,
    watch: &Cost<'_>,
    truth_of: impl Fn(u64) -> Option<&'t Truth>,
) -> Result<Measurement, Failure> {
    let (mut ttft, mut tbt, mut e2e, mut lag, mut delay, mut late) = (vec![], vec![], vec![], vec![], vec![], vec![]);
    let mut spans = Spans::default();
    let difference = |later: u64, earlier: u64| later as f64 - earlier as f64;
    for record in records.iter().filter(|record| record.outcome == OutcomeKind::Success) {
        let Some(truth) = truth_of(record.id) else { continue };
        let (Some(sent), Some(first), Some(last)) = (record.sent_ns, record.first_token_ns, record.last_token_ns)
        else {
            continue;
        };
        let (Some(first_write), Some(last_write)) = (truth.first_write_ns, truth.last_write_ns) else { continue };
        let true_ttft = difference(first_write, truth.arrival_ns);
        let true_e2e = difference(last_write, truth.arrival_ns);
        if !load.itl.is_zero() {
            late.push((true_e2e / 1e6 - load.answer_s() * 1e3).max(0.0));
        }
        spans.push(sent, record.end_ns);
        ttft.push((difference(first, sent) - true_ttft).abs() / 1e6);
        e2e.push((difference(last, sent) - true_e2e).abs() / 1e6);
        if truth.tokens > 1 {
            let gaps = f64::from(truth.tokens - 1);
            tbt.push((difference(last, first) - (true_e2e - true_ttft)).abs() / gaps / 1e6);
        }
        lag.push(difference(sent.max(record.scheduled_ns), record.scheduled_ns) / 1e6);
        delay.extend(record.chunks.iter().filter_map(|chunk| chunk.delay_ns).map(|ns| f64::from(ns) / 1e6));
    }
    let compared = ttft.len();
    let nothing = || Failure::new(Exit::Backend, "no answer of the simulator could be compared with its truth");
    let tokens: u64 = records.iter().map(|record| u64::from(record.output_tokens)).sum();
    let begun = records.iter().filter_map(|record| record.sent_ns).min().ok_or_else(nothing)?;
    let unread = |what: &Measured<f64>| {
        let why = what.reason.clone().unwrap_or_default();
        Failure::new(Exit::Bug, format!("processor time or memory of this process could not be read: {why}"))
    };
    let cpu = watch.cpu_seconds.value.ok_or_else(|| unread(&watch.cpu_seconds))?;
    let peak = close.memory.peak_bytes.clone().map(|bytes| bytes as f64 / f64::from(1 << 20));
    Ok(Measurement {
        stamp,
        requests: load.requests,
        compared,
        tokens,
        ttft_error_ms: Spread::of(ttft).ok_or_else(nothing)?,
        tbt_error_ms: Spread::of(tbt),
        e2e_error_ms: Spread::of(e2e).ok_or_else(nothing)?,
        schedule_lag_ms: Spread::of(lag).ok_or_else(nothing)?,
        client_delay_ms: Spread::of(delay),
        simulator_late_ms: Spread::of(late),
        peak_streams: spans.concurrency().map_or(0, |it| it.peak),
        tokens_per_second: tokens as f64 / seconds(close.end_ns.saturating_sub(begun)).max(1e-9),
        client_cpu_percent: watch.percent(cpu),
        simulator_cpu_percent: watch.simulator_seconds.value.and_then(|used| watch.percent(used)),
        client_threads: watch.client_threads,
        cpu_ms_per_1000_tokens: (cpu >= LEAST_CPU && tokens > 0).then(|| cpu * 1e6 / tokens as f64),
        peak_memory_mb: peak.value.ok_or_else(|| unread(&peak))?,
    })
}

fn plan(load: &Load) -> Plan {
    let arrival = load.arrival.clone();
    let offsets = sagellm_plan::Offsets::new(&arrival, u64::from(load.requests), 0);
    let requests = (0..u64::from(load.requests)).zip(offsets).map(|(id, offset_ns)| Request {
        id,
        offset_ns,
        session: None,
        prompt: Prompt::text("How far from the truth?"),
        max_tokens: load.tokens,
        sampling: Sampling::default(),
        ignore_eos: true,
        keep_answer: false,
    });
    let workload = Workload {
        name: "calibration".into(),
        mode: Mode::Traffic,
        source: Source::Text { input_tokens: 0, output_tokens: load.tokens, shared_prefix_tokens: 0 },
        num_prompts: load.requests,
        duration_s: None,
        max_concurrency: load.capped.then_some(load.streams),
        arrival,
        num_warmups: Some(0),
        seed: 0,
        goodput: None,
    };
    Plan::of(workload, requests.collect())
}

fn simulated() -> BackendInfo {
    BackendInfo {
        name: "simulated".into(),
        version: None,
        model: ModelInfo {
            name: "simulated".into(),
            path: None,
            architecture: None,
            parameters: None,
            dtype: None,
            context_length: None,
            synthetic: true,
            fingerprint: None,
        },
        stamp: Stamp::User,
        settings: Default::default(),
    }
}

/// What measuring costs this process, and what the simulator does for it.
struct Cost<'a> {
    monitor: Monitor,
    clock: Clock,
    of_simulator: &'a dyn Fn() -> Measured<f64>,
    client_threads: usize,
    begun: Nanos,
    /// Processor seconds of this process and of the simulator.
    before: (Measured<f64>, Measured<f64>),
    window_s: f64,
    cpu_seconds: Measured<f64>,
    simulator_seconds: Measured<f64>,
}

impl<'a> Cost<'a> {
    fn new(of_simulator: &'a dyn Fn() -> Measured<f64>, client_threads: usize, clock: Clock) -> Self {
        let unread = || Measured::unknown("not read");
        Self {
            monitor: Monitor::new(clock),
            clock,
            of_simulator,
            client_threads,
            begun: 0,
            before: (unread(), unread()),
            window_s: 0.0,
            cpu_seconds: unread(),
            simulator_seconds: unread(),
        }
    }

    /// Processor seconds as a share of one core.
    fn percent(&self, cpu: f64) -> Option<f64> {
        (cpu >= LEAST_CPU && self.window_s > 0.0).then(|| cpu / self.window_s * 100.0)
    }
}

impl Watch for Cost<'_> {
    fn begin(&mut self) {
        self.monitor.begin();
        self.before = (process_cpu_seconds(), (self.of_simulator)());
        self.begun = self.clock.now();
    }

    fn end(&mut self) -> Observed {
        let used = |before: &Measured<f64>, after: Measured<f64>| match before.value {
            Some(before) => after.map(|after| after - before),
            None => before.clone(),
        };
        self.window_s = seconds(self.clock.now() - self.begun);
        self.cpu_seconds = used(&self.before.0, process_cpu_seconds());
        self.simulator_seconds = used(&self.before.1, (self.of_simulator)());
        let seen = self.monitor.end();
        Observed {
            memory: seen.memory,
            client_cpu_percent: seen.client_cpu_percent,
            server_cpu_percent: seen.server_cpu_percent,
            host: seen.host,
        }
    }
}

fn read(journal: &Path) -> Result<(Vec<Record>, Close), Failure> {
    let failed = |why: String| Failure::new(Exit::Bug, format!("cannot read the calibration's own records: {why}"));
    let file = File::open(journal).map_err(|error| failed(error.to_string()))?;
    let (mut records, mut close) = (Vec::new(), None);
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| failed(error.to_string()))?;
        match serde_json::from_str(&line).map_err(|error| failed(error.to_string()))? {
            Line::Header(_) => {}
            Line::Request(record) => records.push(record),
            Line::Close(end) => close = Some(end),
        }
    }
    let close = close.ok_or_else(|| failed("the last line is missing".into()))?;
    Ok((records, close))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of a client and a simulator that have nothing to do.
    pub(crate) fn measurement() -> Measurement {
        let small = Spread { mean: 0.01, p50: 0.01, p99: 0.02, max: 0.03 };
        Measurement {
            stamp: "kernel",
            requests: 8,
            compared: 8,
            tokens: 88,
            ttft_error_ms: small,
            tbt_error_ms: Some(small),
            e2e_error_ms: small,
            schedule_lag_ms: small,
            client_delay_ms: Some(small),
            simulator_late_ms: Some(small),
            peak_streams: 4,
            tokens_per_second: 100.0,
            client_cpu_percent: None,
            simulator_cpu_percent: None,
            client_threads: 1,
            cpu_ms_per_1000_tokens: None,
            peak_memory_mb: 10.0,
        }
    }

    #[test]
    fn a_calibration_that_lost_answers_is_invalid() {
        measurement().check().unwrap();
        let failure = Measurement { compared: 7, ..measurement() }.check().unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert_eq!(failure.message, "INVALID: only 7 of 8 answers of the simulator could be compared with its truth");
    }
}
