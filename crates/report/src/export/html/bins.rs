//! The course of a run in bins of time, which widen as the run goes on so that their number stays bounded.

use sagellm_core::Nanos;
use serde::Serialize;

/// Most bins while collecting.
const MOST: usize = 1024;
/// Most bins that are shown.
const SHOWN: usize = 360;
/// Width of a bin at first, in nanoseconds.
const FINEST: Nanos = 1_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    /// Requests that started, and ended, within.
    starts: u64,
    ends: u64,
    /// Of these, the time from the beginning of the run, summed: with the counts it gives the mean in flight, and bins
    /// can be joined without loss.
    started: f64,
    ended: f64,
    tokens: u64,
    /// Successes that were sent within: their times to the first token in milliseconds.
    ttft_count: u64,
    ttft_sum: f64,
    ttft_max: f64,
}

/// Collects.
#[derive(Debug)]
pub(super) struct Bins {
    width: Nanos,
    bins: Vec<Bin>,
    last: Nanos,
}

/// Bins as a page shows them: a value per bin; `null` where nothing was sent.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Course {
    /// Width of a bin in seconds.
    width: f64,
    in_flight: Vec<f64>,
    tokens: Vec<f64>,
    ttft_mean: Vec<Option<f64>>,
    ttft_max: Vec<Option<f64>>,
}

impl Default for Bins {
    fn default() -> Self {
        Self { width: FINEST, bins: Vec::new(), last: 0 }
    }
}

impl Bins {
    /// A request from `start` to `end`, in nanoseconds from the beginning.
    pub(super) fn span(&mut self, start: Nanos, end: Nanos) {
        let bin = self.at(end);
        bin.ends += 1;
        bin.ended += end as f64;
        let bin = self.at(start);
        bin.starts += 1;
        bin.started += start as f64;
        self.last = self.last.max(end);
    }

    pub(super) fn tokens(&mut self, at: Nanos, count: u32) {
        self.at(at).tokens += u64::from(count);
    }

    /// The time to the first token of a request sent at `sent`.
    pub(super) fn ttft(&mut self, sent: Nanos, ttft: f64) {
        let bin = self.at(sent);
        bin.ttft_count += 1;
        bin.ttft_sum += ttft;
        bin.ttft_max = bin.ttft_max.max(ttft);
    }

    fn at(&mut self, time: Nanos) -> &mut Bin {
        while time / self.width >= MOST as u64 {
            self.widen();
        }
        // Below MOST, as the loop saw to.
        let place = (time / self.width) as usize;
        if place >= self.bins.len() {
            self.bins.resize(place + 1, Bin::default());
        }
        &mut self.bins[place]
    }

    fn widen(&mut self) {
        self.width = self.width.saturating_mul(2);
        let joined = self.bins.chunks(2).map(|pair| match pair {
            [one, two] => Bin {
                starts: one.starts + two.starts,
                ends: one.ends + two.ends,
                started: one.started + two.started,
                ended: one.ended + two.ended,
                tokens: one.tokens + two.tokens,
                ttft_count: one.ttft_count + two.ttft_count,
                ttft_sum: one.ttft_sum + two.ttft_sum,
                ttft_max: one.ttft_max.max(two.ttft_max),
            },
            rest => rest[0],
        });
        self.bins = joined.collect();
    }

    pub(super) fn finish(mut self) -> Course {
        while self.bins.len() > SHOWN {
            self.widen();
        }
        let width = self.width as f64;
        let seconds = width / 1e9;
        let mut course = Course { width: seconds, ..Course::default() };
        let mut open = 0.0;
        for (place, bin) in self.bins.iter().enumerate() {
            let begin = place as f64 * width;
            // The run may end within its last bin.
            let length = (self.last as f64 - begin).clamp(1.0, width);
            let (starts, ends) = (bin.starts as f64, bin.ends as f64);
            let end = begin + length;
            let area = open * length + (starts * end - bin.started) - (ends * end - bin.ended);
            open += starts - ends;
            let rounded = |value: f64| (value * 100.0).round() / 100.0;
            course.in_flight.push(rounded((area / length).max(0.0)));
            // A sliver at the end would tell of a rate that never was: its rate is over a whole width, the rest of which
            // lies in the bin before.
            let before = place.checked_sub(1).map_or(0.0, |before| self.bins[before].tokens as f64);
            let tokens = bin.tokens as f64 + before * (1.0 - length / width);
            course.tokens.push(rounded(tokens / seconds));
            let some = bin.ttft_count > 0;
            course.ttft_mean.push(some.then(|| rounded(bin.ttft_sum / bin.ttft_count as f64)));
            course.ttft_max.push(some.then(|| rounded(bin.ttft_max)));
        }
        course
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn in_flight_is_the_mean_over_each_bin() {
        let mut bins = Bins::default();
        // Two requests throughout, a third for the second half.
        bins.span(0, 1000 * SECOND);
        bins.span(0, 1000 * SECOND);
        bins.span(500 * SECOND, 1000 * SECOND);
        bins.tokens(250 * SECOND, 7);
        bins.ttft(250 * SECOND, 3.0);
        bins.ttft(250 * SECOND, 5.0);
        let course = bins.finish();
        assert!(course.in_flight.len() <= SHOWN && course.in_flight.len() > SHOWN / 4);
        let mean = course.in_flight.iter().sum::<f64>() / course.in_flight.len() as f64;
        assert!((mean - 2.5).abs() < 0.02, "{mean}");
        assert!((course.in_flight[1] - 2.0).abs() < 1e-9, "{:?}", course.in_flight);
        let tokens: f64 = course.tokens.iter().map(|rate| rate * course.width).sum();
        assert!((tokens - 7.0).abs() < 0.05, "{tokens}");
        assert!(course.ttft_mean.contains(&Some(4.0)) && course.ttft_max.contains(&Some(5.0)));
    }

    #[test]
    fn a_sliver_at_the_end_has_no_rate_of_its_own() {
        let mut bins = Bins::default();
        // A token at the end of each bin, and one just after the last.
        for place in 1..=20 {
            bins.tokens(place * FINEST - 1, 1);
        }
        bins.tokens(20 * FINEST, 1);
        bins.span(0, 20 * FINEST + FINEST / 100);
        let course = bins.finish();
        let rate = 1e9 / FINEST as f64;
        assert_eq!(course.tokens[..20], [rate; 20]);
        assert!((course.tokens[20] - 1.99 * rate).abs() < 0.01 * rate, "{}", course.tokens[20]);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(Bins::default().finish().in_flight, Vec::<f64>::new());
    }
}
