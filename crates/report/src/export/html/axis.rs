//! Round numbers along an axis.

/// Numbers to write at an axis from `low` to `high`, about `count` of them, with as many digits as tell them apart.
pub(super) fn marks(low: f64, high: f64, count: u32) -> Vec<(f64, String)> {
    let step = step((high - low) / f64::from(count));
    if !(step.is_finite() && step > 0.0) {
        return Vec::new();
    }
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step).ceil();
    let values = (0..=2 * count).map(|nth| (first + f64::from(nth)) * step);
    // Adding 0 makes a plain zero of a negative one.
    values.take_while(|value| *value <= high).map(|value| (value, format!("{:.digits$}", value + 0.0))).collect()
}

/// The round number nearest above.
fn step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= raw).unwrap_or(raw)
}

#[cfg(test)]
mod tests {
    use super::marks;

    #[test]
    fn are_round_and_within() {
        let texts = |low, high| marks(low, high, 4).into_iter().map(|mark| mark.1).collect::<Vec<_>>();
        assert_eq!(texts(19.25, 24.92), ["20", "22", "24"]);
        assert_eq!(texts(0.0, 3828.0), ["0", "1000", "2000", "3000"]);
        assert_eq!(texts(0.012, 0.0152), ["0.012", "0.013", "0.014", "0.015"]);
        assert_eq!(texts(-0.3, 0.5), ["-0.2", "0.0", "0.2", "0.4"]);
        assert!(texts(1.0, 1.0).is_empty() && texts(f64::NAN, 1.0).is_empty());
    }
}
