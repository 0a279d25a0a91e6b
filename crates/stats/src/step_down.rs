//! Many figures of two groups of runs: which of them differ, if the labels of the runs meant nothing?

use crate::SplitMix64;
use crate::verdict::SIGNIFICANCE;

/// Up to so many ways to label the runs, all of them are tried.
const MOST_EXACT: f64 = 20_000.0;

/// Otherwise so many, drawn at random.
const DRAWN: u32 = 9_999;

/// P-values of many figures of the same runs, in the order of the figures, adjusted so that to call those below α
/// changed is wrong about any of them with at most probability α, however they depend on each other.
///
/// `figures` holds for each figure its value in every run, `None` where a run has none. The first `before` runs are one
/// group, the others the second. Runs must be independent; figures of one run need not be.
///
/// This is the step-down max-T of Westfall & Young, "Resampling-based multiple testing" (1993), algorithm 4.1. The labels
/// of the runs are dealt anew, and with them all figures at once. A figure is compared with the largest statistic that
/// chance gave, over all figures, to those that are no more conspicuous than it is. The statistic is the difference of
/// the means over its standard error (Welch), either way. The p-value of one figure alone is that of a permutation test
/// (Fisher, "The design of experiments", 1935), and the smallest that there can be does not depend on their number: it is
/// one of all ways to label the runs, or two where the groups are of one size.
///
/// All ways are tried where there are up to 20 000; otherwise 9999 are drawn, and the runs as they are count as one more
/// (Phipson & Smyth, "Permutation p-values should never be zero", 2010).
pub fn step_down(figures: &[Vec<Option<f64>>], before: usize, seed: u64) -> Vec<f64> {
    let Some(runs) = figures.first().map(Vec::len) else { return Vec::new() };
    let observed: Vec<f64> = figures.iter().map(|values| welch(values, |run| run < before)).collect();
    let mut order: Vec<usize> = (0..figures.len()).collect();
    order.sort_by(|one, other| observed[*other].total_cmp(&observed[*one]));
    let mut reached = vec![0_u32; figures.len()];
    let mut tried = 0_u32;
    let mut visit = |first: &[bool]| {
        tried += 1;
        let mut largest = 0.0_f64;
        for figure in order.iter().rev() {
            largest = largest.max(welch(&figures[*figure], |run| first[run]));
            // Sums in another order round differently.
            reached[*figure] += u32::from(largest >= observed[*figure] * (1.0 - 1e-9));
        }
    };
    if ways(runs, before) <= MOST_EXACT {
        each_choice(runs, before, &mut visit);
    } else {
        let mut labels: Vec<bool> = (0..runs).map(|run| run < before).collect();
        visit(&labels);
        let mut random = SplitMix64::new(seed);
        for _ in 0..DRAWN {
            // As many steps of a shuffle (Fisher & Yates) as fill the first group.
            for place in 0..before {
                labels.swap(place, place + random.below(runs - place));
            }
            visit(&labels);
        }
    }
    let mut adjusted = vec![1.0; figures.len()];
    let mut largest = 0.0_f64;
    for figure in order {
        largest = largest.max(f64::from(reached[figure]) / f64::from(tried));
        adjusted[figure] = largest;
    }
    adjusted
}

/// The fewest runs, added to either group, with which a change can be significant: with which [`step_down`] can come below
/// 5 %, for which there have to be two runs in each group, and [`hodges_lehmann`](crate::hodges_lehmann) has an interval, each
/// end of which is one of all ways to label the runs.
pub fn runs_missing(before: usize, now: usize) -> u64 {
    let enough = |more: &usize| {
        let (before, now) = (before + more, now + more);
        before.min(now) > 1 && 2.0 / ways(before + now, now) <= SIGNIFICANCE
    };
    // Four and four are enough.
    (0..4).find(enough).unwrap_or(4) as u64
}

/// By how many standard errors the means of the runs inside and outside of a group differ, either way; zero where one of
/// them has fewer than two values, and infinite where all values of each are equal.
fn welch(values: &[Option<f64>], inside: impl Fn(usize) -> bool) -> f64 {
    // From the first value on, which leaves less to round.
    let Some(origin) = values.iter().flatten().next() else { return 0.0 };
    let mut groups = [Moments::default(); 2];
    for (run, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        groups[usize::from(inside(run))].push(value - origin);
    }
    let [one, other] = groups;
    let difference = (one.sum / one.n - other.sum / other.n).abs();
    if one.n < 2.0 || other.n < 2.0 || difference == 0.0 {
        return 0.0;
    }
    difference / (one.squared_error() + other.squared_error()).sqrt()
}

/// Sums over the values of a group.
#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn push(&mut self, value: f64) {
        self.n += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    /// The square of the standard error of the mean.
    fn squared_error(&self) -> f64 {
        let spread = self.squares - self.sum * self.sum / self.n;
        // Of equal values rounding leaves less than this.
        let spread = if spread < 1e-12 * self.squares { 0.0 } else { spread };
        spread / (self.n - 1.0) / self.n
    }
}

/// Binomial coefficient.
fn ways(all: usize, chosen: usize) -> f64 {
    (0..chosen.min(all - chosen)).map(|step| (all - step) as f64 / (step + 1) as f64).product::<f64>().round()
}

