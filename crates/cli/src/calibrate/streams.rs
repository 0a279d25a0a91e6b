//! How many streams the client can follow: twice as many each time, until its own error shows.

use std::time::Duration;

use sagellm_core::{Clock, Failure, seconds};
use serde::Serialize;

use super::{ClientOptions, Load, Measurement, measure};
use crate::signals::Interrupt;
use crate::terminal::Progress;

/// Share of a time that an error may be: the same that makes a run INVALID.
const MOST_SHARE: f64 = 0.05;
/// Streams that are tried at most: a machine has some 28,000 ports for connections to one address.
const MOST_STREAMS: u32 = 16_384;

/// What the search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct MostStreams {
    /// Bound of the 99th percentile of the error of the TTFT, in milliseconds; `null` without a TTFT.
    ttft_bound_ms: Option<f64>,
    /// Bound of the 99th percentiles of the error of the TBT and of the delay per chunk, in milliseconds.
    tbt_bound_ms: f64,
    /// Most streams at which all were kept; `null` when they were at none.
    within: Option<u32>,
    /// Fewest streams at which one was not; `null` when the search ended before.
    beyond: Option<u32>,
    /// Why it ended.
    end: String,
}

/// What one number of streams came to.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Within,
    /// Which bound was broken, in words.
    Beyond(String),
    /// The simulator did not keep up, so that this was not the load.
    NotOffered(String),
}

