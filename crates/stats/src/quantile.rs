//! Quantiles, and intervals for them that assume no distribution.

use crate::binomial::Binomial;
use crate::block::{correlated_block_length, variance_of_mean};
use crate::student::{Z_975, t_975};
use crate::{Batches, Interval};

/// Share of cases that each end of an interval may miss.
const TAIL: f64 = 0.025;

/// The `q` quantile of ascending values by linear interpolation between order statistics: type 7 of Hyndman & Fan,
/// "Sample quantiles in statistical packages" (1996), which is NumPy's default. `q` is held within 0 and 1.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let (below, above, weight) = interpolate(sorted.len() as u64, q)?;
    let (below, above) = (sorted[below as usize], sorted[above as usize]);
    // Written so that equal neighbours give exactly their value.
    Some(below + (above - below) * weight)
}

/// The ranks, counted from zero, between which the `q` quantile of `n` values lies, and the weight of the upper one.
pub(crate) fn interpolate(n: u64, q: f64) -> Option<(u64, u64, f64)> {
    let last = n.checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * last as f64;
    let below = (place.floor() as u64).min(last);
    Some((below, (below + 1).min(last), place - below as f64))
}

/// The 95 % interval of the `q` quantile from ascending values, whatever their distribution: the order statistics outside
/// of which the true quantile lies with 2.5 % on either side (David & Nagaraja, "Order statistics", §7.1), interpolated
/// between the two nearest ranks as by Nyblom, "Note on interpolated order statistics" (1992), without which the
/// interval would be wider than it need be. `None` when there are too few values for both ends: the median needs 6, p95
/// 72, p99 368.
///
/// The values must be independent; for others see [`Ascending::quantile_estimate`](crate::Ascending::quantile_estimate).
pub fn quantile_interval(sorted: &[f64], q: f64) -> Option<Interval> {
    let n = sorted.len() as u64;
    let (low, high) = interval_places(n, q, n as f64).filter(|_| Some(n) >= values_for_quantile_interval(q))?;
    Some(Interval { low: at(low, |rank| sorted[rank as usize]), high: at(high, |rank| sorted[rank as usize]) })
}

/// Most independent values that a value may count as. Batches that happen to be alike make the values look worth more than
/// they are; a limit of 1 would make the interval of independent values too wide in the half of all runs.
const MAX_WORTH: f64 = 1.5;

/// The number of independent values that would have an interval of the `q` quantile as wide as these, in the order in which
/// they were made: the variance that the share of values above the quantile would have if they were independent, over the
/// one that batches show; less what is lost since batches are few, the square of 1.96 over Student's t. From 1 to 1.5 n.
pub(crate) fn quantile_worth(values: &[f64], limit: f64, batches: &Batches) -> Option<f64> {
    let n = values.len() as f64;
    if batches.n() != values.len() {
        return None;
    }
    let above = |values: &[f64]| values.iter().filter(|value| **value > limit).count() as f64;
    let sums: Vec<(f64, f64)> = batches.ranges(1).map(|it| (above(&values[it.clone()]), it.len() as f64)).collect();
    let (over, of) = sums.iter().fold((0.0, 0.0), |sum, batch| (sum.0 + batch.0, sum.1 + batch.1));
    let share: f64 = over / of;
    // Without a value above it in any batch there is nothing to see.
    let Some(relative) = batches.relative_variance(&sums) else { return Some(n) };
    let few = batches.factor() / Z_975;
    Some((share * (1.0 - share) / (relative * share * share) / (few * few)).min(MAX_WORTH * n).max(1.0))
}

/// The number of independent values that would know the `q` quantile as well as these, in the order in which they were
/// made, where their correlation may be judged by the values themselves. `None` of nothing.
///
/// All of them where neighbours are not alike. Else it is n times the variance that the share of values above the quantile
/// would have if they were independent, over the one that blocks of that length show; less what
/// is lost since these are few, the square of 1.96 over Student's t. At least 1 and never more than n.
pub fn quantile_effective_n(values: &[f64], q: f64) -> Option<f64> {
    let n = values.len() as f64;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let limit = quantile(&sorted, q)?;
    let above: Vec<f64> = values.iter().map(|value| f64::from(u8::from(*value > limit))).collect();
    let Some(block) = correlated_block_length(&above) else { return Some(n) };
    let share = crate::mean(&above)?;
    let few = t_975((values.len() / block) as f64 - 1.0) / Z_975;
    let seen = variance_of_mean(&above, block)?;
    Some((share * (1.0 - share) / seen / (few * few)).clamp(1.0, n))
}

