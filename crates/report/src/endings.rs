//! How the answers ended, and how long they were beside what was asked for.

use std::collections::BTreeMap;

use sagellm_core::{FinishReason, Record, ms};
use sagellm_stats::{Distribution, quantile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::latency::signed_ms;

/// Arrivals of an answer at least, so that the gap to the second one can be held against later ones.
const LEAST_ARRIVALS: usize = 3;

/// Successful requests of one finish reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FinishSummary {
    /// Why generation ended; `null` where the server does not tell.
    pub reason: Option<FinishReason>,
    /// Requests.
    pub requests: u64,
    /// Mean output tokens.
    pub avg_output_tokens: Option<f64>,
    /// 99th percentile of the output tokens.
    pub p99_output_tokens: Option<f64>,
    /// Median time from sent to the last token, in milliseconds.
    pub p50_e2e_ms: Option<f64>,
    /// Its 99th percentile.
    pub p99_e2e_ms: Option<f64>,
}

/// The ends of the successful requests.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    /// Output tokens that came, and that were asked for.
    pub(crate) output: (u64, u64),
    /// Requests with fewer output tokens than asked for.
    pub(crate) shorter: u64,
    /// From sent to the second arrival, in milliseconds.
    pub(crate) second: Distribution,
    /// The first gap between arrivals less the median of the later ones, in milliseconds.
    pub(crate) excess: Distribution,
    by_reason: BTreeMap<Option<FinishReason>, (Distribution, Distribution)>,
}

impl Endings {
    /// Takes a success that was sent at `sent`.
    pub(crate) fn push(&mut self, record: &Record, sent: u64) {
        self.output.0 += u64::from(record.output_tokens);
        self.output.1 += u64::from(record.max_tokens);
        self.shorter += u64::from(record.output_tokens < record.max_tokens);
        let (tokens, times) = self.by_reason.entry(record.finish_reason).or_default();
        tokens.push(record.output_tokens.into());
        record.last_token_ns.into_iter().for_each(|last| times.push(signed_ms(sent, last)));

        let mut arrivals: Vec<u64> = record.chunks.iter().map(|chunk| chunk.at_ns).collect();
        arrivals.dedup();
        if let Some(second) = arrivals.get(1) {
            self.second.push(signed_ms(sent, *second));
        }
        if arrivals.len() >= LEAST_ARRIVALS {
            let mut gaps: Vec<f64> = arrivals.windows(2).map(|pair| ms(pair[1].saturating_sub(pair[0]))).collect();
            let first = gaps.remove(0);
            gaps.sort_by(f64::total_cmp);
            quantile(&gaps, 0.5).into_iter().for_each(|usual| self.excess.push(first - usual));
        }
    }

    /// Output tokens as a share of those asked for; `None` without a success.
    pub(crate) fn length_share(&self) -> Option<f64> {
        (self.output.1 > 0).then(|| self.output.0 as f64 / self.output.1 as f64)
    }

    /// The table of finish reasons.
    pub(crate) fn by_reason(&self) -> Vec<FinishSummary> {
        let summary = |(reason, (tokens, times)): (&Option<FinishReason>, &(Distribution, Distribution))| {
            let at = |values: &Distribution, q| values.ascending().quantile(q);
            FinishSummary {
                reason: *reason,
                requests: tokens.count(),
                avg_output_tokens: tokens.mean(),
                p99_output_tokens: at(tokens, 0.99),
                p50_e2e_ms: at(times, 0.5),
                p99_e2e_ms: at(times, 0.99),
            }
        };
        self.by_reason.iter().map(summary).collect()
    }
}

#[cfg(test)]
mod tests {
    use sagellm_core::{Chunk, OutcomeKind, Prompt, RecordBuilder, Request, Sampling, Stamp};

    use super::*;

    const MS: u64 = 1_000_000;

    /// A success that was sent at zero, whose chunks of a token came at these milliseconds.
    fn answer(chunks: &[u64], asked: u32, reason: FinishReason) -> Record {
        let request = Request {
            id: 0,
            offset_ns: 0,
            session: None,
            prompt: Prompt::text("a"),
            max_tokens: asked,
            sampling: Sampling::default(),
            ignore_eos: false,
            keep_answer: false,
        };
        let mut builder = RecordBuilder::new(&request, 0, false, Stamp::Kernel);
        builder.close(1000 * MS, OutcomeKind::Success, "");
        let chunk = |at: &u64| Chunk { at_ns: at * MS, tokens: 1, delay_ns: None, uncertainty_ns: 0 };
        Record {
            sent_ns: Some(0),
            first_token_ns: chunks.first().map(|at| at * MS),
            last_token_ns: chunks.last().map(|at| at * MS),
            chunks: chunks.iter().map(chunk).collect(),
            output_tokens: chunks.len() as u32,
            finish_reason: Some(reason),
            ..builder.finish()
        }
    }

    #[test]
    fn a_late_second_token_is_an_excess_and_an_early_one_is_negative() {
        let mut endings = Endings::default();
        endings.push(&answer(&[100, 180, 190, 200, 210], 5, FinishReason::Length), 0);
        endings.push(&answer(&[100, 102, 112, 122], 4, FinishReason::Length), 0);
        endings.push(&answer(&[100, 150], 2, FinishReason::Length), 0);
        endings.push(&answer(&[100, 100, 100], 3, FinishReason::Length), 0);
        assert_eq!((endings.second.count(), endings.second.max(), endings.second.min()), (3, Some(180.0), Some(102.0)));
        assert_eq!((endings.excess.max(), endings.excess.min()), (Some(70.0), Some(-8.0)));
        assert_eq!(endings.excess.count(), 2, "two arrivals are too few, and one is none");
    }

    #[test]
    fn lengths_are_held_against_those_asked_for_and_reasons_apart() {
        let mut endings = Endings::default();
        assert_eq!(endings.length_share(), None);
        endings.push(&answer(&[10, 20, 30, 40], 4, FinishReason::Length), 0);
        endings.push(&answer(&[10, 20], 6, FinishReason::Stop), 0);
        assert_eq!((endings.length_share(), endings.shorter), (Some(0.6), 1));
        let table = endings.by_reason();
        let of = |reason: &FinishSummary| (reason.reason, reason.requests, reason.avg_output_tokens, reason.p50_e2e_ms);
        let expected = [
            (Some(FinishReason::Length), 1, Some(4.0), Some(40.0)),
            (Some(FinishReason::Stop), 1, Some(2.0), Some(20.0)),
        ];
        assert_eq!(table.iter().map(of).collect::<Vec<_>>(), expected);
    }
}
