//! A backend that does what a script says, one thread per request, and what a test needs to read the outcome.

#![expect(clippy::unwrap_used, reason = "only tests use it")]

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sagellm_core::journal::{Close, Header, HostWindow, Line, Memory, Warmup};
use sagellm_core::{
    Answer, Arrival, Backend, BackendInfo, BackendStats, Clock, End, Event, EventKind, EventSink, Exit, Failure,
    FinishReason, Measured, Mode, ModelInfo, OutcomeKind, OutputText, Piece, Plan, Prepared, Prompt, Record, Request,
    SCHEMA_VERSION, Sampling, Source, Stamp, TokenSource, WallTime, Workload,
};
use sagellm_run::{Journal, Observed, Observer, RunError, RunOptions, Watch, WorkloadRun, execute};

/// What runs at the end of a duration may go on for this long.
pub(crate) const DRAIN: Duration = Duration::from_millis(300);

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// A token every so often, `max_tokens` of them.
    Answer(Duration),
    /// An end at once, with this outcome.
    Fail(OutcomeKind),
    /// `Sent` and then nothing until it is cancelled.
    Hang,
    /// `Sent` and then nothing, and a cancellation is not heard.
    Deaf,
    /// `Sent`, and then the sink is dropped.
    LetGo,
    /// `submit` answers that the backend is gone.
    Gone,
    /// `submit` answers that a thread of this program has failed.
    Fault,
}

/// The scripted backend.
pub(crate) struct Scripted {
    clock: Clock,
    script: Box<dyn Fn(&Request) -> Script + Send + Sync>,
    cancelled: Arc<Mutex<HashSet<u64>>>,
    pub(crate) submitted: Mutex<Vec<u64>>,
    /// The prompts, in the same order.
    pub(crate) asked: Mutex<Vec<String>>,
    /// How long before it is due it takes a request.
    pub(crate) lead: u64,
    /// Whether the load makes it faster.
    pub(crate) learns: bool,
    /// When requests were handed over, and when they were to be begun.
    pub(crate) handed_over: Mutex<Vec<(u64, u64)>>,
    /// How long it takes to finish a record.
    pub(crate) counting: Duration,
    pub(crate) windows: AtomicUsize,
    running: Arc<AtomicUsize>,
    pub(crate) most_running: AtomicUsize,
}

impl Scripted {
    pub(crate) fn new(script: impl Fn(&Request) -> Script + Send + Sync + 'static) -> Self {
        Self {
            clock: Clock::start(),
            script: Box::new(script),
            cancelled: Arc::default(),
            submitted: Mutex::default(),
            asked: Mutex::default(),
            lead: 0,
            learns: true,
            handed_over: Mutex::default(),
            counting: Duration::ZERO,
            windows: AtomicUsize::new(0),
            running: Arc::default(),
            most_running: AtomicUsize::new(0),
        }
    }

    /// Ids that were submitted, in that order.
    pub(crate) fn order(&self) -> Vec<u64> {
        self.submitted.lock().unwrap().clone()
    }

    /// Ids that were cancelled, ascending.
    pub(crate) fn cancelled(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.cancelled.lock().unwrap().iter().copied().collect();
        ids.sort_unstable();
        ids
    }
}

