//! A server behind HTTP, as something that can be measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};
use sagellm_core::{
    Backend, BackendInfo, BackendStats, Clock, EventSink, Exit, Failure, Nanos, OutputText, Prepared, Record, Stamp,
};
use sagellm_sys::Priority;

use crate::answer::Reading;
use crate::flight::Flight;
use crate::limits;
use crate::request::RequestWriter;
use crate::shard::{Command, Common, LEAD, Reach, Shard, Stock, Timeouts, WAKE};
use crate::socket::{StampKeeper, try_stamps};
use crate::target::check_proxy;
use crate::tls::TlsMaker;
use crate::transport::Route;
use crate::{CountTokens, EndpointType, HttpError, HttpOptions, StampChoice, Target, counting};

/// What the server itself tells of a window, such as its `/metrics`.
pub trait StatsSource: Send + Sync {
    /// A window begins.
    fn begin(&self);
    /// What it held so far.
    fn window(&self) -> BackendStats;
}

/// A server that answers requests over HTTP.
pub struct HttpBackend {
    info: BackendInfo,
    clock: Clock,
    stats: Option<Box<dyn StatsSource>>,
    tokenizer: Option<CountTokens>,
    shards: Vec<Handle>,
    _keeper: Option<StampKeeper>,
}

/// A thread of the client, from outside.
struct Handle {
    commands: Sender<Command>,
    waker: Waker,
    woken: Arc<AtomicBool>,
    in_flight: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
    /// What the thread runs at; `None` where the system refused what was asked for.
    priority: Option<Priority>,
}

impl HttpBackend {
    /// Resolves the server's name, starts the client's threads and opens the connections that are wanted in advance.
    /// Events are stamped on `clock`.
    ///
    /// # Errors
    /// When a setting or certificate cannot be used, more connections are wanted than files can be opened, or a
    /// connection cannot be made.
    pub fn start(options: HttpOptions, stats: Option<Box<dyn StatsSource>>, clock: Clock) -> Result<Self, HttpError> {
        let room = limits::make_room_for(options.connections.max(options.most_connections))?;
        let target = &options.target;
        let next_hop = options.proxy.as_ref().unwrap_or(target);
        check_proxy(options.proxy.as_ref())?;
        let keeper = match options.stamp {
            StampChoice::Kernel => try_stamps(),
            StampChoice::User => None,
        };
        let common = Arc::new(Common {
            route: Route {
                addresses: next_hop.resolve()?,
                tunnel: options.proxy.is_some().then(|| target.authority()),
                tls: target.https.then(|| TlsMaker::new(&options.tls, &target.host)).transpose()?,
                stamping: keeper.is_some(),
                clock,
            },
            reading: Reading {
                model: options.model.clone(),
                max_line: options.max_line,
                stream_text: options.stream_text,
                finish_reason: options.finish_reason,
                secrets: options.api_key.iter().chain(&options.secrets).cloned().collect(),
            },
            retries: options.retries,
            timeouts: Timeouts {
                whole: options.timeout,
                connect: options.timeout_connect,
                first_token: options.timeout_first_token,
                between: options.timeout_between,
            },
            name: match &options.proxy {
                Some(proxy) => format!("{target} through {proxy}"),
                None => target.to_string(),
            },
        });
        let threads = match options.client_threads {
            0 => default_threads(),
            given => given,
        };
        let (opener, opened) = channel();
        let mut shards = Vec::new();
        for number in 0..threads {
            let writer = RequestWriter::new(&options)?;
            let share = |all: usize| (all + threads - 1 - number) / threads;
            let stock =
                Stock { ahead: share(options.connections), reserve: share(options.reserve), room: room / threads };
            shards.push(Handle::start(number, Arc::clone(&common), writer, stock, opener.clone(), options.priority)?);
        }
        drop(opener);
        let priority = granted(&shards, options.priority)?;
        let mut info = describe(&options, threads, keeper.is_some())?;
        info.settings.insert("client_priority".into(), priority.name().into());
        let backend = Self { info, clock, stats, tokenizer: options.tokenizer, shards, _keeper: keeper };
        for done in 0..options.connections {
            // Every address may take as long as one connection, and the threads take their turn.
            let addresses = u32::try_from(common.route.addresses.len()).unwrap_or(1);
            let limit = options.timeout_connect * addresses + Duration::from_secs(5);
            let outcome =
                opened.recv_timeout(limit).unwrap_or_else(|_| Err("the client's threads do not answer".into()));
            outcome.map_err(|why| HttpError::Connect {
                target: common.name.clone(),
                why: match options.connections {
                    1 => why,
                    wanted => format!("{why} (after {done} of {wanted} connections)"),
                },
            })?;
        }
        Ok(backend)
    }
}