impl MostStreams {
    /// Doubles the streams from those of `load`, or halves them until they can be followed, for as long as `budget`.
    pub(super) fn search(
        load: &Load,
        client: &ClientOptions,
        budget: Duration,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> Self {
        let clock = Clock::start();
        let within_budget = |streams: u32, last_s: f64| {
            let spent = seconds(clock.now());
            let expected = last_s.max(load.at_once(streams).answer_s());
            spent + expected <= budget.as_secs_f64()
        };
        let mut last_s = 0.0;
        Self::walk(load, |streams| {
            if !within_budget(streams, last_s) {
                return Ok(None);
            }
            progress.line_unless_quiet(&format!("looking for the most streams: {streams}"));
            let before = clock.now();
            let load = load.at_once(streams);
            let measured = measure(&load, client, interrupt)?;
            measured.check()?;
            last_s = seconds(clock.now() - before);
            Ok(Some(measured))
        })
    }

    /// The search itself: `try_with` measures a number of streams, or finds that there is no time for it.
    fn walk(load: &Load, mut try_with: impl FnMut(u32) -> Result<Option<Measurement>, Failure>) -> Self {
        let bound = |time: Duration| time.as_secs_f64() * 1e3 * MOST_SHARE;
        let ttft_bound_ms = (!load.ttft.is_zero()).then(|| bound(load.ttft));
        let mut found = Self { ttft_bound_ms, tbt_bound_ms: bound(load.itl), ..Self::default() };
        if load.itl.is_zero() {
            found.end = "without a time between tokens there is no bound".into();
            return found;
        }
        let mut streams = load.streams.min(MOST_STREAMS);
        loop {
            let measured = match try_with(streams) {
                Ok(Some(measured)) => measured,
                Ok(None) => {
                    found.end = format!("there was no time left for {streams} streams");
                    return found;
                }
                Err(failure) => {
                    found.end = format!("{streams} streams could not be measured: {}", failure.message);
                    return found;
                }
            };
            match found.judge(load, streams, &measured) {
                Step::NotOffered(why) => {
                    found.end = why;
                    return found;
                }
                Step::Within => {
                    found.within = Some(streams);
                    if found.beyond.is_some() {
                        return found;
                    }
                    if streams == MOST_STREAMS {
                        found.end = format!("no more than {MOST_STREAMS} streams are tried");
                        return found;
                    }
                    streams = (streams * 2).min(MOST_STREAMS);
                }
                Step::Beyond(why) => {
                    found.beyond = Some(streams);
                    found.end = why;
                    if found.within.is_some() || streams == 1 {
                        return found;
                    }
                    streams /= 2;
                }
            }
        }
    }

    fn judge(&self, load: &Load, streams: u32, measured: &Measurement) -> Step {
        let many = if streams == 1 { "one stream".to_owned() } else { format!("{streams} streams") };
        let late = measured.simulator_late_ms.unwrap_or_default();
        if late.p50 > MOST_SHARE * load.at_once(streams).answer_s() * 1e3 {
            return Step::NotOffered(format!(
                "the simulator saturated first: at {many} its answers ended {:.1} ms late (p50)",
                late.p50
            ));
        }
        let errors = [
            ("the error of the TTFT", Some(measured.ttft_error_ms), self.ttft_bound_ms),
            ("the error of the TBT", measured.tbt_error_ms, Some(self.tbt_bound_ms)),
            ("the delay per chunk", measured.client_delay_ms, Some(self.tbt_bound_ms)),
        ];
        for (name, spread, bound) in errors {
            let Some((spread, bound)) = spread.zip(bound).filter(|(spread, bound)| spread.p99 > *bound) else {
                continue;
            };
            let simulator = if late.p99 > self.tbt_bound_ms {
                format!(
                    "; the simulator, which shares the processors, was {:.3} ms late too (p99), so on a machine of its own \
                     the client may follow more",
                    late.p99
                )
            } else {
                "; the simulator was on time, so the client saturated".to_owned()
            };
            return Step::Beyond(format!(
                "at {many} {name} was {:.3} ms (p99), above {bound:.3} ms{simulator}",
                spread.p99
            ));
        }
        Step::Within
    }

    /// In words, in two lines.
    pub(super) fn describe(&self, load: &Load) -> String {
        let found = match (self.within, self.beyond) {
            (Some(within), Some(beyond)) => format!("at least {within}, fewer than {beyond}"),
            (Some(within), None) => format!("at least {within}"),
            (None, Some(beyond)) => format!("fewer than {beyond}"),
            (None, None) => "not found".into(),
        };
        let ttft = self.ttft_bound_ms.map_or(String::new(), |bound| format!("TTFT error {bound:.3} ms, "));
        format!(
            "Most streams at {:.1} ms between tokens: {found}\n  bounds ({:.0} % of each time, p99): {ttft}TBT error and delay \
             per chunk {:.3} ms\n  {}\n",
            load.itl.as_secs_f64() * 1e3,
            MOST_SHARE * 100.0,
            self.tbt_bound_ms,
            self.end
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::load;
    use super::super::measure::tests::measurement;
    use super::*;
    use crate::calibrate::Spread;

    fn flat(value: f64) -> Spread {
        Spread { mean: value, p50: value, p99: value, max: value }
    }

    /// A client whose delay grows with the streams, beside a simulator that does what it is to.
    fn follows(most: u32, load: &Load) -> MostStreams {
        MostStreams::walk(load, |streams| {
            let delay = if streams <= most { 0.1 } else { 0.6 };
            Ok(Some(Measurement { client_delay_ms: Some(flat(delay)), ..measurement() }))
        })
    }

    #[test]
    fn streams_are_doubled_until_the_bound_is_broken() {
        let found = follows(700, &Load { streams: 64, ..load() });
        assert_eq!((found.within, found.beyond), (Some(512), Some(1024)));
        assert_eq!((found.ttft_bound_ms, found.tbt_bound_ms), (Some(2.5), 0.5));
        insta::assert_snapshot!(found.describe(&load()), @r"
        Most streams at 10.0 ms between tokens: at least 512, fewer than 1024
          bounds (5 % of each time, p99): TTFT error 2.500 ms, TBT error and delay per chunk 0.500 ms
          at 1024 streams the delay per chunk was 0.600 ms (p99), above 0.500 ms; the simulator was on time, so the client saturated
        ");
    }

    #[test]
    fn streams_are_halved_where_the_first_are_too_many() {
        let found = follows(20, &Load { streams: 64, ..load() });
        assert_eq!((found.within, found.beyond), (Some(16), Some(32)));
        let none = follows(0, &load());
        assert_eq!((none.within, none.beyond), (None, Some(1)));
        let all = follows(u32::MAX, &load());
        assert_eq!((all.within, all.beyond), (Some(MOST_STREAMS), None));
        assert_eq!(all.end, "no more than 16384 streams are tried");
    }

    #[test]
    fn it_says_which_side_saturated() {
        let search = |measured: Measurement| MostStreams::walk(&load(), |_| Ok(Some(measured.clone()))).end;
        // Answers of half a second: 540 ms at these 50 tokens.
        let slow = Measurement { simulator_late_ms: Some(flat(200.0)), ..measurement() };
        assert_eq!(search(slow), "the simulator saturated first: at 4 streams its answers ended 200.0 ms late (p50)");
        let late =
            Measurement { client_delay_ms: Some(flat(0.6)), simulator_late_ms: Some(flat(5.0)), ..measurement() };
        assert!(search(late).contains("the simulator, which shares the processors, was 5.000 ms late too"));
        let alone = Measurement { tbt_error_ms: Some(flat(0.6)), ..measurement() };
        assert!(search(alone).ends_with("the simulator was on time, so the client saturated"));
    }

    #[test]
    fn it_ends_when_time_is_up_or_nothing_can_be_measured() {
        let mut left = 2;
        let found = MostStreams::walk(&load(), |_| {
            left -= 1;
            Ok((left > 0).then(measurement))
        });
        assert_eq!((found.within, &*found.end), (Some(4), "there was no time left for 8 streams"));
        let failed = MostStreams::walk(&load(), |_| Err(Failure::new(sagellm_core::Exit::Backend, "no ports")));
        assert_eq!((failed.within, &*failed.end), (None, "4 streams could not be measured: no ports"));
        let unbounded = follows(9, &Load { itl: Duration::ZERO, ..load() });
        assert_eq!(unbounded.end, "without a time between tokens there is no bound");
    }
}
