//! What the engine counts while it runs, readable from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

use sagellm_core::{BackendStats, Measured};

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
    /// The load; no counters, so a new window leaves them.
    pub(crate) running: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) held_tokens: AtomicU64,
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

impl Counters {
    fn all(&self) -> [&AtomicU64; 7] {
        [
            &self.peak_tokens,
            &self.peak_bytes,
            &self.lookup_tokens,
            &self.hit_tokens,
            &self.evictions,
            &self.evict_ns,
            &self.preemptions,
        ]
    }

    /// Starts a new window.
    pub(crate) fn reset(&self) {
        for counter in self.all() {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn load(&self) -> EngineLoad {
        EngineLoad {
            running: self.running.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            kv_used_tokens: self.held_tokens.load(Ordering::Relaxed),
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
            spec_drafted_tokens: Measured::known(0),
            spec_accepted_tokens: Measured::known(0),
            server: None,
        }
    }
}