/// One thread serves thousands of streams, so half of the processors are left to whatever else runs here.
fn default_threads() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, 4)
}

/// Enters what the client does into what is known of the server.
fn describe(options: &HttpOptions, threads: usize, stamping: bool) -> Result<BackendInfo, HttpError> {
    let mut info = options.info.clone();
    info.stamp = if stamping { Stamp::Kernel } else { Stamp::User };
    let mut set = |name: &str, value: String| info.settings.insert(name.into(), value);
    set("url", options.target.shown(&options.path));
    let endpoint = match options.endpoint_type {
        EndpointType::Completions => "completions",
        EndpointType::Chat => "chat",
    };
    set("endpoint_type", endpoint.into());
    set("client_threads", threads.to_string());
    set("connections", options.connections.to_string());
    set("request_ids", format!("{}<number of the request, hexadecimal>", options.request_ids.prefix()));
    if !options.examples.is_empty() {
        set("request_fields", RequestWriter::new(options)?.field_names(&options.examples));
    }
    if options.stamp == StampChoice::Kernel && !stamping {
        set("stamp", "user, since this system's kernel does not stamp what it receives".into());
    }
    if options.retries > 0 {
        set("retries", options.retries.to_string());
    }
    if options.target.https {
        let verified = if options.tls.insecure { "off" } else { "on" };
        set("tls_verification", verified.into());
    }
    if let Some(proxy) = &options.proxy {
        set("proxy", Target::to_string(proxy));
    }
    Ok(info)
}

/// Raises the priority of the calling thread: what it runs at then, `None` where what was asked for is refused.
fn raise(priority: Option<Priority>) -> Option<Priority> {
    match priority {
        Some(asked) => asked.apply_to_this_thread().then_some(asked),
        None => best_permitted().into_iter().find(|choice| choice.apply_to_this_thread()),
    }
}

/// What threads that read run at by default, the first that the system permits: bytes that wait share one stamp. On a single
/// processor a thread that never yields would keep the rest from running.
fn best_permitted() -> Vec<Priority> {
    let several = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    let real_time = several.then_some(Priority::RealTime);
    real_time.into_iter().chain([Priority::High, Priority::Normal]).collect()
}

/// What all threads run at.
fn granted(shards: &[Handle], asked: Option<Priority>) -> Result<Priority, HttpError> {
    let refused = || {
        let name = asked.unwrap_or(Priority::Normal).name();
        HttpError::Setting(format!(
            "the system does not permit the priority `{name}`: run with CAP_SYS_NICE, raise the limit (`ulimit -e` or \
             `ulimit -r`), or leave `--priority` out"
        ))
    };
    shards
        .iter()
        .map(|shard| shard.priority)
        .collect::<Option<Vec<_>>>()
        .and_then(|all| all.first().copied())
        .ok_or_else(refused)
}