impl Backend for Scripted {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            name: "scripted".into(),
            version: None,
            model: ModelInfo {
                name: "none".into(),
                path: None,
                architecture: None,
                parameters: None,
                dtype: None,
                context_length: None,
                synthetic: true,
                fingerprint: None,
            },
            stamp: Stamp::Engine,
            settings: BTreeMap::new(),
        }
    }

    fn submit(&self, request: Prepared, sink: &EventSink) -> Result<(), Failure> {
        let script = (self.script)(&request);
        if matches!(script, Script::Gone) {
            return Err(Failure::new(Exit::Backend, "the engine stopped"));
        }
        if matches!(script, Script::Fault) {
            return Err(Failure::new(Exit::Bug, "a thread has failed"));
        }
        self.submitted.lock().unwrap().push(request.id);
        self.asked.lock().unwrap().push(request.prompt.text.clone());
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        let tell = Teller { clock: self.clock, id: request.id, sink: sink.clone() };
        let (cancelled, running) = (Arc::clone(&self.cancelled), Arc::clone(&self.running));
        std::thread::spawn(move || {
            tell.event(EventKind::Sent);
            let is_cancelled = || cancelled.lock().unwrap().contains(&request.id);
            let mut made = 0;
            let outcome = match script {
                Script::Answer(gap) => {
                    while made < request.max_tokens && !is_cancelled() {
                        std::thread::sleep(gap);
                        made += 1;
                        tell.event(EventKind::Chunk(Piece { tokens: 1, ..Piece::default() }));
                    }
                    if made == request.max_tokens { OutcomeKind::Success } else { OutcomeKind::Censored }
                }
                Script::Fail(outcome) => outcome,
                Script::Hang => {
                    while !is_cancelled() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    OutcomeKind::Censored
                }
                Script::Deaf => {
                    std::thread::sleep(Duration::from_secs(30));
                    return;
                }
                Script::LetGo => return,
                Script::Gone | Script::Fault => unreachable!("answered above"),
            };
            running.fetch_sub(1, Ordering::SeqCst);
            let end = End {
                reason: (outcome != OutcomeKind::Success).then(|| "as scripted".into()),
                finish_reason: (outcome == OutcomeKind::Success).then_some(FinishReason::Length),
                answer: request
                    .keep_answer
                    .then(|| Answer { text: Some(format!(" {}!", request.id)), token_ids: None }),
                output_text: Some(OutputText { choices: vec!["text".into()] }),
                ..End::new(outcome, made, TokenSource::Engine)
            };
            tell.event(EventKind::End(Box::new(end)));
        });
        Ok(())
    }

    fn complete(&self, record: &mut Record, _: OutputText) {
        std::thread::sleep(self.counting);
        record.output_digest = Some("counted".into());
    }

    fn learns_from_load(&self) -> bool {
        self.learns
    }

    fn lead(&self) -> u64 {
        self.lead
    }

    fn submit_at(&self, request: Prepared, due: u64, sink: &EventSink) -> Result<(), Failure> {
        self.handed_over.lock().unwrap().push((self.clock.now(), due));
        self.submit(request, sink)
    }

    fn cancel(&self, request: u64) {
        self.cancelled.lock().unwrap().insert(request);
    }

    fn begin_window(&self) {
        self.windows.fetch_add(1, Ordering::SeqCst);
    }

    fn window(&self) -> BackendStats {
        BackendStats::unknown("scripted")
    }

    fn clock(&self) -> Clock {
        self.clock
    }
}

struct Teller {
    clock: Clock,
    id: u64,
    sink: EventSink,
}

impl Teller {
    fn event(&self, kind: EventKind) {
        // The receiver may be gone: the test is over.
        self.sink.send(Event { request: self.id, at: self.clock.now(), kind });
    }
}

/// A plan that can be looked at.
pub(crate) struct TestPlan {
    pub(crate) workload: Workload,
    pub(crate) requests: Vec<Request>,
    pub(crate) warmup_max: Duration,
    pub(crate) drain: Duration,
    /// Whether an interruption cuts off at once what runs.
    pub(crate) hurried: bool,
}

impl TestPlan {
    fn plan(&self) -> Plan {
        let (requests, mut made) = (self.requests.clone(), 0);
        let warmups = move |place: u64| {
            let id = requests.len() as u64 + made;
            made += 1;
            Ok(requests.get(usize::try_from(place).unwrap()).map(|like| Request { id, ..like.clone() }))
        };
        Plan { warmups: Box::new(warmups), ..Plan::of(self.workload.clone(), self.requests.clone()) }
    }
}

/// A plan of requests due at `offsets`, in milliseconds, with `warmups` before them and 3 output tokens each.
pub(crate) fn plan(offsets: &[u64], warmups: u32, max_concurrency: Option<u32>) -> TestPlan {
    let request = |id: u64, offset_ms: u64| Request {
        id,
        offset_ns: offset_ms * 1_000_000,
        session: None,
        prompt: Prompt::tokenized(format!("request {id}"), vec![1, 2]),
        max_tokens: 3,
        sampling: Sampling::default(),
        ignore_eos: true,
        keep_answer: false,
    };
    let count = offsets.len() as u64;
    let immediate = offsets.iter().all(|offset| *offset == 0);
    TestPlan {
        workload: Workload {
            name: "test".into(),
            mode: Mode::Traffic,
            source: Source::Text { input_tokens: 2, output_tokens: 3, shared_prefix_tokens: 0 },
            num_prompts: u32::try_from(count).unwrap(),
            duration_s: None,
            max_concurrency,
            arrival: if immediate { Arrival::Immediate } else { Arrival::Poisson { rate: 1.0 } },
            num_warmups: Some(warmups),
            seed: 0,
            goodput: None,
        },
        requests: (0..).zip(offsets).map(|(id, offset)| request(id, *offset)).collect(),
        warmup_max: Duration::from_secs(30),
        drain: DRAIN,
        hurried: false,
    }
}

/// Everything that a run left behind.
pub(crate) struct Outcome {
    pub(crate) run: WorkloadRun,
    pub(crate) header: Header,
    /// Warm-ups and measured requests, in the order of the journal.
    pub(crate) records: Vec<Record>,
    pub(crate) close: Close,
    pub(crate) log: Log,
    pub(crate) took: Duration,
}

impl Outcome {
    pub(crate) fn measured(&self) -> Vec<&Record> {
        let mut records: Vec<&Record> = self.records.iter().filter(|record| !record.warmup).collect();
        records.sort_by_key(|record| record.id);
        records
    }

