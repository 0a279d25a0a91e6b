//! What only requests over HTTP tell, gathered one request after the other.

use std::collections::BTreeMap;

use sagellm_core::{FinishReason, HttpFacts, Nanos, Record, Stamp, ms};
use sagellm_stats::Distribution;

use crate::latency::signed_ms;

/// More names of models than this are not kept apart.
const MOST_MODELS: usize = 8;

/// The client's own delays, the connections, and what the answers say of the server.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// From the kernel's receive stamp to this program's read, of every chunk, in milliseconds.
    pub(crate) delays: Distribution,
    pub(crate) merged_chunks: u64,
    /// Chunks that came behind a gap in the stream of bytes.
    pub(crate) held_back_chunks: u64,
    /// Segments of answers that came out of order, segments of requests that were transmitted again, and the requests that
    /// had any of these.
    pub(crate) out_of_order: u64,
    pub(crate) retransmitted: u64,
    pub(crate) lossy_requests: u64,
    /// Retries that followed a connection which the server had closed while it was idle.
    pub(crate) stale_connections: u64,
    /// Chunks of records that the kernel stamps, and those of them that this program had to stamp.
    pub(crate) stamped: (u64, u64),
    /// Times for setting up connections inside requests, in milliseconds.
    pub(crate) connects: Distribution,
    /// Requests that were sent more than once, and how often they were sent again.
    pub(crate) retried_requests: u64,
    pub(crate) retries: u64,
    /// What the successes tell.
    pub(crate) answers: Answers,
}

/// What successful answers say beside their text.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// From sent to the first token of the visible answer, in milliseconds.
    pub(crate) visible: Distribution,
    /// Output tokens by the server's usage.
    pub(crate) usage: Total,
    /// Output tokens by the tokenizer.
    pub(crate) tokenizer: Total,
    /// Answers with text in which the server's usage counted no token.
    pub(crate) of_zero: u64,
    /// Answers that both counted.
    pub(crate) checked: u64,
    /// Usage and tokenizer, summed over these.
    pub(crate) both: (u64, u64),
    /// By how many tokens more than one the two differ, summed answer by answer: errors that cancel in the sums of the counts
    /// do not here. A text that is cut again may well come out a token longer or shorter than it was.
    pub(crate) differences: u64,
    pub(crate) content_chunks: u64,
    /// Prompt tokens from the prefix cache, and the prompt tokens of the answers that tell.
    pub(crate) cached: (u64, u64),
    pub(crate) server_ttft: Mean,
    pub(crate) server_queue: Mean,
    pub(crate) server_prefill: Mean,
    pub(crate) server_generation: Mean,
    /// Answers by the model that gave them, where it is not the one asked.
    pub(crate) models: BTreeMap<Option<String>, u64>,
}

/// A sum over those that tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Total {
    pub(crate) sum: u64,
    pub(crate) told: u64,
}

/// A mean over those that tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean {
    sum: f64,
    told: u64,
}

impl Wire {
    /// Takes a measured request that was sent at `sent`.
    pub(crate) fn push(&mut self, record: &Record, sent: Nanos, success: bool) {
        for delay in record.chunks.iter().filter_map(|chunk| chunk.delay_ns) {
            self.delays.push(ms(u64::from(delay)));
        }
        if record.stamp == Stamp::Kernel {
            self.stamped.0 += record.chunks.len() as u64;
            self.stamped.1 += record.chunks.iter().filter(|chunk| chunk.delay_ns.is_none()).count() as u64;
        }
        let Some(http) = &record.http else { return };
        self.merged_chunks += u64::from(http.merged_chunks);
        self.held_back_chunks += u64::from(http.held_back_chunks);
        self.out_of_order += u64::from(http.out_of_order_segments);
        self.retransmitted += u64::from(http.retransmitted_segments);
        self.lossy_requests += u64::from(http.out_of_order_segments + http.retransmitted_segments > 0);
        self.stale_connections += u64::from(http.stale_connection);
        http.connect_ns.into_iter().for_each(|time| self.connects.push(ms(time)));
        self.retries += u64::from(http.retries);
        self.retried_requests += u64::from(http.retries > 0);
        if success {
            self.answers.push(record, http, sent);
        }
    }
}

impl Answers {
    fn push(&mut self, record: &Record, http: &HttpFacts, sent: Nanos) {
        http.first_visible_ns.into_iter().for_each(|at| self.visible.push(signed_ms(sent, at)));
        self.of_zero += u64::from(http.usage_of_zero);
        self.usage.add(http.usage_tokens);
        self.tokenizer.add(http.tokenizer_tokens);
        if let (Some(usage), Some(tokenizer)) = (http.usage_tokens, http.tokenizer_tokens) {
            let usage = usage.saturating_sub(http.hidden_tokens);
            // The server counts the end of the sequence, which has no text.
            let stopped = record.finish_reason == Some(FinishReason::Stop) && usage == tokenizer.saturating_add(1);
            let tokenizer = tokenizer + u32::from(stopped);
            self.checked += 1;
            self.both.0 += u64::from(usage);
            self.both.1 += u64::from(tokenizer);
            self.differences += u64::from(usage.abs_diff(tokenizer).saturating_sub(1));
        }
        self.content_chunks += u64::from(http.content_chunks);
        if let Some(cached) = record.cached_tokens {
            self.cached.0 += u64::from(cached);
            self.cached.1 += u64::from(record.input_tokens);
        }
        self.server_ttft.add(http.server_ttft_ms);
        self.server_queue.add(http.server_queue_ms);
        self.server_prefill.add(http.server_prefill_ms);
        self.server_generation.add(http.server_generation_ms);
        if self.models.len() < MOST_MODELS || self.models.contains_key(&http.answered_model) {
            *self.models.entry(http.answered_model.clone()).or_default() += 1;
        }
    }

    /// By how much the two counts of output tokens differ, in sum or answer by answer, as a share of the larger sum. `None`
    /// without both.
    pub(crate) fn discrepancy(&self) -> Option<f64> {
        let (usage, tokenizer) = self.both;
        let larger = usage.max(tokenizer);
        (larger > 0).then(|| usage.abs_diff(tokenizer).max(self.differences) as f64 / larger as f64)
    }
}

impl Total {
    fn add(&mut self, count: Option<u32>) {
        self.sum += u64::from(count.unwrap_or(0));
        self.told += u64::from(count.is_some());
    }
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        self.sum += value.unwrap_or(0.0);
        self.told += u64::from(value.is_some());
    }

    pub(crate) fn get(self) -> Option<f64> {
        (self.told > 0).then(|| self.sum / self.told as f64)
    }
}
