//! Student's t.

use crate::descriptive::{mean, sample_std};
use crate::special::beta_share;
use crate::{Estimate, Interval};

/// The probability that Student's t with `degrees` of freedom lies farther from zero than `t`, on either side
/// (Abramowitz & Stegun 26.7.1).
pub(crate) fn t_beyond(t: f64, degrees: f64) -> f64 {
    beta_share(degrees / 2.0, 0.5, degrees / (degrees + t * t))
}

/// The 0.975 quantile of the standard normal distribution.
pub(crate) const Z_975: f64 = 1.959_963_984_540_054;

/// Degrees of freedom from which on the normal distribution is nearer than rounding lets Student's t be.
const MANY: f64 = 1e7;

/// The 0.975 quantile of Student's t, which a two-sided 95 % interval needs. Infinite without a degree of freedom.
pub fn t_975(degrees: f64) -> f64 {
    if degrees <= 0.0 {
        return f64::INFINITY;
    }
    if degrees > MANY {
        return Z_975;
    }
    let (mut low, mut high) = (1.0, 2.0);
    while t_beyond(high, degrees) > 0.05 {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if t_beyond(middle, degrees) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

impl Estimate {
    /// The mean of a few independent values that are nearly normal, such as figures of repeated runs, and its 95 % interval
    /// by Student's t. `None` for less than two values.
    pub fn few(values: &[f64]) -> Option<Self> {
        let (value, std) = (mean(values)?, sample_std(values)?);
        let degrees = values.len() as f64 - 1.0;
        let half = t_975(degrees) * std / (values.len() as f64).sqrt();
        let interval = Interval { low: value - half, high: value + half };
        Some(Self { value, interval, degrees, least_p: 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_few_values_has_the_interval_of_scipy() {
        // scipy.stats.t.interval(0.95, 4, loc=numpy.mean(values), scale=scipy.stats.sem(values))
        let few = Estimate::few(&[10.0, 12.0, 11.0, 15.0, 9.0]).unwrap();
        assert!((few.value - 11.4).abs() < 1e-12);
        assert!(
            (few.interval.low - 8.541474809012978).abs() < 1e-9
                && (few.interval.high - 14.258525190987022).abs() < 1e-9,
            "{few:?}"
        );
        assert!(Estimate::few(&[1.0]).is_none() && Estimate::few(&[]).is_none());
    }

    #[test]
    fn agrees_with_the_tables() {
        // scipy.stats.t.ppf(0.975, degrees)
        for (degrees, wanted) in [
            (1.0, 12.706204736174694),
            (2.0, 4.302652729749462),
            (3.0, 3.1824463052837078),
            (4.5, 2.6589123472044034),
            (10.0, 2.228138851986274),
            (30.0, 2.0422724563012378),
            (120.0, 1.9799304050824402),
            (1000000.0, 1.959966356814107),
        ] {
            let got = t_975(degrees);
            assert!((got / wanted - 1.0).abs() < 1e-9, "{degrees} degrees: {got} is not {wanted}");
        }
        assert_eq!(t_975(0.0), f64::INFINITY);
    }

    #[test]
    fn the_probability_agrees_with_scipy() {
        // 2 * scipy.stats.t.sf(t, degrees)
        for (t, degrees, wanted) in [
            (1.0, 1.0, 0.5000000000000001),
            (2.5, 7.3, 0.03965023466560043),
            (4.0, 30.0, 0.0003818456360837564),
            (0.2, 1000.0, 0.8415212443239761),
        ] {
            let got = t_beyond(t, degrees);
            assert!((got / wanted - 1.0).abs() < 1e-10, "t {t}: {got} is not {wanted}");
        }
    }
}
