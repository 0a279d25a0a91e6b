//! Which tokens are computed in the next step.
//!
//! First come, first served. A step takes the decode token of every running request first, then prefill up to the
//! token budget, so that a long prompt never stalls the others by more than one budget. When blocks run out, contents
//! that nobody holds go first; then the youngest request is put back, to be recomputed later. It loses no token: what it
//! has produced becomes part of what is recomputed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sagellm_core::Clock;

use crate::draft;
use crate::kernels::BLOCK;
use crate::kv::{BlockPool, Content};
use crate::nn::Row;
use crate::sequence::Sequence;
use crate::stats::{Counters, EngineLoad};

/// Limits of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Tokens computed in one step at most.
    pub(crate) tokens: usize,
    /// Requests running together at most; not above `tokens`.
    pub(crate) sequences: usize,
    /// Tokens drafted for a request in one step at most.
    pub(crate) drafts: usize,
}

impl Limits {
    /// Rows of a step that want logits at most.
    pub(crate) fn logits(&self) -> usize {
        self.tokens.min(self.sequences * (1 + self.drafts))
    }
}

/// Requests that wait, requests that run, and their blocks.
pub(crate) struct Scheduler {
    limits: Limits,
    pool: BlockPool,
    block_bytes: usize,
    waiting: VecDeque<Sequence>,
    /// By age, the oldest first.
    running: Vec<Sequence>,
    rows: Vec<Row>,
    preempted: Vec<u64>,
    counters: Arc<Counters>,
    clock: Clock,
}

impl Scheduler {
    pub(crate) fn new(
        limits: Limits,
        pool: BlockPool,
        block_bytes: usize,
        counters: Arc<Counters>,
        clock: Clock,
    ) -> Self {
        Self {
            limits,
            pool,
            block_bytes,
            waiting: VecDeque::new(),
            running: Vec::new(),
            rows: Vec::with_capacity(limits.tokens),
            preempted: Vec::new(),
            counters,
            clock,
        }
    }

    /// Tokens that a single request can have at most.
    pub(crate) fn capacity_tokens(&self) -> usize {
        self.pool.capacity() * BLOCK
    }

