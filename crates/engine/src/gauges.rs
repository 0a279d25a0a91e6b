//! How the load of the engine went over a window.

use sagellm_core::{Nanos, ServerSample};

use crate::stats::EngineLoad;

/// Time between two readings, at first.
const EVERY: Nanos = 5_000_000;

/// Readings that are kept. When there are more, every second one is left out, and the time between them doubles.
const MOST: usize = 512;

/// Readings of the gauges, evenly spread over the window however long it is.
#[derive(Debug)]
pub(crate) struct Readings {
    kept: Vec<(Nanos, EngineLoad)>,
    every: Nanos,
    due: Nanos,
}

impl Default for Readings {
    fn default() -> Self {
        Self { kept: Vec::new(), every: EVERY, due: 0 }
    }
}

impl Readings {
    /// Takes a reading when one is due. Of an engine without work only the moment at which it ended is one.
    pub(crate) fn push(&mut self, at: Nanos, load: EngineLoad) {
        let wanted = match load.is_idle() {
            true => self.kept.last().is_some_and(|(_, last)| !last.is_idle()),
            false => at >= self.due,
        };
        if !wanted {
            return;
        }
        if self.kept.len() == MOST {
            let mut nth = 0;
            self.kept.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.every *= 2;
        }
        self.kept.push((at, load));
        self.due = at + self.every;
    }

    /// As results show them.
    pub(crate) fn samples(&self, capacity_tokens: usize) -> Vec<ServerSample> {
        let sample = |(at, load): &(Nanos, EngineLoad)| ServerSample {
            at_ns: *at,
            running: Some(load.running as f64),
            waiting: Some(load.waiting as f64),
            kv_usage: (capacity_tokens > 0).then(|| load.kv_used_tokens as f64 / capacity_tokens as f64),
            kv_used_tokens: Some(load.kv_used_tokens as f64),
            memory_bytes: None,
        };
        self.kept.iter().map(sample).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(tokens: u64) -> EngineLoad {
        EngineLoad { running: u64::from(tokens > 0), waiting: 0, kv_used_tokens: tokens }
    }

    #[test]
    fn readings_are_spread_over_the_window_however_long_it_is() {
        let mut readings = Readings::default();
        // A step every millisecond for a minute.
        (0..60_000).for_each(|step| readings.push(step * 1_000_000, load(step + 1)));
        let samples = readings.samples(120_000);
        assert!((MOST / 2..=MOST).contains(&samples.len()), "{}", samples.len());
        let gaps: Vec<Nanos> = samples.windows(2).map(|pair| pair[1].at_ns - pair[0].at_ns).collect();
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*most <= 2 * *least, "{least} to {most}");
        assert!(samples.last().unwrap().at_ns > 59_000_000_000);
        let last = samples.last().unwrap();
        assert_eq!(last.kv_usage, last.kv_used_tokens.map(|tokens| tokens / 120_000.0));
    }

    #[test]
    fn the_end_is_seen_at_once_and_told_once() {
        let mut readings = Readings::default();
        for (at, tokens) in [(0, 0), (1, 5), (2, 9), (3, 0), (4, 0), (5, 7)] {
            readings.push(at, load(tokens));
        }
        let tokens: Vec<f64> = readings.samples(10).iter().filter_map(|sample| sample.kv_used_tokens).collect();
        assert_eq!(tokens, [5.0, 0.0]);
    }
}
