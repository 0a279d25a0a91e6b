//! What is sent before the measured requests, so that these find everything as it stays: waves at the load of the workload,
//! until two of them agree.

use std::time::Duration;

use sagellm_core::journal::{Warmup, Wave};
use sagellm_core::{Arrival, Failure, Nanos, OutcomeKind, Record, Request, Warmups, Workload};

use crate::Observer;
use crate::dispatch::{Dispatch, Ending, Finished, Phase};
use crate::stalls::StallWatch;
use crate::supply::Supply;

/// Waves at most.
const MOST_WAVES: usize = 8;
/// Two waves agree when their medians differ by no more than this share,
const AGREEMENT: f64 = 0.05;
/// or by no more than so many milliseconds, which is what may be unknown about the time of one chunk.
const TTFT_SLACK_MS: f64 = 0.5;
const TBT_SLACK_MS: f64 = 0.05;
/// Requests of a wave at least, so that its medians are not those of a single request.
const LEAST_REQUESTS: u64 = 4;
/// Requests in flight of a wave at most, where nothing limits those of the workload.
const MOST_AT_ONCE: u64 = 256;
/// Streams in an open loop are found step by step: each wave has up to so many times those of the one before.
const GROWTH: u64 = 4;
/// Output tokens of the shortest answer of a wave, where the workload asks for as many. Each further stream asks for one
/// more, up to [`MOST_SPREAD`], so that batches of every size are seen as the answers end.
const LEAST_OUTPUT: u32 = 16;
const MOST_SPREAD: u32 = 112;
/// Output tokens of the only request of a warm-up that is not about the load.
const SINGLE_OUTPUT: u32 = 16;
/// How long requests of an arrival process come together, before it is known how long they take.
const FIRST_GUESS_S: f64 = 1.0;

/// How a warm-up went, and its requests.
pub(crate) struct Warmed {
    pub(crate) warmup: Warmup,
    pub(crate) finished: Vec<Finished>,
    pub(crate) ending: Ending,
}

/// Sends the warm-up of a workload. No wave begins after `most`.
///
/// # Errors
/// When a request for it cannot be made.
pub(crate) fn warm_up(
    dispatch: &Dispatch<'_>,
    workload: &Workload,
    warmups: Warmups,
    most: Duration,
    observer: &mut dyn Observer,
) -> Result<Warmed, Failure> {
    let begun = dispatch.clock.now();
    let warmed = Warmed { warmup: Warmup::default(), finished: Vec::new(), ending: Ending::default() };
    let mut run = Run { dispatch, workload, warmups, observer, warmed, mean_output: 0.0 };
    let fixed = workload.num_warmups.or((!dispatch.backend.learns_from_load()).then_some(1));
    match fixed {
        Some(0) => {}
        Some(requests) => run.fixed(requests.into())?,
        None => run.waves(begun, most)?,
    }
    let Run { mut warmed, .. } = run;
    warmed.warmup.duration_ns = dispatch.clock.now().saturating_sub(begun);
    Ok(warmed)
}

struct Run<'a> {
    dispatch: &'a Dispatch<'a>,
    workload: &'a Workload,
    warmups: Warmups,
    observer: &'a mut dyn Observer,
    warmed: Warmed,
    /// Mean output tokens of the measured requests that the last wave was like.
    mean_output: f64,
}

