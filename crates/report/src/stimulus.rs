//! What was offered, beside what the plan wanted: the times of arrivals and the lengths of prompts.

use sagellm_core::journal::Header;
use sagellm_core::{Arrival, Mode, Nanos, Record};

use crate::damage::Seen;

/// Arrivals from which on their pattern can be told.
pub(crate) const ENOUGH: usize = 30;
/// Whole seconds, and arrivals in each in the mean, from which on their dispersion can be told: with fewer, a single
/// request on the border of two seconds would show.
pub(crate) const ENOUGH_SECONDS: u64 = 10;

const SECOND: Nanos = 1_000_000_000;
/// Seconds are counted from so long before the start: stamps of what is sent on a full second may come out a little
/// early.
const MARGIN: Nanos = 1_000_000;

/// Collects arrivals and lengths. Memory grows by 16 bytes per arrival of a workload with an arrival process.
#[derive(Debug)]
pub(crate) struct Stimulus {
    /// Where the requests have times of their own.
    start: Option<Nanos>,
    begun: Seen,
    /// Scheduled and sent.
    arrivals: Vec<(Nanos, Nanos)>,
    pub(crate) prompts: Prompts,
}

/// Lengths of prompts by the plan and by who answered, over the successes where both are known.
#[derive(Debug, Default)]
pub(crate) struct Prompts {
    pub(crate) requests: u64,
    pub(crate) planned: u64,
    pub(crate) counted: u64,
    /// The least and the greatest difference of a request.
    pub(crate) range: Option<(i64, i64)>,
}

/// The pattern of arrivals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pattern {
    /// Gaps per second between the first and the last.
    pub(crate) rate: Option<f64>,
    /// Standard deviation of the gaps in units of their mean.
    pub(crate) cv: Option<f64>,
    /// Variance of the arrivals per whole second in units of their mean.
    pub(crate) dispersion: Option<f64>,
}

impl Stimulus {
    pub(crate) fn new(header: &Header) -> Self {
        let workload = &header.workload;
        let paced = workload.mode == Mode::Traffic && workload.arrival != Arrival::Immediate;
        Self {
            start: paced.then_some(header.start_ns),
            begun: Seen::default(),
            arrivals: Vec::new(),
            prompts: Prompts::default(),
        }
    }

    /// Takes a measured record that was sent. Of a conversation the first to end is the first turn, whose time is the
    /// plan's; the later ones follow the answers.
    pub(crate) fn push(&mut self, record: &Record, sent: Nanos, success: bool) {
        if self.start.is_some() && record.session.is_none_or(|session| self.begun.insert(record.worker, session)) {
            self.arrivals.push((record.scheduled_ns, sent));
        }
        if let Some(planned) = record.planned_input_tokens.filter(|_| success) {
            self.prompts.push(planned, record.input_tokens);
        }
    }

    /// The planned and the realised pattern; `None` for workloads without an arrival process.
    pub(crate) fn patterns(&self) -> Option<[Pattern; 2]> {
        let start = self.start?.saturating_sub(MARGIN);
        let sorted = |of: fn(&(Nanos, Nanos)) -> Nanos| {
            let mut times: Vec<Nanos> = self.arrivals.iter().map(of).collect();
            times.sort_unstable();
            times
        };
        Some([Pattern::of(&sorted(|times| times.0), start), Pattern::of(&sorted(|times| times.1), start)])
    }
}

impl Prompts {
    fn push(&mut self, planned: u32, counted: u32) {
        self.requests += 1;
        self.planned += u64::from(planned);
        self.counted += u64::from(counted);
        let difference = i64::from(counted) - i64::from(planned);
        let (least, most) = self.range.unwrap_or((difference, difference));
        self.range = Some((least.min(difference), most.max(difference)));
    }

    /// How far the sums differ, as a share of the plan's.
    pub(crate) fn discrepancy(&self) -> Option<f64> {
        (self.planned > 0).then(|| self.counted.abs_diff(self.planned) as f64 / self.planned as f64)
    }
}

impl Pattern {
    /// Of ascending times.
    fn of(times: &[Nanos], start: Nanos) -> Self {
        let (Some(first), Some(last), true) = (times.first(), times.last(), times.len() >= ENOUGH) else {
            return Self { rate: None, cv: None, dispersion: None };
        };
        let gaps = (times.len() - 1) as f64;
        let mean = (last - first) as f64 / gaps;
        let squares: f64 = times.windows(2).map(|pair| ((pair[1] - pair[0]) as f64 - mean).powi(2)).sum();
        let some = |value: f64| (mean > 0.0).then_some(value);
        Self {
            rate: some(1e9 / mean),
            cv: some((squares / (gaps - 1.0)).sqrt() / mean),
            dispersion: dispersion(times, start),
        }
    }
}

fn dispersion(times: &[Nanos], start: Nanos) -> Option<f64> {
    let second = |time: Nanos| time.saturating_sub(start) / SECOND;
    let whole = second(*times.last()?);
    let within: Vec<u64> = times.iter().map(|time| second(*time)).filter(|second| *second < whole).collect();
    if whole < ENOUGH_SECONDS || (within.len() as u64) < whole * ENOUGH_SECONDS {
        return None;
    }
    let mean = within.len() as f64 / whole as f64;
    // Empty seconds add nothing to the sum of squares.
    let squares: f64 = within.chunk_by(|one, next| one == next).map(|of_second| (of_second.len() as f64).powi(2)).sum();
    Some(((squares - within.len() as f64 * mean) / (whole - 1) as f64).max(0.0) / mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_as_computed_by_hand() {
        // 20 in the even seconds and 10 in the odd ones, for 10 s, and one that ends them.
        let counts = [20, 10, 20, 10, 20, 10, 20, 10, 20, 10];
        let spread = |(second, count): (u64, u64)| (0..count).map(move |nth| second * SECOND + nth * SECOND / count);
        let mut times: Vec<Nanos> = (0..).zip(counts).flat_map(spread).collect();
        times.push(10 * SECOND);
        let pattern = Pattern::of(&times, 0);
        assert_eq!(pattern.rate, Some(15.0));
        // Sum of squared deviations 10·25, divided by 9 and by 15.
        assert!((pattern.dispersion.unwrap() - 250.0 / 9.0 / 15.0).abs() < 1e-12);
        // 100 gaps of 1/20 s and 50 of 1/10 s about their mean of 1/15 s.
        let squares = 100.0 * (1.0_f64 / 20.0 - 1.0 / 15.0).powi(2) + 50.0 * (1.0_f64 / 10.0 - 1.0 / 15.0).powi(2);
        assert!((pattern.cv.unwrap() - (squares / 149.0).sqrt() * 15.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_arrivals_have_no_pattern() {
        let times: Vec<Nanos> = (0..29).map(|nth| nth * SECOND).collect();
        assert_eq!(Pattern::of(&times, 0), Pattern { rate: None, cv: None, dispersion: None });
        let times: Vec<Nanos> = (0..30).map(|nth| nth * SECOND).collect();
        assert_eq!(Pattern::of(&times, 0), Pattern { rate: Some(1.0), cv: Some(0.0), dispersion: None });
    }
}
