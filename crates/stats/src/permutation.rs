//! A test of any statistic: how would it be if the labels meant nothing?

use crate::SplitMix64;

/// Up to so many ways to label the values, all of them are tried.
const MOST_EXACT: f64 = 20_000.0;

/// Otherwise so many, drawn at random.
const DRAWN: u32 = 9_999;

/// The result of [`permutation_test`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PermutationTest {
    /// The statistic of the samples as they are.
    pub statistic: f64,
    /// How often chance alone would make it at least so large, either way.
    pub p_value: f64,
    /// Whether all ways to label the values were tried.
    pub exact: bool,
}

/// Tests `statistic`, which is about zero when the samples are alike, such as a difference of means: the share of ways
/// to deal the values to two samples of these sizes whose statistic is at least as far from zero (Fisher, "The design of
/// experiments", 1935). Values must be independent.
///
/// All ways are tried where there are up to 20 000; otherwise 9999 are drawn, and the samples as they are count as one
/// more, without which the p-value would be too small (Phipson & Smyth, "Permutation p-values should never be zero",
/// 2010). `None` when a sample is empty or its statistic is not a number.
pub fn permutation_test(
    before: &[f64],
    now: &[f64],
    seed: u64,
    mut statistic: impl FnMut(&[f64], &[f64]) -> f64,
) -> Option<PermutationTest> {
    let observed = statistic(before, now);
    if before.is_empty() || now.is_empty() || !observed.is_finite() {
        return None;
    }
    // Sums in another order round differently.
    let limit = observed.abs() * (1.0 - 1e-12);
    let mut values = [before, now].concat();
    let n = before.len();
    let mut reached = 0_u32;
    let mut tried = 0_u32;
    let mut visit = |first: &[f64], second: &[f64]| {
        tried += 1;
        reached += u32::from(statistic(first, second).abs() >= limit);
    };
    let exact = ways(values.len(), n) <= MOST_EXACT;
    if exact {
        each_choice(&values, n, &mut visit);
    } else {
        visit(before, now);
        let mut random = SplitMix64::new(seed);
        for _ in 0..DRAWN {
            // As many steps of a shuffle (Fisher & Yates) as fill the first sample.
            for place in 0..n {
                let other = place + random.below(values.len() - place);
                values.swap(place, other);
            }
            visit(&values[..n], &values[n..]);
        }
    }
    Some(PermutationTest { statistic: observed, p_value: f64::from(reached) / f64::from(tried), exact })
}

/// Binomial coefficient.
fn ways(all: usize, chosen: usize) -> f64 {
    (0..chosen.min(all - chosen)).map(|step| (all - step) as f64 / (step + 1) as f64).product::<f64>().round()
}

/// Calls `visit` with every choice of `chosen` of the values and the rest of them.
fn each_choice(values: &[f64], chosen: usize, visit: &mut impl FnMut(&[f64], &[f64])) {
    let mut places: Vec<usize> = (0..chosen).collect();
    loop {
        let first: Vec<f64> = places.iter().map(|place| values[*place]).collect();
        let rest = (0..values.len()).filter(|place| places.binary_search(place).is_err());
        let second: Vec<f64> = rest.map(|place| values[place]).collect();
        visit(&first, &second);
        // The next choice in lexicographic order: the last place that can move does, those behind it follow.
        let Some(last) = (0..chosen).rev().find(|at| places[*at] < values.len() - chosen + at) else { return };
        let next = places[last] + 1;
        places[last..].iter_mut().enumerate().for_each(|(step, place)| *place = next + step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(before: &[f64], now: &[f64]) -> f64 {
        crate::mean(now).unwrap() - crate::mean(before).unwrap()
    }

    #[test]
    fn few_values_are_counted_out() {
        // Of the 20 ways only the two extreme ones reach a difference of 3.
        let test = permutation_test(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 1, difference).unwrap();
        assert_eq!(test, PermutationTest { statistic: 3.0, p_value: 0.1, exact: true });
        let same = permutation_test(&[2.0, 2.0], &[2.0, 2.0, 2.0], 1, difference).unwrap();
        assert_eq!(same.p_value, 1.0);
    }

    #[test]
    fn agrees_with_numpy() {
        // The share of itertools.combinations(range(11), 5) whose difference of means is as large, in NumPy: 14 of 462.
        let a = [12.1, 11.8, 12.6, 12.3, 11.9, 12.0];
        let b = [12.4, 12.9, 12.2, 13.1, 12.7];
        let test = permutation_test(&a, &b, 1, difference).unwrap();
        assert!(test.exact);
        assert!((test.p_value - 0.030303030303030304).abs() < 1e-12, "{}", test.p_value);
    }

    #[test]
    fn many_values_are_drawn_and_never_give_zero() {
        let a: Vec<f64> = (0..30).map(f64::from).collect();
        let b: Vec<f64> = (100..130).map(f64::from).collect();
        let test = permutation_test(&a, &b, 1, difference).unwrap();
        assert_eq!((test.p_value, test.exact), (1e-4, false));
        let by_two: Vec<f64> = a.iter().map(|value| value + 2.0).collect();
        let test = permutation_test(&a, &by_two, 1, difference).unwrap();
        // The t-test of scipy gives 0.3826; the standard error of 9999 draws is 0.005.
        assert!((test.p_value - 0.3826).abs() < 0.02, "{}", test.p_value);
    }

    #[test]
    fn every_choice_comes_once() {
        let mut seen = std::collections::HashSet::new();
        each_choice(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0], 3, &mut |first, second| {
            assert_eq!(first.iter().chain(second).sum::<f64>(), 63.0);
            assert!(seen.insert(first.iter().sum::<f64>() as u64));
        });
        assert_eq!(seen.len(), 20);
        assert_eq!((ways(6, 3), ways(60, 1), ways(5, 5)), (20.0, 60.0, 1.0));
    }

    #[test]
    fn nothing_is_no_sample() {
        assert_eq!(permutation_test(&[], &[1.0], 1, |_, _| 0.0), None);
        assert_eq!(permutation_test(&[1.0], &[1.0], 1, |_, _| f64::NAN), None);
    }
}