impl Run<'_> {
    /// As many requests as are asked for.
    fn fixed(&mut self, requests: u64) -> Result<(), Failure> {
        let at_once = match peak_rate(&self.workload.arrival) {
            Some(rate) => self.within_cap((rate * FIRST_GUESS_S).ceil() as u64),
            None => self.within_cap(requests),
        };
        self.wave(requests, at_once.min(requests)).map(drop)
    }

    /// Waves until two agree.
    fn waves(&mut self, begun: Nanos, most: Duration) -> Result<(), Failure> {
        let rate = match &self.workload.arrival {
            Arrival::Trace => self.traced_rate()?,
            arrival => peak_rate(arrival),
        };
        let (least, measured) = (least_at_once(&self.workload.arrival), u64::from(self.workload.num_prompts));
        let mut at_once = match rate {
            Some(_) => self.within_cap(least),
            None => self.within_cap(measured.min(MOST_AT_ONCE)),
        };
        self.warmed.warmup.stable = Some(false);
        while self.warmed.warmup.waves.len() < MOST_WAVES {
            let requests = at_once.max(LEAST_REQUESTS.min(measured));
            let Some(wave) = self.wave(requests, at_once)? else { break };
            let in_time = u128::from(self.dispatch.clock.now().saturating_sub(begun)) < most.as_nanos();
            let wanted = match (rate, in_flight_s(&wave, self.mean_output)) {
                (Some(rate), Some(seconds)) => {
                    let expected = ((rate * seconds).ceil() as u64).max(least).min(at_once * GROWTH);
                    self.within_cap(expected.min(measured))
                }
                _ => at_once,
            };
            let settled = wanted.abs_diff(at_once) * 4 <= at_once;
            let [.., before, last] = self.warmed.warmup.waves.as_slice() else {
                if in_time {
                    at_once = wanted
                } else {
                    break;
                }
                continue;
            };
            if settled && agree(before, last) {
                self.warmed.warmup.stable = Some(true);
                break;
            }
            if !in_time {
                break;
            }
            if !settled {
                at_once = wanted;
            }
        }
        Ok(())
    }

    /// Sends requests, `at_once` of them in flight. `None` when it is of no use to go on.
    fn wave(&mut self, requests: u64, at_once: u64) -> Result<Option<Wave>, Failure> {
        let measured = u64::from(self.workload.num_prompts).max(1);
        let single = requests == 1;
        let (mut made, mut asked) = (Vec::new(), 0_u64);
        for nth in 0..requests {
            let Some(request) = (self.warmups)(nth % measured)? else { break };
            asked += u64::from(request.max_tokens);
            let max_tokens = match single {
                true => request.max_tokens.min(SINGLE_OUTPUT),
                false => output(request.max_tokens, nth % at_once, at_once),
            };
            made.push(Request { offset_ns: 0, max_tokens, ..request });
        }
        self.mean_output = asked as f64 / made.len().max(1) as f64;
        let longest = made.iter().map(|request| request.max_tokens).max().unwrap_or(0);
        let phase = Phase {
            warmup: true,
            start: self.dispatch.clock.now(),
            cap: Some(at_once.max(1) as usize),
            closed_loop: true,
            until: None,
        };
        let mut over: Vec<Finished> = Vec::with_capacity(made.len());
        let mut stalls = StallWatch::new(self.dispatch.clock);
        let sent = made.len() as u64;
        let ending =
            self.dispatch.run(Supply::of(made), phase, &mut stalls, self.observer, &mut |finished, observer| {
                observer.on_request_end(&finished.0);
                over.push(finished);
                true
            });
        for (record, text) in &mut over {
            if let Some(text) = text.take() {
                self.dispatch.backend.complete(record, text);
            }
        }
        let wave = Wave {
            at_once,
            p50_ttft_ms: median(over.iter().filter_map(|(record, _)| ttft_ms(record))),
            p50_tbt_ms: median(over.iter().filter_map(|(record, _)| tbt_ms(record))),
        };
        let succeeded = over.iter().filter(|(record, _)| record.outcome == OutcomeKind::Success).count() as u64;
        let Warmed { warmup, finished, ending: ended } = &mut self.warmed;
        warmup.requests += sent;
        warmup.succeeded += succeeded;
        warmup.at_once = warmup.at_once.max(at_once);
        warmup.longest_output = warmup.longest_output.max(longest);
        warmup.waves.push(wave);
        finished.append(&mut over);
        *ended = ending;
        Ok((succeeded > 0 && ended.gone.is_none() && !ended.interrupted).then_some(wave))
    }

    fn within_cap(&self, at_once: u64) -> u64 {
        at_once.min(self.workload.max_concurrency.map_or(u64::MAX, u64::from)).max(1)
    }

    /// Requests per second at the beginning of a trace.
    fn traced_rate(&mut self) -> Result<Option<f64>, Failure> {
        let last = u64::from(self.workload.num_prompts).min(MOST_AT_ONCE).saturating_sub(1);
        let Some(request) = (self.warmups)(last)? else { return Ok(None) };
        Ok((request.offset_ns > 0).then(|| last as f64 / (request.offset_ns as f64 / 1e9)))
    }
}

