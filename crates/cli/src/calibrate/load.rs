//! What the client is to bear in a calibration.

use std::time::Duration;

use sagellm_core::{Arrival, Exit, Failure};
use sagellm_http::{Priority, StampChoice};
use serde::{Serialize, Serializer};

use crate::args::{CalibrateArgs, PriorityName, StampName};

/// Longest time for one answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// Longest time for all.
const LONGEST: Duration = Duration::from_secs(3600);
/// Tokens of all answers at most: each is kept in memory until the end.
const MOST_TOKENS: u64 = 20_000_000;

/// A load on the simulator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Load {
    /// Connections that are open from the start; where `capped`, requests in flight at most.
    pub(crate) streams: u32,
    /// Whether requests wait while so many are in flight.
    pub(crate) capped: bool,
    /// When requests come. At once, they keep all streams busy.
    pub(crate) arrival: Arrival,
    /// Requests in all.
    pub(crate) requests: u32,
    /// Tokens of each.
    pub(crate) tokens: u32,
    /// From a request to its first token.
    #[serde(serialize_with = "milliseconds", rename = "ttft_ms")]
    pub(crate) ttft: Duration,
    /// From each token to the next.
    #[serde(serialize_with = "milliseconds", rename = "itl_ms")]
    pub(crate) itl: Duration,
    /// Who takes the stamps.
    #[serde(skip)]
    pub(crate) stamp: StampChoice,
    /// Priority of the client's threads; `None` for its default.
    #[serde(skip)]
    pub(crate) priority: Option<Priority>,
    /// Threads of the client; 0 for its default.
    pub(crate) client_threads: usize,
    /// Threads of the simulator.
    pub(crate) server_threads: usize,
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64() * 1e3)
}

impl Load {
    /// What the command line asks for, unless it would hardly end or need more memory than there is.
    pub(super) fn of(args: &CalibrateArgs) -> Result<Self, Failure> {
        let requests = args.num_prompts.unwrap_or(args.concurrency.saturating_mul(4));
        let load = Self {
            streams: args.concurrency.min(requests),
            capped: args.rate.is_none(),
            arrival: args.rate.map_or(Arrival::Immediate, |rate| Arrival::Poisson { rate }),
            requests,
            tokens: args.output_len,
            ttft: args.ttft.0,
            itl: args.itl.0,
            stamp: StampName::choice(args.stamp),
            priority: args.priority.map(PriorityName::choice),
            client_threads: args.client_threads.unwrap_or(0),
            server_threads: args.server_threads,
        };
        load.check()?;
        Ok(load)
    }

    fn check(&self) -> Result<(), Failure> {
        let refuse = |what: String, hint: &str| Err(Failure::new(Exit::Usage, what).with_hint(hint));
        let answer = self.answer_s();
        if answer > LONGEST_ANSWER.as_secs_f64() {
            let most = LONGEST_ANSWER.as_secs();
            return refuse(
                format!("one answer would take {answer:.0} s, more than the {most} s that one may take here"),
                "lower `--ttft`, `--itl` or `--output-len`",
            );
        }
        let tokens = u64::from(self.requests) * u64::from(self.tokens);
        if tokens > MOST_TOKENS {
            return refuse(
                format!("the answers would have {tokens} tokens in all, more than the {MOST_TOKENS} that can be kept"),
                "lower `--num-prompts`, `--concurrency` or `--output-len`",
            );
        }
        let all = match self.arrival {
            Arrival::Poisson { rate } => f64::from(self.requests) / rate + answer,
            _ => f64::from(self.requests.div_ceil(self.streams)) * answer,
        };
        if all > LONGEST.as_secs_f64() {
            return refuse(
                format!("the calibration would take about {all:.0} s, more than an hour"),
                "lower `--num-prompts`, or raise `--rate` or `--concurrency`",
            );
        }
        Ok(())
    }

    /// How long one answer takes, in seconds.
    pub(super) fn answer_s(&self) -> f64 {
        self.ttft.as_secs_f64() + self.itl.as_secs_f64() * f64::from(self.tokens.saturating_sub(1))
    }

    /// All streams busy at once, each for one answer of about half a second.
    pub(super) fn at_once(&self, streams: u32) -> Self {
        let tokens = 0.5 / self.itl.as_secs_f64().max(1e-6);
        Self {
            streams,
            capped: true,
            arrival: Arrival::Immediate,
            requests: streams,
            // Within these bounds the number is whole and small.
            tokens: tokens.clamp(4.0, 256.0) as u32,
            ..self.clone()
        }
    }

    /// As fast as the two can.
    pub(super) fn full_speed(&self) -> Self {
        /// Streams, which are enough to keep both busy.
        const STREAMS: u32 = 64;
        Self {
            streams: STREAMS,
            capped: true,
            arrival: Arrival::Immediate,
            requests: STREAMS * 32,
            tokens: 256,
            ttft: Duration::ZERO,
            itl: Duration::ZERO,
            ..self.clone()
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn load() -> Load {
        Load {
            streams: 4,
            capped: true,
            arrival: Arrival::Immediate,
            requests: 8,
            tokens: 11,
            ttft: Duration::from_millis(50),
            itl: Duration::from_millis(10),
            stamp: StampChoice::User,
            priority: None,
            client_threads: 1,
            server_threads: 1,
        }
    }

    #[test]
    fn a_load_that_would_not_end_is_refused() {
        load().check().unwrap();
        let wrong = |load: Load| load.check().unwrap_err().message;
        let slow = wrong(Load { itl: Duration::from_secs(10), ..load() });
        assert_eq!(slow, "one answer would take 100 s, more than the 60 s that one may take here");
        let many = wrong(Load { requests: 1_000_000, tokens: 1 << 20, itl: Duration::ZERO, ..load() });
        assert!(many.starts_with("the answers would have 1048576000000 tokens in all"), "{many}");
        let rare = wrong(Load { arrival: Arrival::Poisson { rate: 0.01 }, requests: 100, ..load() });
        assert_eq!(rare, "the calibration would take about 10000 s, more than an hour");
        let long = wrong(Load { streams: 1, requests: 100_000, ..load() });
        assert_eq!(long, "the calibration would take about 15000 s, more than an hour");
    }

    #[test]
    fn a_step_of_the_search_takes_half_a_second() {
        assert_eq!(load().at_once(32).tokens, 50);
        assert_eq!(Load { itl: Duration::from_secs(1), ..load() }.at_once(32).tokens, 4);
        assert_eq!(load().at_once(32).requests, 32);
    }
}
