//! By how much the values of one sample are larger than those of another.

use crate::Interval;
use crate::rank::{MOST_COUNTED, rank_sums};
use crate::special::normal_quantile;

/// A shift between two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// The median of all differences `now − before`.
    pub shift: f64,
    /// Its 95 % interval; `None` when the samples are too small for one (3 and 3 are, 4 and 4 are not).
    pub interval: Option<Interval>,
}

/// The shift of Hodges & Lehmann, "Estimates of location based on rank tests" (1963), with the interval that goes with
/// the test of Mann & Whitney: the shifts that this would not reject (Hollander & Wolfe, "Nonparametric statistical
/// methods", §4.3). Its ranks are exact up to 50 values together and beyond that from a normal distribution; ties make
/// it wider than it need be. Values must be independent. `None` when a sample is empty.
///
/// Of logarithms the shift is that of a ratio.
pub fn hodges_lehmann(before: &[f64], now: &[f64]) -> Option<Shift> {
    let differences = Differences::of(before, now);
    let last = differences.count().checked_sub(1)?;
    let shift = (differences.at(last / 2) + differences.at(last.div_ceil(2))) / 2.0;
    let interval = outer_differences(before.len(), now.len())
        .map(|outer| Interval { low: differences.at(outer), high: differences.at(last - outer) });
    Some(Shift { shift, interval })
}

/// How many differences lie outside of the interval on each side: of the ranks of U, the most that are together no more
/// likely than 2.5 %.
fn outer_differences(n: usize, m: usize) -> Option<u64> {
    const TAIL: f64 = 0.025;
    let all = n + m;
    if all > MOST_COUNTED {
        let pairs = (n * m) as f64;
        let deviation = (pairs * (all + 1) as f64 / 12.0).sqrt();
        let rank = (pairs / 2.0 + normal_quantile(TAIL) * deviation).floor();
        return (rank >= 1.0).then(|| rank as u64 - 1);
    }
    let counts = rank_sums(&(1..=all).collect::<Vec<_>>(), m);
    let total: f64 = counts.iter().sum();
    let mut below = 0.0;
    let least = m * (m + 1) / 2;
    let likely = counts[least..].iter().position(|count| {
        below += count;
        below / total > TAIL
    });
    // The difference with rank u (from zero) is an end when u + 1 or more above it would be too likely.
    likely.and_then(|u| u.checked_sub(1)).map(|u| u as u64)
}

/// All differences of two samples, without ever being written down.
struct Differences {
    before: Vec<f64>,
    now: Vec<f64>,
}

impl Differences {
    fn of(before: &[f64], now: &[f64]) -> Self {
        let [before, now] = [before, now].map(|values| {
            let mut sorted = values.to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            sorted
        });
        Self { before, now }
    }

    fn count(&self) -> u64 {
        self.before.len() as u64 * self.now.len() as u64
    }

    /// The difference with `rank` in ascending order, from zero: the smallest number that has more than `rank`
    /// differences up to it, found by halving the range of all numbers. One of the differences is that number.
    fn at(&self, rank: u64) -> f64 {
        let (mut low, mut high) = (to_order(f64::MIN), to_order(f64::MAX));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.up_to(from_order(middle)) > rank {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        // Not a negative zero.
        from_order(low) + 0.0
    }

    /// How many differences are at most `limit`.
    fn up_to(&self, limit: f64) -> u64 {
        let mut count = 0;
        let mut above = 0;
        for now in &self.now {
            // What is taken from a larger value must be larger.
            while above < self.before.len() && now - self.before[above] > limit {
                above += 1;
            }
            count += (self.before.len() - above) as u64;
        }
        count
    }
}

const SIGN: u64 = 1 << 63;

/// Numbers in the order of their size as whole numbers.
fn to_order(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn from_order(order: u64) -> f64 {
    f64::from_bits(if order & SIGN == 0 { !order } else { order & !SIGN })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rank::tests::{AT_TERM, EARLIER};

    fn close(got: f64, wanted: f64) {
        assert!((got - wanted).abs() < 1e-9, "{got} is not {wanted}");
    }

    #[test]
    fn the_textbook_example() {
        // Hollander & Wolfe, example 4.1: 0.305. The interval holds ranks 9 to 42 of the 50 differences, since
        // P(U ≤ 8) = 0.0200 and P(U ≤ 9) = 0.0276 (numpy, all C(15, 5) ways).
        let got = hodges_lehmann(&EARLIER, &AT_TERM).unwrap();
        close(got.shift, 0.305);
        let interval = got.interval.unwrap();
        close(interval.low, -0.15);
        close(interval.high, 0.76);
    }

    #[test]
    fn small_samples() {
        assert_eq!(hodges_lehmann(&[], &[1.0]), None);
        assert_eq!(hodges_lehmann(&[1.0], &[3.5]), Some(Shift { shift: 2.5, interval: None }));
        let three = hodges_lehmann(&[1.0, 2.0, 3.0], &[2.0, 3.0, 4.0]).unwrap();
        assert_eq!((three.shift, three.interval), (1.0, None), "2/20 is more than 5 %");
        let four = hodges_lehmann(&[1.0, 2.0, 3.0, 4.0], &[11.0, 12.0, 13.0, 14.0]).unwrap();
        assert_eq!(four.interval, Some(Interval { low: 7.0, high: 13.0 }), "2/70 is less");
    }

    #[test]
    fn the_normal_approximation_takes_over_smoothly() {
        // 25 and 25 are counted out, 25 and 26 are not: the ranks hardly move.
        let (counted, approximated) = (outer_differences(25, 25).unwrap(), outer_differences(25, 26).unwrap());
        assert!((1.0..1.05).contains(&(approximated as f64 / counted as f64)), "{counted} {approximated}");
        assert_eq!(outer_differences(50, 1), None, "one value against fifty proves nothing at 5 %");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_rank_is_that_of_the_sorted_differences(
            a in prop::collection::vec(-100.0..100.0_f64, 1..12), b in prop::collection::vec(-100.0..100.0_f64, 1..12),
        ) {
            let mut all: Vec<f64> = a.iter().flat_map(|x| b.iter().map(move |y| y - x)).collect();
            all.sort_by(f64::total_cmp);
            let differences = Differences::of(&a, &b);
            for (rank, difference) in all.iter().enumerate() {
                prop_assert_eq!(differences.at(rank as u64), *difference);
            }
        }

        #[test]
        fn moves_with_a_sample(a in prop::collection::vec(-9.0..9.0_f64, 4..12), by in -100.0..100.0_f64) {
            let moved: Vec<f64> = a.iter().map(|value| value + by).collect();
            let got = hodges_lehmann(&a, &moved).unwrap();
            prop_assert!((got.shift - by).abs() < 1e-9);
            let interval = got.interval.unwrap();
            prop_assert!(interval.low <= got.shift && got.shift <= interval.high);
        }
    }
}