/// Calls `visit` with every choice of `chosen` of the places, which are true in it.
fn each_choice(all: usize, chosen: usize, visit: &mut impl FnMut(&[bool])) {
    let mut places: Vec<usize> = (0..chosen).collect();
    let mut labels = vec![false; all];
    loop {
        labels.fill(false);
        places.iter().for_each(|place| labels[*place] = true);
        visit(&labels);
        // The next choice in lexicographic order: the last place that can move does, those behind it follow.
        let Some(last) = (0..chosen).rev().find(|at| places[*at] < all - chosen + at) else { return };
        let next = places[last] + 1;
        places[last..].iter_mut().enumerate().for_each(|(step, place)| *place = next + step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().map(|value| Some(*value)).collect()
    }

    fn close(got: &[f64], wanted: &[f64]) {
        assert!(got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-12), "{got:?} is not {wanted:?}");
    }

    #[test]
    fn one_figure_is_counted_out() {
        // Of the 20 ways only the two extreme ones reach the statistic of 1 2 3 | 4 5 6.
        close(&step_down(&[known(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])], 3, 1), &[0.1]);
        close(&step_down(&[known(&[2.0; 5])], 2, 1), &[1.0]);
        // Counted out with itertools.combinations in Python: 14 of 462 ways are as far apart.
        let values = [12.1, 11.8, 12.6, 12.3, 11.9, 12.0, 12.4, 12.9, 12.2, 13.1, 12.7];
        close(&step_down(&[known(&values)], 6, 1), &[14.0 / 462.0]);
    }

    #[test]
    fn the_steps_written_out() {
        // Two runs on either side, 6 ways in 3 pairs, each as good as its mirror. Statistics by pair (12|34, 13|24, 14|23):
        // of 1 2 3 4: 2/√0.5 = 2.828, 1/√2 = 0.707, 0; of 0 5 1 5: 0.5/√(25/4 + 4) = 0.156, 4.5/√0.25 = 9, 0.156.
        let (first, second) = (known(&[1.0, 2.0, 3.0, 4.0]), known(&[0.0, 5.0, 1.0, 5.0]));
        // 2.828 against the largest of both: 2.828, 9, 0.156 in two of three. 0.156 against its own: in all.
        close(&step_down(&[first.clone(), second.clone()], 2, 1), &[2.0 / 3.0, 1.0]);
        close(&step_down(std::slice::from_ref(&first), 2, 1), &[1.0 / 3.0]);
        // Equal on either side, and so infinitely apart. Figures that move together cost no more than one.
        let apart = known(&[0.0, 0.0, 9.0, 9.0]);
        close(&step_down(&[first, apart], 2, 1), &[1.0 / 3.0, 1.0 / 3.0]);
    }

    #[test]
    fn a_run_without_a_figure_counts_in_the_others() {
        let mut values = known(&[1.0, 1.1, 0.9, 1.05, 2.0, 2.1, 1.9, 2.05]);
        close(&step_down(&[values.clone()], 4, 1), &[2.0 / 70.0]);
        values[0] = None;
        // Whichever side the run without a value is dealt to.
        let p = step_down(&[values.clone(), known(&[1.0; 8])], 4, 1);
        assert!(p[0] > 0.0 && p[0] < 0.08, "{p:?}");
        assert_eq!(p[1], 1.0);
        assert_eq!(step_down(&[vec![None, None, Some(1.0), Some(2.0)]], 2, 1), [1.0]);
        assert_eq!(step_down(&[], 0, 1), Vec::<f64>::new());
    }

    #[test]
    fn many_runs_are_drawn_and_never_give_zero() {
        let a: Vec<f64> = (0..30).map(f64::from).collect();
        let far: Vec<f64> = (0..30).chain(100..130).map(f64::from).collect();
        let by_two: Vec<f64> = a.iter().copied().chain(a.iter().map(|value| value + 2.0)).collect();
        let p = step_down(&[known(&far), known(&by_two)], 30, 1);
        assert_eq!(p[0], 1e-4);
        // The t-test of scipy gives 0.3826; the standard error of 9999 draws is 0.005.
        assert!((p[1] - 0.3826).abs() < 0.02, "{p:?}");
        assert_eq!(p, step_down(&[known(&far), known(&by_two)], 30, 1));
    }

    #[test]
    fn every_choice_comes_once() {
        let mut seen = std::collections::HashSet::new();
        each_choice(6, 3, &mut |first| {
            assert_eq!(first.iter().filter(|first| **first).count(), 3);
            assert!(seen.insert(first.to_vec()));
        });
        assert_eq!(seen.len(), 20);
        assert_eq!((ways(6, 3), ways(60, 1), ways(5, 5)), (20.0, 60.0, 1.0));
    }

    #[test]
    fn the_fewest_runs_that_can_tell() {
        for (before, now, missing) in
            [(1, 1, 3), (2, 2, 2), (3, 3, 1), (4, 4, 0), (3, 4, 1), (3, 5, 0), (2, 8, 0), (1, 60, 1), (0, 0, 4)]
        {
            assert_eq!(runs_missing(before, now), missing, "{before} and {now}");
            let most = (missing as usize).max(1) + 20;
            for more in 0..most {
                let values: Vec<f64> = (0..(before + now + 2 * more) as u32).map(f64::from).collect();
                let (a, b) = values.split_at(before + more);
                let interval = crate::hodges_lehmann(a, b).and_then(|shift| shift.interval);
                let tells = interval.is_some() && a.len().min(b.len()) > 1;
                assert_eq!(tells, more as u64 >= missing, "{} and {}", a.len(), b.len());
            }
        }
    }
}
