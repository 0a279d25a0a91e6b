//! What the engine counts while it runs, readable from any thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sagellm_core::{BackendStats, Measured, Nanos, StepTimes};

use crate::gauges::Readings;

/// Counters of one window.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) peak_tokens: AtomicU64,
    pub(crate) peak_bytes: AtomicU64,
    pub(crate) lookup_tokens: AtomicU64,
    pub(crate) hit_tokens: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) evict_ns: AtomicU64,
    pub(crate) preemptions: AtomicU64,
    pub(crate) spec_drafts: AtomicU64,
    pub(crate) spec_drafted: AtomicU64,
    pub(crate) spec_accepted: AtomicU64,
    pub(crate) steps: AtomicU64,
    pub(crate) step_tokens: AtomicU64,
    pub(crate) attention_ns: AtomicU64,
    pub(crate) matmul_ns: AtomicU64,
    pub(crate) sampling_ns: AtomicU64,
    pub(crate) scheduling_ns: AtomicU64,
    pub(crate) other_ns: AtomicU64,
    /// The load; no counters, so a new window leaves them.
    pub(crate) running: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) held_tokens: AtomicU64,
    /// How the load went. The engine's thread alone writes, once in a while.
    readings: Mutex<Readings>,
}

/// Where the time of one step went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepNanos {
    /// Tokens computed.
    pub(crate) tokens: usize,
    pub(crate) attention: Nanos,
    pub(crate) matmul: Nanos,
    pub(crate) sampling: Nanos,
    pub(crate) scheduling: Nanos,
    pub(crate) other: Nanos,
}

/// What an engine is busy with at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineLoad {
    /// Requests being computed.
    pub running: u64,
    /// Requests in the queue.
    pub waiting: u64,
    /// Tokens that the KV cache holds for running requests.
    pub kv_used_tokens: u64,
}

impl EngineLoad {
    /// Whether there is nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting == 0
    }
}

impl Counters {
    fn all(&self) -> [&AtomicU64; 17] {
        [
            &self.peak_tokens,
            &self.peak_bytes,
            &self.lookup_tokens,
            &self.hit_tokens,
            &self.evictions,
            &self.evict_ns,
            &self.preemptions,
            &self.spec_drafts,
            &self.spec_drafted,
            &self.spec_accepted,
            &self.steps,
            &self.step_tokens,
            &self.attention_ns,
            &self.matmul_ns,
            &self.sampling_ns,
            &self.scheduling_ns,
            &self.other_ns,
        ]
    }

    /// Starts a new window.
    pub(crate) fn reset(&self) {
        for counter in self.all() {
            counter.store(0, Ordering::Relaxed);
        }
        *self.readings() = Readings::default();
    }

    /// Takes a reading of the load, if one is due.
    pub(crate) fn read(&self, at: Nanos, load: EngineLoad) {
        self.readings().push(at, load);
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn load(&self) -> EngineLoad {
        EngineLoad {
            running: self.running.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            kv_used_tokens: self.held_tokens.load(Ordering::Relaxed),
        }
    }

    /// Counts one step.
    pub(crate) fn step(&self, step: &StepNanos) {
        let add = |counter: &AtomicU64, amount: u64| counter.fetch_add(amount, Ordering::Relaxed);
        add(&self.steps, 1);
        add(&self.step_tokens, step.tokens as u64);
        add(&self.attention_ns, step.attention);
        add(&self.matmul_ns, step.matmul);
        add(&self.sampling_ns, step.sampling);
        add(&self.scheduling_ns, step.scheduling);
        add(&self.other_ns, step.other);
    }

    fn step_times(&self) -> StepTimes {
        let ms = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64 / 1e6;
        StepTimes {
            steps: self.steps.load(Ordering::Relaxed),
            tokens: self.step_tokens.load(Ordering::Relaxed),
            attention_ms: ms(&self.attention_ns),
            matmul_ms: ms(&self.matmul_ns),
            sampling_ms: ms(&self.sampling_ns),
            scheduling_ms: ms(&self.scheduling_ns),
            other_ms: ms(&self.other_ns),
        }
    }

    /// The window as results show it.
    pub(crate) fn stats(&self, capacity_tokens: usize) -> BackendStats {
        let read = |counter: &AtomicU64| Measured::known(counter.load(Ordering::Relaxed));
        BackendStats {
            kv_used_tokens: read(&self.peak_tokens),
            kv_used_bytes: read(&self.peak_bytes),
            kv_capacity_tokens: Measured::known(capacity_tokens as u64),
            prefix_lookup_tokens: read(&self.lookup_tokens),
            prefix_hit_tokens: read(&self.hit_tokens),
            evict_count: read(&self.evictions),
            evict_kind: Some("kv_blocks".into()),
            evict_ms: read(&self.evict_ns).map(|ns| ns as f64 / 1e6),
            preemptions: read(&self.preemptions),
            spec_drafted_tokens: read(&self.spec_drafted),
            spec_accepted_tokens: read(&self.spec_accepted),
            steps: Some(self.step_times()),
            samples: self.readings().samples(capacity_tokens),
            server: None,
        }
    }
}