/// The value at a place between two ranks, which count from zero.
pub(crate) fn at(place: f64, value: impl Fn(u64) -> f64) -> f64 {
    let (below, weight) = (place.floor(), place.fract());
    let low = value(below as u64);
    // Without weight the upper neighbour plays no part; equal neighbours give exactly their value.
    if weight == 0.0 { low } else { low + (value(below as u64 + 1) - low) * weight }
}

/// The places, counted from zero, of the ends of the interval of the `q` quantile of `n` values that are worth so many
/// independent ones: they lie as far out, in shares, as they would among those. An end that would lie beyond all values is
/// the outermost one.
pub(crate) fn interval_places(n: u64, q: f64, worth: f64) -> Option<(f64, f64)> {
    if n == 0 || !(q > 0.0 && q < 1.0) {
        return None;
    }
    let (last, worth) = ((n - 1) as f64, worth.floor().max(1.0));
    // A place stands for the share of all values that lies below it.
    let scaled = |place: f64| (place + 1.0) * (n + 1) as f64 / (worth + 1.0) - 1.0;
    let low = lower_place(worth as u64, q).map_or(0.0, scaled);
    let high = lower_place(worth as u64, 1.0 - q).map_or(last, |place| scaled(worth - 1.0 - place));
    Some((low.clamp(0.0, last), high.clamp(0.0, last)))
}

/// The place among `n` independent values below which the true `q` quantile lies with a probability of 2.5 %.
fn lower_place(n: u64, q: f64) -> Option<f64> {
    if !(q > 0.0 && q < 1.0) || n == 0 {
        return None;
    }
    // How many of the n values lie below the true quantile is binomial; its distribution function is walked once. The
    // value with rank r, which counts from one, is above the quantile when fewer than r lie below it.
    let mut below = 0.0;
    for (rank, probability) in Binomial::around_its_mode(n as usize, q).terms() {
        let up_to = below + probability;
        if up_to > TAIL {
            let rank = rank as f64;
            // Even the smallest value is above the quantile too often.
            let odds = rank * (1.0 - q) / ((n as f64 - rank) * q);
            return (rank >= 1.0).then(|| rank - 1.0 + 1.0 / (1.0 + odds * (up_to - TAIL) / (TAIL - below)));
        }
        below = up_to;
    }
    None
}

