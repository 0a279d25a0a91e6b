//! When a figure changed in the course of many runs.

use crate::SplitMix64;

/// Fewest values on either side of a change.
const FEWEST: usize = 3;

/// Shufflings per test.
const SHUFFLES: u32 = 999;

/// A change in a series of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// The place of the first value after the change.
    pub at: usize,
    /// How likely so clear a change would be if the values came in an order without meaning.
    pub p_value: f64,
    /// The median of the values from the former change, or the beginning, up to this one.
    pub before: f64,
    /// The median of the values from here up to the next change or the end.
    pub after: f64,
}

/// The changes of level in `values`, which are in the order in which they were made, such as one figure of a run per
/// commit. At each, `level` (0.01 is a good one) is the probability to find it where nothing changed.
///
/// This is E-divisive (Matteson & James, "A nonparametric approach for multiple change point analysis of multivariate
/// data", 2014) on single numbers with exponent 1: a change divides the values where the distances between its two sides
/// exceed those within them most. Whether it is more than chance tells a permutation test, and both parts are searched in
/// the same way. A single outlier is no change: there are at least three values on either side of one. Values must be
/// independent. The time grows with the square of their number: a thousand take seconds.
pub fn change_points(values: &[f64], level: f64, seed: u64) -> Vec<ChangePoint> {
    let mut found = Vec::new();
    search(values, 0, level, &mut SplitMix64::new(seed), &mut found);
    found.sort_unstable_by_key(|(at, _)| *at);
    let starts = std::iter::once(0).chain(found.iter().map(|(at, _)| *at));
    let ends = found.iter().map(|(at, _)| *at).chain([values.len()]);
    let levels: Vec<f64> = starts.zip(ends).map(|(start, end)| median(&values[start..end])).collect();
    let pairs = found.iter().zip(levels.windows(2));
    pairs
        .map(|((at, p_value), pair)| ChangePoint { at: *at, p_value: *p_value, before: pair[0], after: pair[1] })
        .collect()
}

/// Searches values that begin at `offset` of all.
fn search(values: &[f64], offset: usize, level: f64, random: &mut SplitMix64, found: &mut Vec<(usize, f64)>) {
    let Some((place, clearest)) = split(values) else { return };
    let mut shuffled = values.to_vec();
    let mut as_clear = 1;
    for _ in 0..SHUFFLES {
        for place in (1..shuffled.len()).rev() {
            shuffled.swap(place, random.below(place + 1));
        }
        // Sums in another order round differently.
        as_clear += u32::from(split(&shuffled).is_some_and(|(_, other)| other >= clearest * (1.0 - 1e-9)));
    }
    let p_value = f64::from(as_clear) / f64::from(SHUFFLES + 1);
    if p_value <= level {
        found.push((offset + place, p_value));
        search(&values[..place], offset, level, random, found);
        search(&values[place..], offset + place, level, random, found);
    }
}

/// Where values divide most clearly, and the divergence there; `None` when there are too few, or nowhere do the sides
/// differ more than they vary.
fn split(values: &[f64]) -> Option<(usize, f64)> {
    let n = values.len();
    // Sums of the distances within the first `place` values, between them and the others, and within the others.
    let (mut within, mut between, mut beyond) = (0.0, 0.0, 0.0);
    for (place, value) in values.iter().enumerate() {
        beyond += values[place + 1..].iter().map(|other| (value - other).abs()).sum::<f64>();
    }
    let mut best: Option<(usize, f64)> = None;
    for (place, value) in values.iter().enumerate() {
        if place >= FEWEST && place + FEWEST <= n {
            let (first, second) = (place as f64, (n - place) as f64);
            let differ = 2.0 * between / (first * second);
            let vary = 2.0 * within / (first * (first - 1.0)) + 2.0 * beyond / (second * (second - 1.0));
            let divergence = first * second / (first + second) * (differ - vary);
            if divergence > best.map_or(0.0, |(_, most)| most) {
                best = Some((place, divergence));
            }
        }
        let former: f64 = values[..place].iter().map(|other| (value - other).abs()).sum();
        let later: f64 = values[place + 1..].iter().map(|other| (value - other).abs()).sum();
        within += former;
        between += later - former;
        beyond -= later;
    }
    best
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    crate::quantile(&sorted, 0.5).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Annual flow of the Nile at Aswan, 1871 to 1970, in 10⁸ m³ (Cobb, 1978): the textbook's change is in 1898 to 1899.
    const NILE: [u16; 100] = [
        1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140,
        1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969,
        831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759, 781,
        865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890, 744, 749, 838,
        1050, 918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
    ];

    #[test]
    fn the_nile_changed_once() {
        let values: Vec<f64> = NILE.iter().map(|value| f64::from(*value)).collect();
        let changes = change_points(&values, 0.01, 1);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].at, 28, "1899 is the first year after it");
        assert_eq!((changes[0].before, changes[0].after), (1130.0, 842.5));
        assert!(changes[0].p_value <= 0.001);
    }

    #[test]
    fn finds_a_step_up_and_down_again_and_no_outlier() {
        let mut random = SplitMix64::new(2);
        let mut values: Vec<f64> = (0..60).map(|_| 100.0 + random.unit()).collect();
        values[20..40].iter_mut().for_each(|value| *value += 3.0);
        values[50] = 500.0;
        let changes = change_points(&values, 0.01, 3);
        let places: Vec<usize> = changes.iter().map(|change| change.at).collect();
        assert_eq!(places, [20, 40]);
        assert!(changes[0].after > changes[0].before && changes[1].after < changes[1].before);
    }

    #[test]
    fn sees_the_last_few_runs() {
        let mut random = SplitMix64::new(5);
        let mut values: Vec<f64> = (0..30).map(|_| 100.0 + random.unit()).collect();
        values[27..].iter_mut().for_each(|value| *value += 5.0);
        let changes = change_points(&values, 0.01, 3);
        assert_eq!(changes.iter().map(|change| change.at).collect::<Vec<_>>(), [27]);
    }

    #[test]
    fn seldom_finds_what_is_not_there() {
        let mut random = SplitMix64::new(7);
        let runs = 200;
        let alarms = (0..runs).filter(|seed| {
            let values: Vec<f64> = (0..40).map(|_| random.unit()).collect();
            !change_points(&values, 0.05, *seed).is_empty()
        });
        let share = alarms.count() as f64 / runs as f64;
        assert!((0.01..0.09).contains(&share), "{share}");
    }

    #[test]
    fn too_little_and_no_variation() {
        assert_eq!(change_points(&[], 0.05, 1), []);
        assert_eq!(change_points(&[1.0, 1.0, 1.0, 9.0, 9.0], 0.05, 1), []);
        assert_eq!(change_points(&[2.0; 50], 0.05, 1), []);
    }
}