/// Output tokens of a stream of a wave: staggered, so that the answers end one after the other.
fn output(asked: u32, stream: u64, streams: u64) -> u32 {
    let spread = u32::try_from(streams - 1).unwrap_or(u32::MAX).min(MOST_SPREAD);
    let most = asked.min(LEAST_OUTPUT + spread);
    let least = most.saturating_sub(spread).max(1);
    least + (u64::from(most - least) * stream / (streams - 1).max(1)) as u32
}

/// Requests per second when most come; `None` for what is not by an arrival process.
fn peak_rate(arrival: &Arrival) -> Option<f64> {
    match arrival {
        Arrival::Immediate | Arrival::Trace => None,
        Arrival::Constant { rate }
        | Arrival::Poisson { rate }
        | Arrival::Gamma { rate, .. }
        | Arrival::OnOff { rate, .. } => Some(*rate),
        Arrival::Burst { size, every_s } => Some(f64::from(*size) / every_s),
        Arrival::Ramp { from_rate, to_rate, .. } => Some(from_rate.max(*to_rate)),
        Arrival::Phases { phases, .. } => phases.iter().map(|phase| phase.rate).reduce(f64::max),
    }
}

/// Requests in flight at least, whatever they take: those that come at one moment.
fn least_at_once(arrival: &Arrival) -> u64 {
    match arrival {
        Arrival::Burst { size, .. } => u64::from(*size),
        _ => 1,
    }
}

/// How long a request of the workload is in flight, by what was seen in a wave of shorter ones.
fn in_flight_s(wave: &Wave, output: f64) -> Option<f64> {
    Some((wave.p50_ttft_ms? + wave.p50_tbt_ms.unwrap_or(0.0) * (output - 1.0).max(0.0)) / 1e3)
}

fn agree(before: &Wave, last: &Wave) -> bool {
    let close = |one: Option<f64>, other: Option<f64>, slack: f64| match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= (AGREEMENT * one.max(other)).max(slack),
        (one, other) => one.is_none() && other.is_none(),
    };
    before.at_once.abs_diff(last.at_once) * 4 <= before.at_once
        && close(before.p50_ttft_ms, last.p50_ttft_ms, TTFT_SLACK_MS)
        && close(before.p50_tbt_ms, last.p50_tbt_ms, TBT_SLACK_MS)
}

fn ttft_ms(record: &Record) -> Option<f64> {
    let first = record.first_token_ns.filter(|_| record.outcome == OutcomeKind::Success)?;
    Some(first.saturating_sub(record.sent_ns?) as f64 / 1e6)
}

fn tbt_ms(record: &Record) -> Option<f64> {
    let first = record.first_token_ns.filter(|_| record.outcome == OutcomeKind::Success)?;
    Some(record.last_token_ns?.saturating_sub(first) as f64 / 1e6 / record.tokens_after_first_chunk()?)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_a_wave_end_one_after_the_other() {
        let of = |asked, streams| (0..streams).map(|nth| output(asked, nth, streams)).collect::<Vec<u32>>();
        assert_eq!(of(128, 1), [16]);
        assert_eq!(of(128, 4), [16, 17, 18, 19]);
        assert_eq!(of(4, 4), [1, 2, 3, 4]);
        assert_eq!(of(3, 1), [3]);
        let many = of(1000, 64);
        assert!(many.is_sorted() && (many[0], many[63]) == (16, 79));
        let more = of(16, 64);
        assert!(more.is_sorted() && (more[0], more[63]) == (1, 16));
        assert_eq!(of(100_000, 1024).last(), Some(&128));
    }

    #[test]
    fn waves_agree_when_their_medians_do() {
        let wave = |ttft, tbt| Wave { at_once: 8, p50_ttft_ms: Some(ttft), p50_tbt_ms: tbt };
        assert!(agree(&wave(100.0, Some(10.0)), &wave(95.5, Some(10.4))));
        assert!(!agree(&wave(100.0, Some(10.0)), &wave(94.0, Some(10.0))));
        assert!(!agree(&wave(100.0, Some(10.0)), &wave(100.0, Some(10.6))));
        assert!(agree(&wave(0.3, None), &wave(0.7, None)), "closer than a chunk's time is known");
        assert!(!agree(&wave(1.0, None), &wave(1.0, Some(1.0))));
    }

    #[test]
    fn the_median_of_none_is_none() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0].into_iter()), Some(2.0));
        assert_eq!(median([3.0, 1.0, 9.0].into_iter()), Some(3.0));
    }
}