    pub(crate) fn outcomes(&self) -> Vec<OutcomeKind> {
        self.measured().iter().map(|record| record.outcome).collect()
    }
}

/// Counts what an observer is told.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) begun: usize,
    pub(crate) started: usize,
    pub(crate) events: Vec<(u64, bool)>,
    pub(crate) ended: Vec<u64>,
    pub(crate) closed: usize,
}

impl Observer for Log {
    fn on_begin(&mut self, _workload: &Workload) {
        self.begun += 1;
    }
    fn on_start(&mut self, _warmup: &Warmup) {
        self.started += 1;
    }
    fn on_event(&mut self, event: &Event, warmup: bool) {
        self.events.push((event.request, warmup));
    }
    fn on_request_end(&mut self, record: &Record) {
        self.ended.push(record.id);
    }
    fn on_end(&mut self, _close: &Close) {
        self.closed += 1;
    }
}

struct Unwatched;

impl Watch for Unwatched {
    fn begin(&mut self) {}
    fn end(&mut self) -> Observed {
        Observed {
            memory: Memory {
                kind: "none".into(),
                samples: 0,
                baseline_bytes: Measured::unknown("not watched"),
                peak_bytes: Measured::unknown("not watched"),
                avg_bytes: Measured::unknown("not watched"),
            },
            client_cpu_percent: Measured::unknown("not watched"),
            server_cpu_percent: Measured::unknown("not watched"),
            host: HostWindow::unknown("not watched"),
        }
    }
}

/// Runs a plan, stopping it after `stop_after` if given, and reads the journal back.
pub(crate) fn run(plan: &TestPlan, backend: &Scripted, timeout: Duration, stop_after: Option<Duration>) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = Journal::path(folder.path(), &plan.workload.name);
    let stop = Arc::new(AtomicBool::new(false));
    if let Some(after) = stop_after {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            std::thread::sleep(after);
            stop.store(true, Ordering::SeqCst);
        });
    }
    let mut log = Log::default();
    let begun = backend.clock.now();
    let run = execute_into(plan, backend, &path, timeout, &stop, &mut log).unwrap();
    let took = Duration::from_nanos(backend.clock.now() - begun);
    assert_eq!(run.journal, path);

    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.ends_with('\n'), "the last line is whole");
    let mut lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let Line::Header(header) = lines.remove(0) else { panic!("the header comes first") };
    let Some(Line::Close(close)) = lines.pop() else { panic!("the closing line comes last") };
    let records: Vec<Record> = lines
        .into_iter()
        .map(|line| match line {
            Line::Request(record) => record,
            other => panic!("only requests stand between header and close, not {other:?}"),
        })
        .collect();

    // True of every run, whatever happened in it.
    assert_eq!(header.schema_version, SCHEMA_VERSION);
    assert_eq!(header.workload, plan.workload);
    assert_ne!(header.clock_started, WallTime { unix_ns: 0 });
    let warmup = header.warmup.as_ref().unwrap();
    assert!(plan.workload.num_warmups.is_none_or(|warmups| warmup.requests == u64::from(warmups)));
    let count = plan.requests.len() as u64;
    let mut wanted: Vec<u64> = plan.requests.iter().map(|request| request.id).collect();
    wanted.extend(count..count + warmup.requests);
    let mut kept: Vec<u64> = records.iter().map(|record| record.id).collect();
    assert_eq!(kept, log.ended, "the observer is told of what the journal holds");
    wanted.sort_unstable();
    kept.sort_unstable();
    if close.unsent == 0 {
        assert_eq!(kept, wanted, "every request has one record");
    } else {
        assert_eq!(kept.len() as u64 + close.unsent, wanted.len() as u64, "every request has a record or is counted");
    }
    let measured = records.iter().filter(|record| !record.warmup).count();
    assert_eq!(run.outcomes.values().sum::<u64>(), measured as u64);
    assert_eq!((log.begun, log.started, log.closed), (1, 1, 1));
    assert_eq!(run.interrupted, close.interrupted);
    assert_eq!(backend.windows.load(Ordering::SeqCst), 1);
    Outcome { run, header, records, close, log, took }
}

/// Runs a plan into a given journal.
pub(crate) fn execute_into(
    plan: &TestPlan,
    backend: &Scripted,
    journal: &std::path::Path,
    timeout: Duration,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<WorkloadRun, RunError> {
    let journal: PathBuf = journal.into();
    let options = RunOptions {
        journal: &journal,
        timeout,
        warmup_max: plan.warmup_max,
        drain: plan.drain,
        max_error_rate: 0.05,
        calibration: None,
        stop,
        hurry: &AtomicBool::new(plan.hurried),
    };
    execute(plan.plan(), backend, &options, &mut Unwatched, observer)
}