/// The fewest values for which [`quantile_interval`] has both ends. `None` unless 0 < q < 1.
pub fn values_for_quantile_interval(q: f64) -> Option<u64> {
    // All values on one side of the quantile must be less likely than what one end may miss.
    (q > 0.0 && q < 1.0).then(|| (TAIL.ln() / q.max(1.0 - q).ln()).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SplitMix64;

    fn count_to(n: usize) -> Vec<f64> {
        (1..=n).map(|value| value as f64).collect()
    }

    #[test]
    fn agrees_with_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, .25, .5, .9, 1])
        let values = [1.0, 2.0, 4.0, 8.0];
        let wanted = [(0.0, 1.0), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)];
        for (q, value) in wanted {
            let got = quantile(&values, q).unwrap();
            assert!((got - value).abs() < 1e-12, "q {q}: {got} is not {value}");
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
    }

    #[test]
    fn textbook_intervals_of_the_median() {
        // The ranks of the sign-test interval for the median, as tabulated: n = 6 → (1, 6), 10 → (2, 9), 20 → (6, 15),
        // 100 → (40, 61). The ends lie between them and the next ones.
        for (n, low, high) in [(6, 1.0, 6.0), (10, 2.0, 9.0), (20, 6.0, 15.0), (100, 40.0, 61.0)] {
            let interval = quantile_interval(&count_to(n), 0.5).unwrap();
            assert_eq!((interval.low.floor(), interval.high.ceil()), (low, high), "n = {n}");
            assert!((interval.low + interval.high - (n + 1) as f64).abs() < 1e-9, "the median's is symmetric");
        }
    }

    #[test]
    fn the_place_between_ranks_written_out() {
        // n = 10: P(B < 2) = 11/1024 and P(B < 3) = 56/1024 about 25.6/1024. By Hettmansperger & Sheather (1986), whom
        // Nyblom generalises, I = 14.6/45 and the weight of the third value is (10 − 2) I / (2 + (10 − 4) I).
        let share = 14.6 / 45.0;
        let weight = 8.0 * share / (2.0 + 6.0 * share);
        let low = quantile_interval(&count_to(10), 0.5).unwrap().low;
        assert!((low - 2.0 - weight).abs() < 1e-12, "{low}");
    }

    #[test]
    fn fewer_independent_values_widen_the_interval() {
        let (all, quarter) = (interval_places(1000, 0.9, 1000.0).unwrap(), interval_places(1000, 0.9, 250.0).unwrap());
        let widths = (quarter.1 - quarter.0) / (all.1 - all.0);
        assert!((1.9..2.1).contains(&widths), "√4, not {widths}");
        let (low, high) = interval_places(1000, 0.99, 300.0).unwrap();
        assert_eq!((low < 990.0, high), (true, 999.0), "no value lies beyond the last");
        assert_eq!(interval_places(10, 0.5, 1.0), Some((0.0, 9.0)));
    }

    #[test]
    fn the_worth_of_batches_written_out() {
        // Above the limit in four batches of 25: 11, 13, 12, 14 of 100 values, the share is a half. Their variance is
        // Σ (x/50 − 1/4)² · 4/3 relative to the share, 0.25/that is what independent values would need.
        let batches = Batches::few(100).unwrap();
        let counts = [11, 13, 12, 14];
        let value = |at: usize| f64::from(u8::from(at % 25 < counts[at / 25]));
        let values: Vec<f64> = (0..100).map(value).collect();
        let sums: Vec<(f64, f64)> = counts.iter().map(|count| (*count as f64, 25.0)).collect();
        let variance = 0.25 * batches.relative_variance(&sums).unwrap();
        let few = t_975(3.0) / Z_975;
        let wanted = (0.25 / variance / few / few).min(150.0);
        let got = quantile_worth(&values, 0.5, &batches).unwrap();
        assert!((got - wanted).abs() < 1e-9 && got < 150.0, "{got} is not {wanted}");
        assert_eq!(quantile_worth(&[1.0; 100], 1.0, &batches), Some(100.0), "nothing lies above");
        assert_eq!(quantile_worth(&values[..99], 0.5, &batches), None, "the batches are of other values");
    }

    #[test]
    fn correlation_counts_where_the_quantile_lies() {
        // Low and high values in long spells; the tail does not know of them.
        let mut random = SplitMix64::new(4);
        let mut high = false;
        let mut next = || {
            high ^= random.below(50) == 0;
            f64::from(u8::from(high)) + 0.5 * random.unit()
        };
        let values: Vec<f64> = (0..4000).map(|_| next()).collect();
        let n = values.len() as f64;
        assert!(quantile_effective_n(&values, 0.5).unwrap() < n / 20.0);
        assert!(quantile_effective_n(&values, 0.999).unwrap() > n / 2.0);
        assert_eq!(quantile_effective_n(&[], 0.5), None);
    }

    #[test]
    fn the_fewest_values_for_an_interval() {
        for (q, fewest) in [(0.5, 6), (0.95, 72), (0.99, 368)] {
            assert_eq!(values_for_quantile_interval(q), Some(fewest as u64));
            assert_eq!(quantile_interval(&count_to(fewest - 1), q), None, "q = {q}");
            assert!(quantile_interval(&count_to(fewest), q).is_some(), "q = {q}");
        }
        assert_eq!(quantile_interval(&[], 0.5), None);
        assert_eq!(quantile_interval(&count_to(100), 1.0), None);
        assert_eq!(quantile_interval(&count_to(100), 0.0), None);
    }

    #[test]
    fn covers_the_true_quantile_at_least_as_often_as_it_says() {
        let mut random = SplitMix64::new(11);
        let truth = -(0.1_f64).ln();
        let runs = 2000;
        let covered = (0..runs)
            .filter(|_| {
                let mut values: Vec<f64> = (0..120).map(|_| -(1.0 - random.unit()).ln()).collect();
                values.sort_by(f64::total_cmp);
                let interval = quantile_interval(&values, 0.9).unwrap();
                (interval.low..=interval.high).contains(&truth)
            })
            .count();
        let share = covered as f64 / f64::from(runs);
        assert!(share > 0.945, "covered {share}");
    }

    proptest! {
        #[test]
        fn lies_between_its_neighbours(mut values in prop::collection::vec(-1e9..1e9_f64, 1..200), q in 0.0..1.0_f64) {
            values.sort_by(f64::total_cmp);
            let got = quantile(&values, q).unwrap();
            prop_assert!(values[0] <= got && got <= *values.last().unwrap());
            if let Some(interval) = quantile_interval(&values, q) {
                prop_assert!(interval.low <= got && got <= interval.high);
            }
        }

        #[test]
        fn grows_with_q(mut values in prop::collection::vec(-1e9..1e9_f64, 1..50), a in 0.0..1.0_f64, b in 0.0..1.0_f64) {
            values.sort_by(f64::total_cmp);
            prop_assert!(quantile(&values, a.min(b)) <= quantile(&values, a.max(b)));
        }
    }
}
