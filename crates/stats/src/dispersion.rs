//! Whether arrivals are as irregular as they should be.

/// The index of dispersion of counts: variance over mean of the numbers of events in windows of equal `width` that fill
/// the time from 0 to `duration`; a rest is left out (Cox & Lewis, "The statistical analysis of series of events", 1966).
///
/// 1 for a Poisson process, 0 for a clock, more for bursts. For a Poisson process and k windows it lies within about
/// 1 ± 2 √(2/(k − 1)). `None` with fewer than two windows or without an event in them.
pub fn dispersion_index(times: &[f64], width: f64, duration: f64) -> Option<f64> {
    let windows = (duration / width).floor();
    if !(width > 0.0 && windows >= 2.0) {
        return None;
    }
    let mut counts = vec![0.0; windows as usize];
    for time in times.iter().filter(|time| **time >= 0.0) {
        if let Some(count) = counts.get_mut((time / width).floor() as usize) {
            *count += 1.0;
        }
    }
    let mean = crate::mean(&counts)?;
    (mean > 0.0).then_some(crate::sample_std(&counts)?.powi(2) / mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    #[test]
    fn closed_forms() {
        // Counts 3 1 2: mean 2, variance 1. What comes after the last whole window is left out.
        let times = [0.1, 0.2, 0.9, 1.5, 2.0, 2.9, 3.2];
        assert_eq!(dispersion_index(&times, 1.0, 3.5), Some(0.5));
        let clock: Vec<f64> = (0..100).map(|tick| f64::from(tick) * 0.1).collect();
        assert_eq!(dispersion_index(&clock, 1.0, 10.0), Some(0.0));
        assert_eq!(dispersion_index(&times, 2.0, 3.9), None, "one window");
        assert_eq!(dispersion_index(&[], 1.0, 10.0), None, "no event");
        assert_eq!(dispersion_index(&times, 0.0, 10.0), None, "no width");
    }

    #[test]
    fn a_poisson_process_has_one() {
        let mut random = SplitMix64::new(6);
        let mut now = 0.0;
        let times: Vec<f64> = std::iter::repeat_with(|| {
            now -= (1.0 - random.unit()).ln() / 7.0;
            now
        })
        .take_while(|time| *time < 2000.0)
        .collect();
        let got = dispersion_index(&times, 1.0, 2000.0).unwrap();
        assert!((got - 1.0).abs() < 2.0 * (2.0_f64 / 1999.0).sqrt(), "{got}");
    }
}
