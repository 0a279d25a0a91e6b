//! The engine as a [`Backend`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use sagellm_core::{
    Backend, BackendInfo, BackendStats, Clock, Event, EventKind, EventSink, Exit, Failure, Prepared, Progress, Stamp,
};
use sagellm_model::{Dtype, Model};

use crate::EngineError;
use crate::kernels::{Arena, BLOCK, Isa, Kernels, KvDtype};
use crate::kv::{BlockPool, KvStorage};
use crate::memory_limit::{self, Need};
use crate::models;
use crate::nn::Workspace;
use crate::scheduler::{Limits, Scheduler};
use crate::stats::{Counters, EngineLoad};
use crate::step::{Command, EngineThread};
use crate::weights::ComputeDtype;

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Threads that compute; 0 takes one per processor.
    pub threads: usize,
    /// Instruction set; `None` takes the best that the processor has.
    pub isa: Option<Isa>,
    /// Type of the weights; `None` computes each in the format that it is stored in.
    pub dtype: Option<ComputeDtype>,
    /// Tokens that the KV cache holds, rounded up to whole blocks.
    pub kv_cache_tokens: usize,
    /// Tokens computed in one step at most: bounds the stall that a long prompt causes.
    pub max_num_batched_tokens: usize,
    /// Requests that run together at most.
    pub max_num_seqs: usize,
    /// Whether equal prefixes share blocks.
    pub prefix_caching: bool,
    /// Tokens drafted for a request in one step at most, from what it said before; 0 drafts none.
    pub draft_tokens: usize,
    /// Whether events carry the text of their tokens.
    pub stream_text: bool,
}

