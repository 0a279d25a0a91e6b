//! Where a series begins and ceases to be steady.

use std::ops::Range;

/// Values that are averaged before anything is decided.
const BATCH: usize = 5;

/// Fewest batches that can show a steady state.
const FEWEST: usize = 10;

/// The steady part of `values`, which are in the order in which they were made: MSER-5 (White, Cobb & Spratt, "A
/// comparison of five steady-state truncation heuristics for simulation", 2000) from the beginning, and the same from
/// the end, for what a run does when no new work comes.
///
/// Means of five values are taken; what is cut off is as many of them, up to half, as make the standard error of the mean
/// of the rest the smallest. If that is a half, the series never settled: `None`, as with fewer than 50 values, or when
/// both cuts together leave less than half.
pub fn steady(values: &[f64]) -> Option<Range<usize>> {
    let batches: Vec<f64> = values.chunks_exact(BATCH).map(|batch| batch.iter().sum::<f64>() / BATCH as f64).collect();
    if batches.len() < FEWEST {
        return None;
    }
    let start = cut(batches.iter().copied())?;
    let end = batches.len() - cut(batches.iter().rev().copied())?;
    let whole = values.len() - values.len() % BATCH;
    let end = if end * BATCH == whole { values.len() } else { end * BATCH };
    (end >= start * BATCH + values.len() / 2).then(|| start * BATCH..end)
}

/// How many of the first batches to cut off; `None` when it would be half of them.
fn cut(batches: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator) -> Option<usize> {
    let n = batches.len();
    let mut best = (f64::INFINITY, 0);
    // Mean and squared distances of the batches from a place to the end, which grow backwards (Welford).
    let (mut mean, mut squares) = (0.0, 0.0);
    for (count, value) in (1..).zip(batches.rev()) {
        let from_former = value - mean;
        mean += from_former / count as f64;
        squares += from_former * (value - mean);
        let error = squares / (count * count) as f64;
        // The smallest of equally good cuts is the last that is seen.
        if 2 * count >= n && error <= best.0 {
            best = (error, n - count);
        }
    }
    (best.1 < n / 2).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    fn noise(n: usize, seed: u64) -> Vec<f64> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| 10.0 + random.unit()).collect()
    }

    #[test]
    fn cuts_off_where_the_standard_error_is_smallest() {
        // Batches 9 1 2 1 2 1 2 1 2 1: after the first one the squares about 13/9 add up to 20/9, over 9²: less than
        // with it, and than after any further cut, which leaves fewer alike values.
        let batches = [9.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0];
        assert_eq!(cut(batches.into_iter()), Some(1));
        let values: Vec<f64> = batches.iter().flat_map(|value| [*value; BATCH]).collect();
        assert_eq!(steady(&values), Some(5..50));
    }

    #[test]
    fn agrees_with_the_definition() {
        let mut values = noise(300, 4);
        for (place, value) in values.iter_mut().take(40).enumerate() {
            *value += 4.0 * (1.0 - place as f64 / 40.0);
        }
        let by_definition = (0..=values.len() / 2)
            .min_by(|a, b| {
                let error = |from: usize| {
                    let rest = &values[from..];
                    let mean = crate::mean(rest).unwrap();
                    rest.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (rest.len() as f64).powi(2)
                };
                error(*a).total_cmp(&error(*b))
            })
            .unwrap();
        assert_eq!(cut(values.iter().copied()), Some(by_definition));
    }

    #[test]
    fn finds_ramps_at_both_ends() {
        let mut values = noise(1003, 1);
        values.iter_mut().take(100).for_each(|value| *value += 5.0);
        values.iter_mut().rev().take(53).for_each(|value| *value -= 6.0);
        let steady = steady(&values).unwrap();
        assert!((95..=115).contains(&steady.start) && (935..=950).contains(&steady.end), "{steady:?}");
    }

    #[test]
    fn keeps_most_of_what_is_steady_throughout() {
        let kept: Vec<usize> = (0..100).filter_map(|seed| Some(steady(&noise(500, seed))?.len())).collect();
        assert!(kept.len() >= 90, "{} of 100", kept.len());
        assert!(kept.iter().sum::<usize>() / kept.len() > 400);
        assert_eq!(steady(&[3.0; 52]), Some(0..52), "without variation nothing is cut off");
    }

    #[test]
    fn a_drift_is_not_steady() {
        let values: Vec<f64> = (0..500).map(f64::from).collect();
        assert_eq!(steady(&values), None);
        assert_eq!(steady(&noise(49, 1)), None, "too few");
    }
}
