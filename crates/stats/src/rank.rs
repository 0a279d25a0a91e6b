//! Whether values of one sample tend to be larger than those of another, by their ranks alone.

use crate::special::normal_above;

/// Up to so many values together the distribution is counted out; the counts, at most C(50, 25), are exact in an `f64`.
pub(crate) const MOST_COUNTED: usize = 50;

/// The result of [`mann_whitney`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankTest {
    /// Pairs in which the value of `now` is larger than that of `before`; equal ones count half.
    pub u: f64,
    /// How likely a `u` so far from half of the pairs, either way, would be if both came from one distribution.
    pub p_value: f64,
    /// Whether the p-value was counted out rather than approximated.
    pub exact: bool,
}

/// The test of Mann & Whitney, "On a test of whether one of two random variables is stochastically larger than the
/// other" (1947). Values must be independent.
///
/// Up to 50 values together, all ways to deal the ranks that there are (equal values share theirs) to the two samples
/// are counted. Beyond that a normal distribution is taken, with corrections for ties and continuity (Lehmann,
/// "Nonparametrics", §1.4). `None` when a sample is empty.
pub fn mann_whitney(before: &[f64], now: &[f64]) -> Option<RankTest> {
    if before.is_empty() || now.is_empty() {
        return None;
    }
    let (n, m) = (before.len(), now.len());
    let ranks = Ranks::of(before, now);
    let least = (m * (m + 1)) as f64 / 2.0;
    let u = ranks.second as f64 / 2.0 - least;
    if n + m <= MOST_COUNTED {
        let counts = rank_sums(&ranks.doubled, m);
        let total: f64 = counts.iter().sum();
        let at = ranks.second;
        let low = counts[..=at].iter().sum::<f64>() / total;
        let high = counts[at..].iter().sum::<f64>() / total;
        return Some(RankTest { u, p_value: (2.0 * low.min(high)).min(1.0), exact: true });
    }
    let (pairs, all) = ((n * m) as f64, (n + m) as f64);
    let variance = pairs / 12.0 * (all + 1.0 - ranks.ties / (all * (all - 1.0)));
    let z = ((u - pairs / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    // Without variance all values are equal.
    let p_value = if variance > 0.0 { 2.0 * normal_above(z) } else { 1.0 };
    Some(RankTest { u, p_value, exact: false })
}

struct Ranks {
    /// Twice the rank of every value, so that shared ranks are whole numbers too.
    doubled: Vec<usize>,
    /// Their sum over the second sample.
    second: usize,
    /// Σ (t³ − t) over groups of t equal values.
    ties: f64,
}

impl Ranks {
    fn of(first: &[f64], second: &[f64]) -> Self {
        let of_second = second.iter().map(|value| (*value, true));
        let mut all: Vec<(f64, bool)> = first.iter().map(|value| (*value, false)).chain(of_second).collect();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut ranks = Self { doubled: Vec::with_capacity(all.len()), second: 0, ties: 0.0 };
        for group in all.chunk_by(|a, b| a.0 == b.0) {
            let size = group.len();
            // The mean of the ranks from the next one on, doubled.
            let doubled = 2 * ranks.doubled.len() + size + 1;
            ranks.doubled.extend(std::iter::repeat_n(doubled, size));
            ranks.second += doubled * group.iter().filter(|(_, second)| *second).count();
            ranks.ties += (size as f64).powi(3) - size as f64;
        }
        ranks
    }
}

/// In how many ways `chosen` of the ranks add up to each sum.
pub(crate) fn rank_sums(ranks: &[usize], chosen: usize) -> Vec<f64> {
    let most: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0; most + 1]; chosen + 1];
    ways[0][0] = 1.0;
    for (place, rank) in ranks.iter().enumerate() {
        for size in (0..chosen.min(place + 1)).rev() {
            let (fewer, more) = ways.split_at_mut(size + 1);
            for (sum, way) in fewer[size].iter().enumerate().take(most + 1 - rank) {
                more[0][sum + rank] += way;
            }
        }
    }
    ways.swap_remove(chosen)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hollander & Wolfe, "Nonparametric statistical methods" (1973), p. 69: permeability of the human chorioamnion at
    /// term, and at 12 to 26 weeks.
    pub(crate) const AT_TERM: [f64; 10] = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
    pub(crate) const EARLIER: [f64; 5] = [1.15, 0.88, 0.90, 0.74, 1.21];

    #[test]
    fn the_textbook_example() {
        // The book and R's help for wilcox.test: W = 35, one-sided p = 0.1272.
        let test = mann_whitney(&EARLIER, &AT_TERM).unwrap();
        assert_eq!((test.u, test.exact), (35.0, true));
        assert!((test.p_value / 2.0 - 0.1272).abs() < 5e-5, "{}", test.p_value);
    }

    #[test]
    fn the_tabulated_critical_values() {
        // Mann & Whitney's table: with 5 and 5, P(U ≤ 2) = 0.016 and P(U ≤ 3) = 0.028; with 8 and 8, U = 13 is the
        // largest that is significant at 5 % (two-sided).
        let counts = rank_sums(&(1..=10).collect::<Vec<_>>(), 5);
        let total: f64 = counts.iter().sum();
        assert_eq!(total, 252.0, "C(10, 5)");
        let at_most = |u: usize| counts[..=15 + u].iter().sum::<f64>() / total;
        assert_eq!((at_most(2), at_most(3)), (4.0 / 252.0, 7.0 / 252.0));
        let counts = rank_sums(&(1..=16).collect::<Vec<_>>(), 8);
        let total: f64 = counts.iter().sum();
        let at_most = |u: usize| counts[..=36 + u].iter().sum::<f64>() / total;
        assert!(at_most(13) <= 0.025 && at_most(14) > 0.025);
    }

    #[test]
    fn ties_are_counted_out() {
        // Of 3 3 5 | 3 5 7 the ranks are 2 2 4.5 | 2 4.5 6. Of the 20 ways to choose three, 4.5 + 2 + 6 = 12.5 or more
        // is the sum of 4.5 + 4.5 + 6 (1 way) and 2 + 4.5 + 6 (3 · 2 = 6 ways): p = 2 · 7/20.
        let test = mann_whitney(&[3.0, 3.0, 5.0], &[3.0, 5.0, 7.0]).unwrap();
        assert_eq!(test.u, 6.5);
        assert!((test.p_value - 0.7).abs() < 1e-12, "{}", test.p_value);
        assert_eq!(mann_whitney(&[1.0; 4], &[1.0; 4]).unwrap().p_value, 1.0);
    }

    #[test]
    fn many_values_agree_with_scipy() {
        // a = [(i * 37 % 101) / 10 for i in range(40)]; b = [(i * 53 % 97) // 3 for i in range(45)]
        // scipy.stats.mannwhitneyu(b, a, method="asymptotic")
        let a: Vec<f64> = (0..40).map(|i| f64::from(i * 37 % 101) / 10.0).collect();
        let b: Vec<f64> = (0..45).map(|i| f64::from(i * 53 % 97 / 3)).collect();
        let test = mann_whitney(&a, &b).unwrap();
        assert_eq!((test.u, test.exact), (1431.5, false));
        assert!((test.p_value / 2.9123231654245292e-06 - 1.0).abs() < 1e-9, "{}", test.p_value);
        assert_eq!(mann_whitney(&[1.0; 40], &[1.0; 40]).unwrap().p_value, 1.0, "all are equal");
    }

    #[test]
    fn nothing_is_no_sample() {
        assert_eq!((mann_whitney(&[], &[1.0]), mann_whitney(&[1.0], &[])), (None, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn u_is_what_counting_pairs_gives(
            a in prop::collection::vec(0_u8..20, 1..40), b in prop::collection::vec(0_u8..20, 1..40),
        ) {
            let [a, b] = [a, b].map(|values| values.into_iter().map(f64::from).collect::<Vec<_>>());
            let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x, y)));
            let counted: f64 =
                pairs.map(|(x, y)| if y > x { 1.0 } else if y == x { 0.5 } else { 0.0 }).sum();
            let test = mann_whitney(&a, &b).unwrap();
            prop_assert_eq!(test.u, counted);
            prop_assert!(test.p_value > 0.0 && test.p_value <= 1.0);
        }
    }
}