    /// Queues a request.
    pub(crate) fn push(&mut self, sequence: Sequence) {
        self.waiting.push_back(sequence);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// The running requests, in the order that [`Row::sequence`] counts.
    pub(crate) fn running(&mut self) -> &mut [Sequence] {
        &mut self.running
    }

    /// The rows of the last step that was scheduled, and the block tables of the running requests.
    pub(crate) fn step(&self) -> (&[Row], Vec<&[u32]>) {
        (&self.rows, self.running.iter().map(|s| s.blocks.as_slice()).collect())
    }

    /// Requests that were put back by the last call of [`schedule`](Self::schedule).
    pub(crate) fn preempted(&self) -> impl Iterator<Item = (u64, &Sequence)> {
        self.preempted
            .iter()
            .filter_map(|&id| self.waiting.iter().find(|s| s.request.id == id).map(|sequence| (id, sequence)))
    }

    /// Forms the next step; false when there is nothing to compute.
    pub(crate) fn schedule(&mut self) -> bool {
        self.rows.clear();
        self.preempted.clear();
        let mut budget = self.limits.tokens;
        self.schedule_decodes(&mut budget);
        for index in 0..self.running.len() {
            if self.running[index].pending() > 1 || self.running[index].computed == 0 {
                self.take(index, &mut budget);
            }
        }
        while budget > 0 && self.running.len() < self.limits.sequences && self.admit() {
            self.take(self.running.len() - 1, &mut budget);
        }
        self.note_peaks();
        !self.rows.is_empty()
    }

    fn note_peaks(&self) {
        self.counters.peak_tokens.fetch_max(self.pool.held_tokens() as u64, Relaxed);
        self.counters.peak_bytes.fetch_max((self.pool.held_blocks() * self.block_bytes) as u64, Relaxed);
        self.counters.read(self.clock.now(), self.load());
    }

    /// One token of every request that has been prefilled, oldest first, and what is drafted to follow it.
    fn schedule_decodes(&mut self, budget: &mut usize) {
        let mut index = 0;
        while index < self.running.len() {
            let sequence = &self.running[index];
            if sequence.pending() == 1 && sequence.computed > 0 {
                let needs_block = sequence.computed / BLOCK >= sequence.blocks.len();
                if needs_block && !self.grow(index) {
                    // It was the youngest itself and is gone from the list.
                    continue;
                }
                self.take(index, budget);
                // Drafts leave every other request its token.
                let others = self.running.len() - 1 - index;
                self.draft(index, budget.saturating_sub(others));
                self.take_draft(index, budget);
            }
            index += 1;
        }
    }

    /// Drafts up to `room` tokens for a request. What there are no blocks for is left out: nobody else has to go for a
    /// draft.
    fn draft(&mut self, index: usize, room: usize) {
        let sequence = &self.running[index];
        let left = (sequence.request.max_tokens as usize).saturating_sub(sequence.output().len() + 1);
        let most = sequence.courage.tokens().min(room).min(left);
        let draft = draft::lookup(&sequence.tokens, most).to_vec();
        let needed = (sequence.tokens.len() + draft.len()).div_ceil(BLOCK);
        while self.running[index].blocks.len() < needed && self.pool.available() > self.running.len() {
            let Some(block) = self.allocate() else { break };
            self.running[index].blocks.push(block);
        }
        let sequence = &mut self.running[index];
        sequence.draft = draft;
        sequence.draft.truncate(sequence.blocks.len() * BLOCK - sequence.tokens.len());
    }

    /// Adds the request's draft to the step, right after the token that it follows.
    fn take_draft(&mut self, index: usize, budget: &mut usize) {
        let sequence = &self.running[index];
        *budget -= sequence.draft.len();
        for (&token, position) in sequence.draft.iter().zip(sequence.tokens.len()..) {
            self.rows.push(Row { sequence: index, token, position, logits: true });
        }
    }

    /// Keeps the first `accepted` drafted tokens of the last step, which have become tokens of the request by now.
    pub(crate) fn accept(&mut self, index: usize, drafted: usize, accepted: usize) {
        if drafted == 0 {
            return;
        }
        for _ in 0..accepted {
            self.advance(index);
        }
        self.running[index].courage.learn(drafted, accepted, self.limits.drafts);
        self.counters.spec_drafts.fetch_add(1, Relaxed);
        self.counters.spec_drafted.fetch_add(drafted as u64, Relaxed);
        self.counters.spec_accepted.fetch_add(accepted as u64, Relaxed);
        self.note_peaks();
    }

    /// Gives the request one more block, putting back younger ones while there is none; false when it had to go itself.
    fn grow(&mut self, index: usize) -> bool {
        loop {
            if let Some(block) = self.allocate() {
                self.running[index].blocks.push(block);
                return true;
            }
            let youngest = self.running.len() - 1;
            self.preempt(youngest);
            if youngest == index {
                return false;
            }
        }
    }

    fn allocate(&mut self) -> Option<u32> {
        let before = self.clock.now();
        let (block, evicted) = self.pool.allocate()?;
        if evicted {
            self.counters.evictions.fetch_add(1, Relaxed);
            self.counters.evict_ns.fetch_add(self.clock.now() - before, Relaxed);
        }
        Some(block)
    }

    /// Puts a running request back to the head of the queue.
    fn preempt(&mut self, index: usize) {
        let before = self.clock.now();
        let mut sequence = self.running.remove(index);
        let dropped = self.release(&mut sequence);
        sequence.computed = 0;
        sequence.content = Content::ROOT;
        self.preempted.push(sequence.request.id);
        self.waiting.push_front(sequence);
        self.counters.preemptions.fetch_add(1, Relaxed);
        self.counters.evictions.fetch_add(dropped, Relaxed);
        self.counters.evict_ns.fetch_add(self.clock.now() - before, Relaxed);
    }

    /// Lets go of a request's blocks, the tail first; gives how many lost their content by that.
    fn release(&mut self, sequence: &mut Sequence) -> u64 {
        let mut dropped = 0;
        for block in sequence.blocks.drain(..).rev() {
            dropped += u64::from(self.pool.release(block));
        }
        dropped
    }

    /// Moves the first waiting request to the running ones if there are blocks for all its tokens and the next.
    fn admit(&mut self) -> bool {
        let Some(sequence) = self.waiting.front() else { return false };
        let (found, unheld, content) = self.pool.find_prefix(&sequence.tokens);
        let fresh = (sequence.tokens.len() + 1).div_ceil(BLOCK).min(self.pool.capacity()) - found.len();
        if self.pool.available() < unheld + fresh {
            return false;
        }
        let Some(mut sequence) = self.waiting.pop_front() else { return false };
        let hits = found.len() * BLOCK;
        if sequence.cached.is_none() {
            sequence.cached = Some(hits);
            sequence.admitted = Some(self.clock.now());
            self.counters.lookup_tokens.fetch_add(sequence.prompt_len as u64, Relaxed);
            self.counters.hit_tokens.fetch_add(hits as u64, Relaxed);
        }
        found.iter().for_each(|&block| self.pool.hold(block));
        sequence.computed = hits;
        sequence.content = content;
        sequence.blocks = found;
        let tokens = sequence.tokens.len().div_ceil(BLOCK);
        while sequence.blocks.len() < tokens {
            // `available` was checked above.
            let Some(block) = self.allocate() else { break };
            sequence.blocks.push(block);
        }
        self.running.push(sequence);
        true
    }

    /// Adds as much of a request's pending tokens to the step as the budget allows.
    ///
    /// Full blocks become findable at once: within a step every layer writes all keys and values before it reads any, so
    /// a request that is admitted later in the same step can already share them.
    fn take(&mut self, index: usize, budget: &mut usize) {
        let count = self.running[index].pending().min(*budget);
        *budget -= count;
        for _ in 0..count {
            let sequence = &self.running[index];
            let position = sequence.computed;
            self.rows.push(Row {
                sequence: index,
                token: sequence.tokens[position],
                position,
                logits: position + 1 == sequence.tokens.len(),
            });
            self.advance(index);
        }
    }

    /// Counts the request's next token as computed.
    fn advance(&mut self, index: usize) {
        let sequence = &mut self.running[index];
        let block = sequence.blocks[sequence.computed / BLOCK];
        sequence.computed += 1;
        self.pool.fill(block);
        if sequence.computed.is_multiple_of(BLOCK) {
            let mut full = [0; BLOCK];
            full.copy_from_slice(&sequence.tokens[sequence.computed - BLOCK..sequence.computed]);
            sequence.content = self.pool.seal(block, sequence.content, full);
        }
    }

    /// Takes out the running requests for which `ended` says so, and frees their blocks.
    pub(crate) fn retire(&mut self, ended: impl Fn(&Sequence) -> bool) -> Vec<Sequence> {
        let mut gone = Vec::new();
        let mut index = 0;
        while index < self.running.len() {
            if ended(&self.running[index]) {
                let mut sequence = self.running.remove(index);
                self.release(&mut sequence);
                gone.push(sequence);
            } else {
                index += 1;
            }
        }
        gone
    }

    /// Takes out one request wherever it is.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Sequence> {
        if let Some(place) = self.waiting.iter().position(|s| s.request.id == id) {
            return self.waiting.remove(place);
        }
        self.retire(|s| s.request.id == id).pop()
    }

    /// Tokens drafted for a request in one step at most.
    pub(crate) fn drafts(&self) -> usize {
        self.limits.drafts
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Tells other threads what is held.
    pub(crate) fn publish_load(&self) {
        let load = self.load();
        self.counters.running.store(load.running, Relaxed);
        self.counters.waiting.store(load.waiting, Relaxed);
        self.counters.held_tokens.store(load.kv_used_tokens, Relaxed);
        if load.is_idle() {
            self.counters.read(self.clock.now(), load);
        }
    }

    fn load(&self) -> EngineLoad {
        EngineLoad {
            running: self.running.len() as u64,
            waiting: self.waiting.len() as u64,
            kv_used_tokens: self.pool.held_tokens() as u64,
        }
    }

    /// Takes out everything.
    pub(crate) fn drain(&mut self) -> Vec<Sequence> {
        let mut all = self.retire(|_| true);
        all.extend(self.waiting.drain(..));
        all
    }

    /// Starts a new window: counters at zero, the prefix cache cold.
    pub(crate) fn reset(&mut self) {
        self.pool.clear_idle();
        self.counters.reset();
    }
}