/// A model that answers requests on this machine's processor.
pub struct CpuEngine {
    info: BackendInfo,
    clock: Clock,
    capacity_tokens: usize,
    counters: Arc<Counters>,
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl CpuEngine {
    /// Loads the weights of `model`, telling `progress` of it, and starts the engine's threads. Events are stamped on `clock`.
    ///
    /// # Errors
    /// When the weights do not fit the configuration, a setting is out of range, or the model needs more memory than this
    /// process may use.
    pub fn start(
        model: Model,
        options: &EngineOptions,
        clock: Clock,
        progress: &dyn Progress,
    ) -> Result<Self, EngineError> {
        for (name, value) in [
            ("--kv-cache-tokens", options.kv_cache_tokens),
            ("--max-num-batched-tokens", options.max_num_batched_tokens),
            ("--max-num-seqs", options.max_num_seqs),
        ] {
            if value == 0 {
                return Err(EngineError::Setting(format!("{name} must be at least 1")));
            }
        }
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        let stored = model.checkpoint.dtype();
        let kv_dtype = kv_dtype(options.dtype, stored);
        let kernels = Kernels::new(options.isa, threads, clock)?;
        let context_length = model.config.context_length;
        let blocks = options.kv_cache_tokens.div_ceil(BLOCK);
        let capacity_tokens = blocks * BLOCK;
        let limits = Limits {
            tokens: options.max_num_batched_tokens,
            sequences: options.max_num_seqs.min(options.max_num_batched_tokens),
            drafts: options.draft_tokens,
        };
        let config = &model.config;
        let kv_bytes = KvStorage::bytes(blocks, config.num_layers, models::attention_shape(config), kv_dtype);
        memory_limit::check(Need {
            used: models::memory(&model, options.dtype).saturating_add(kv_bytes as u64),
            // Of the weights and of the cache, and what a step computes.
            reserved: 2 * Arena::RESERVED as u64 + Workspace::bytes(config, limits.tokens, limits.logits()),
        })?;
        let decoder = models::load(&model, options.dtype, context_length.min(capacity_tokens), threads, progress)?;
        let kv = KvStorage::new(blocks, decoder.blocks.len(), decoder.attention, kv_dtype)?;
        let work = Workspace::new(&decoder, limits.tokens, limits.logits())?;
        let counters = Arc::new(Counters::default());
        let scheduler = Scheduler::new(
            limits,
            BlockPool::new(blocks, options.prefix_caching),
            kv.block_bytes(),
            Arc::clone(&counters),
            clock,
        );
        let mut info = BackendInfo {
            name: "cpu".into(),
            version: Some(env!("CARGO_PKG_VERSION").into()),
            model: model.info,
            stamp: Stamp::Engine,
            settings: BTreeMap::from([
                ("threads".into(), kernels.threads().to_string()),
                ("isa".into(), kernels.isa().to_string()),
                ("kv_cache_tokens".into(), capacity_tokens.to_string()),
                ("kv_cache_bytes".into(), (blocks * kv.block_bytes()).to_string()),
                ("kv_block_tokens".into(), BLOCK.to_string()),
                ("kv_dtype".into(), kv.dtype().name().into()),
                ("max_num_batched_tokens".into(), limits.tokens.to_string()),
                ("max_num_seqs".into(), limits.sequences.to_string()),
                ("prefix_caching".into(), options.prefix_caching.to_string()),
            ]),
        };
        if limits.drafts > 0 {
            info.settings.insert("spec".into(), format!("ngram, up to {} tokens", limits.drafts));
        }
        info.model.dtype = Some(options.dtype.map_or(stored.name(), ComputeDtype::name).into());
        let engine = EngineThread {
            model: decoder,
            kernels,
            kv,
            work,
            scheduler,
            clock,
            tokenizer: model.tokenizer,
            context_length,
            eos: model.config.eos_token_ids,
            stream_text: options.stream_text,
        };
        let (commands, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("engine-0".into())
            .spawn(move || engine.run(&receiver))
            .map_err(EngineError::Threads)?;
        Ok(Self { info, clock, capacity_tokens, counters, commands, thread: Some(thread) })
    }

    /// What it is busy with now.
    pub fn load(&self) -> EngineLoad {
        self.counters.load()
    }

    /// Times that tokens were drafted for a request since the window began.
    pub fn spec_drafts(&self) -> u64 {
        self.counters.spec_drafts.load(Ordering::Relaxed)
    }

    fn send(&self, command: Command) -> Result<(), Failure> {
        self.commands.send(command).map_err(|_| Failure::new(Exit::Backend, "the CPU engine has stopped"))
    }
}

/// The cache follows the weights; beside quantized ones it is in half precision.
pub(crate) fn kv_dtype(dtype: Option<ComputeDtype>, stored: Dtype) -> KvDtype {
    match (dtype, stored) {
        (Some(ComputeDtype::F32), _) | (None, Dtype::F32) => KvDtype::F32,
        (Some(ComputeDtype::Bf16), _) | (None, Dtype::Bf16) => KvDtype::Bf16,
        _ => KvDtype::F16,
    }
}

impl Backend for CpuEngine {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    /// Everything is made when the engine starts, whatever will be computed together.
    fn learns_from_load(&self) -> bool {
        false
    }

    fn submit(&self, request: Prepared, sink: &EventSink) -> Result<(), Failure> {
        let at = self.clock.now();
        let sent = Event { request: request.id, at, kind: EventKind::Sent };
        // Sent first, so that nothing of the request can come before it; a receiver that has gone wants nothing.
        sink.send(sent);
        self.send(Command::Submit { request, sink: sink.clone(), at })
    }

    fn cancel(&self, request: u64) {
        // An engine that has stopped has no requests.
        let _ = self.send(Command::Cancel(request));
    }

    fn begin_window(&self) {
        let (done, wait) = channel();
        if self.send(Command::Reset(done)).is_ok() {
            // An engine that stops meanwhile is found out by the next submit.
            let _ = wait.recv();
        }
    }

    fn window(&self) -> BackendStats {
        self.counters.stats(self.capacity_tokens)
    }

    fn clock(&self) -> Clock {
        self.clock
    }
}

impl Drop for CpuEngine {
    fn drop(&mut self) {
        let _ = self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A fault of the thread has been told to its requests.
            let _ = thread.join();
        }
    }
}
