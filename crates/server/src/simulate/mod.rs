//! A server that answers thousands of streams with exact timing and knows what it truly did.
//!
//! Each thread owns an event loop, a share of the connections, and a heap of due times. A token is due at a time counted
//! from the kernel's receive stamp of its request, so the server's own delay on the way in does not count. Tokens that are
//! due together leave by one write.

mod alarm;
mod ask;
mod cold;
mod connection;
mod generation;
mod pages;
mod queue;
mod shard;
mod truth;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sagellm_core::Clock;
use sagellm_model::Tokenizer;

pub use truth::Truth;

use crate::ServerError;
use crate::limits::{ConnectionLimits, Quota};
use crate::running::Running;
use crate::socket;
use cold::Cold;
pub use cold::ColdOptions;
use queue::Queue;
pub use queue::QueueOptions;
use shard::{Hand, Shard};
use truth::{Lateness, Log};

/// Settings of a simulated server.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// From the arrival of a request to its first token.
    pub ttft: Duration,
    /// From each token to the next; zero for as fast as they can be written.
    pub itl: Duration,
    /// Each token is early or late by up to this much, drawn evenly, apart from the others.
    pub jitter: Duration,
    /// Tokens of each answer; `None` for as many as the request asks.
    pub tokens: Option<u32>,
    /// The model that `/v1/models` names. Requests may name any.
    pub model: String,
    /// Counts the tokens of prompts that are text, and decides on the text of every token.
    pub tokenizer: Tokenizer,
    /// Where the tokenizer was found, told by `/v1/models` so that clients can use the same one.
    pub root: String,
    /// Threads, each with its own connections.
    pub threads: usize,
    /// Seed of the jitter.
    pub seed: u64,
    /// A queue before the answers; `None` for as many at once as come.
    pub queue: Option<QueueOptions>,
    /// What is slow the first time; `None` for a server that is warm from the start.
    pub cold: Option<ColdOptions>,
    /// The key that clients have to send; anyone may ask if `None`.
    pub api_key: Option<String>,
    /// What clients may take up.
    pub limits: ConnectionLimits,
}

impl Default for SimulateOptions {
    fn default() -> Self {
        Self {
            ttft: Duration::from_millis(50),
            itl: Duration::from_millis(10),
            jitter: Duration::ZERO,
            tokens: None,
            model: "simulated".into(),
            tokenizer: Tokenizer::bytes(BYTE_TOKENS),
            root: SYNTHETIC.into(),
            threads: 1,
            seed: 0,
            queue: None,
            cold: None,
            api_key: None,
            limits: ConnectionLimits::default(),
        }
    }
}

/// Tokens of the tokenizer of [`SYNTHETIC`].
const BYTE_TOKENS: usize = 512;
/// The model whose tokenizer is the default.
const SYNTHETIC: &str = "synthetic:tiny";

/// A simulated server. It ends when dropped.
#[derive(Debug)]
pub struct Simulator {
    running: Running,
    shared: Arc<Shared>,
}

/// What all threads of a simulator know.
#[derive(Debug)]
pub(crate) struct Shared {
    options: SimulateOptions,
    /// The text of every token.
    text: &'static str,
    clock: Clock,
    truth: Log,
    lateness: Lateness,
    /// Requests so far.
    requests: AtomicU64,
    /// Of these, those that are being answered.
    running: AtomicU64,
    tokens: AtomicU64,
    queue: Option<Queue>,
    cold: Option<Cold>,
    connections: Quota,
    buffered: Quota,
}

impl Simulator {
    /// Starts to simulate on `address` (port 0 takes a free one).
    ///
    /// # Errors
    /// When it cannot listen there, or a setting is out of range.
    pub fn start(options: SimulateOptions, address: SocketAddr, clock: Clock) -> Result<Self, ServerError> {
        if options.threads == 0 {
            return Err(ServerError::Setting("a simulator needs at least one thread".into()));
        }
        let queue = options.queue.map(Queue::new).transpose()?;
        let (threads, limits) = (options.threads, options.limits);
        let listener = socket::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            text: generation::token_text(&options.tokenizer),
            cold: options.cold.map(Cold::new),
            options,
            clock,
            truth: Log::default(),
            lateness: Lateness::default(),
            requests: AtomicU64::new(0),
            running: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            queue,
            connections: Quota::new(limits.connections),
            buffered: Quota::new(limits.buffered),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let mut shards = Vec::with_capacity(threads);
        let mut hands: Vec<Hand> = Vec::with_capacity(threads);
        for _ in 0..threads {
            let (shard, hand) = Shard::new(Arc::clone(&shared), Arc::clone(&stop))?;
            shards.push(shard);
            hands.push(hand);
        }
        // The first thread takes connections in and deals them out.
        shards[0].accept_for(listener, hands)?;
        let threads = shards.into_iter().enumerate().map(|(number, mut shard)| {
            std::thread::Builder::new().name(format!("simulator-{number}")).spawn(move || shard.run())
        });
        Ok(Self { running: Running::new(address, stop, threads.collect::<Result<_, _>>()?), shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// What it truly did, in the order in which answers ended; the same as `/admin/truth` tells.
    pub fn truth(&self) -> Vec<Truth> {
        self.shared.truth.all()
    }

    /// How late tokens were written, as a share of all: those by no more than `limit`, which is rounded up to the next
    /// bound of the histogram in `/metrics`.
    pub fn share_within(&self, limit: Duration) -> f64 {
        self.shared.lateness.share_within(limit)
    }

    /// Serves until `stop` is set.
    ///
    /// # Errors
    /// When no further connection can be taken, or the system's event queue fails.
    pub fn wait(self, stop: &AtomicBool) -> Result<(), ServerError> {
        self.running.wait(stop)
    }
}

impl Shared {
    fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }
}