impl Handle {
    fn start(
        number: usize,
        common: Arc<Common>,
        writer: RequestWriter,
        stock: Stock,
        opener: Sender<Result<(), String>>,
        priority: Option<Priority>,
    ) -> Result<Self, HttpError> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let (commands, receiver) = channel();
        let woken = Arc::new(AtomicBool::new(false));
        let in_flight = Arc::new(AtomicUsize::new(0));
        let reach = Reach { commands: receiver, woken: Arc::clone(&woken), in_flight: Arc::clone(&in_flight) };
        let shard = Shard::new(common, writer, poll, reach)?;
        let (report, granted) = channel();
        let work = move || {
            let _ = report.send(raise(priority));
            shard.run(stock, opener);
        };
        let thread = std::thread::Builder::new().name(format!("http-{number}")).spawn(work)?;
        let priority = granted.recv().ok().flatten();
        Ok(Self { commands, waker, woken, in_flight, thread: Some(thread), priority })
    }

    fn send(&self, command: Command) -> Result<(), Failure> {
        let gone = || Failure::new(Exit::Bug, "a thread of the HTTP client has stopped");
        self.commands.send(command).map_err(|_| gone())?;
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.waker.wake().map_err(|_| gone())?;
            if let Some(thread) = &self.thread {
                thread.thread().unpark();
            }
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A fault of the thread showed when its channel closed.
            let _ = thread.join();
        }
    }
}

impl Backend for HttpBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn submit(&self, request: Prepared, sink: &EventSink) -> Result<(), Failure> {
        self.submit_at(request, 0, sink)
    }

    fn lead(&self) -> Nanos {
        LEAD
    }

    fn submit_at(&self, request: Prepared, due: Nanos, sink: &EventSink) -> Result<(), Failure> {
        let least = self.shards.iter().min_by_key(|shard| shard.in_flight.load(Ordering::Relaxed));
        let shard = least.ok_or_else(|| Failure::new(Exit::Bug, "the HTTP client has no threads"))?;
        shard.in_flight.fetch_add(1, Ordering::Relaxed);
        shard.send(Command::Submit { flight: Flight::new(request, sink.clone(), self.clock), due })
    }

    fn complete(&self, record: &mut Record, text: OutputText) {
        counting::complete(record, &text, self.tokenizer.as_ref());
    }

    fn cancel(&self, request: u64) {
        for shard in &self.shards {
            // A thread that has stopped has no requests.
            let _ = shard.send(Command::Cancel(request));
        }
    }

    fn begin_window(&self) {
        if let Some(stats) = &self.stats {
            stats.begin();
        }
    }

    fn window(&self) -> BackendStats {
        match &self.stats {
            Some(stats) => stats.window(),
            None => BackendStats::unknown("the server's metrics are not read"),
        }
    }

    fn clock(&self) -> Clock {
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use sagellm_core::{EventKind, OutcomeKind, Prompt, Request, Sampling, event_channel};

    use super::*;

    #[test]
    fn requests_that_a_thread_had_not_taken_when_it_failed_end_as_faults_of_the_client() {
        let poll = Poll::new().unwrap();
        let (commands, receiver) = channel();
        let (fail, failing) = channel::<()>();
        // It ends as by a panic: what it had is dropped.
        let thread = std::thread::spawn(move || {
            let _queue: Receiver<Command> = receiver;
            let _ = failing.recv();
        });
        let handle = Handle {
            commands,
            waker: Waker::new(poll.registry(), WAKE).unwrap(),
            woken: Arc::default(),
            in_flight: Arc::default(),
            thread: Some(thread),
            priority: None,
        };
        let (sink, mut events) = event_channel();
        let request = |id| {
            let prompt = Prompt::text("Hello");
            let sampling = Sampling::default();
            let request = Request {
                id,
                offset_ns: 0,
                session: None,
                prompt,
                max_tokens: 1,
                sampling,
                ignore_eos: false,
                keep_answer: false,
            };
            Command::Submit { flight: Flight::new(Arc::new(request), sink.clone(), Clock::start()), due: 0 }
        };
        handle.send(request(1)).unwrap();
        handle.send(request(2)).unwrap();
        assert!(events.try_next().is_none(), "they wait in the queue");
        drop(fail);
        for id in [1, 2] {
            let event = events.next().unwrap();
            let EventKind::End(end) = event.kind else { panic!("{event:?}") };
            assert_eq!((event.request, end.outcome), (id, OutcomeKind::ClientFault));
        }
        assert_eq!(handle.send(request(3)).unwrap_err().exit, Exit::Bug, "the thread is gone");
    }
}
