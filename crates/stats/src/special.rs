//! Special functions: to twelve digits, the beta distribution to nine where its parameters go into the hundred thousands.

use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2, TAU};

/// The logarithm of the gamma function of a positive number: Stirling's series (Abramowitz & Stegun 6.1.41), from 12 on;
/// smaller numbers are lifted there by Γ(x + 1) = x Γ(x).
pub(crate) fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 6] = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0];
    let mut lifted = x;
    let mut product = 1.0;
    while lifted < 12.0 {
        product *= lifted;
        lifted += 1.0;
    }
    let inverse = 1.0 / lifted;
    let series = TERMS.iter().rev().fold(0.0, |sum, term| sum * inverse * inverse + term) * inverse;
    (lifted - 0.5) * lifted.ln() - lifted + 0.5 * TAU.ln() + series - product.ln()
}

/// The logarithm of the beta function of two positive numbers.
pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The regularised incomplete beta function Iₓ(a, b): the share of a beta distribution that lies below `x`. The
/// continued fraction of Abramowitz & Stegun 26.5.8, on the side where it converges fast.
pub(crate) fn beta_share(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let swap = x > (a + 1.0) / (a + b + 2.0);
    let (a, b, x) = if swap { (b, a, 1.0 - x) } else { (a, b, x) };
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp() / a;
    let share = front / beta_fraction(a, b, x);
    if swap { 1.0 - share } else { share }
}

/// 1 + d₁/(1 + d₂/(1 + …)), by the method of Lentz, "Generating Bessel functions in Mie scattering calculations using
/// continued fractions" (1976).
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const MOST: u32 = 100_000;
    let not_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut value, mut upper, mut lower) = (1.0_f64, 1.0_f64, 0.0_f64);
    for step in 1..MOST {
        let m = f64::from(step / 2);
        let term = if step % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        lower = 1.0 / not_zero(1.0 + term * lower);
        upper = not_zero(1.0 + term / upper);
        let change = upper * lower;
        value *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// The complementary error function: the series of Abramowitz & Stegun 7.1.6 for small arguments, the continued fraction
/// 7.1.14 for large ones.
pub(crate) fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.5 {
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return 1.0 - 2.0 / PI.sqrt() * (-x * x).exp() * sum;
    }
    let fraction = (1..=80).rev().fold(x, |below, step| x + f64::from(step) / 2.0 / below);
    (-x * x).exp() / PI.sqrt() / fraction
}

/// The probability that a standard normal variable is above `z`.
pub(crate) fn normal_above(z: f64) -> f64 {
    0.5 * erfc(z * FRAC_1_SQRT_2)
}

/// The `p` quantile of the standard normal distribution, 0 < p < 1: Newton's method from the rational approximation of
/// Abramowitz & Stegun 26.2.23.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    let t = (-2.0 * p.ln()).sqrt();
    let start = t
        - (2.515_517 + 0.802_853 * t + 0.010_328 * t * t)
            / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t);
    // `above` is what is sought: normal_above(above) = p.
    let mut above = start;
    for _ in 0..4 {
        let density = (-above * above / 2.0).exp() / (SQRT_2 * PI.sqrt());
        above += (normal_above(above) - p) / density;
    }
    -above
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, wanted: f64) {
        assert!((got - wanted).abs() <= wanted.abs() * 1e-11, "{got} is not {wanted}");
    }

    #[test]
    fn gamma_and_beta_agree_with_scipy() {
        // scipy.special.gammaln, betaln; Γ(1/2) = √π, Γ(6) = 120.
        close(ln_gamma(0.5), PI.sqrt().ln());
        close(ln_gamma(6.0), 120.0_f64.ln());
        close(ln_gamma(1e-3), 6.907178885383853);
        close(ln_gamma(12_345.5), 103958.24296512322);
        assert!(ln_gamma(1.0).abs() < 1e-13 && ln_gamma(2.0).abs() < 1e-13);
    }

    #[test]
    fn the_share_of_a_beta_distribution_agrees_with_scipy() {
        // scipy.special.betainc(a, b, x)
        for (a, b, x, wanted) in [
            (2.5, 3.5, 0.3, 0.29675298929566646),
            (0.5, 0.5, 0.9, 0.7951672353008665),
            (500.0, 2.0, 0.99, 0.039422898254487644),
            (5000.0, 20.0, 0.997, 0.8723523665131663),
            (100000.0, 100000.0, 0.501, 0.8144532554424423),
            (15.0, 0.5, 0.8, 0.010279820529200285),
        ] {
            let got = beta_share(a, b, x);
            assert!((got / wanted - 1.0).abs() < 1e-9, "{got} is not {wanted}");
        }
        // I_x(1, b) = 1 − (1 − x)^b
        close(beta_share(1.0, 3.0, 0.2), 1.0 - 0.8_f64.powi(3));
        assert_eq!((beta_share(2.0, 3.0, 0.0), beta_share(2.0, 3.0, 1.0)), (0.0, 1.0));
    }

    #[test]
    fn the_normal_distribution_agrees_with_scipy() {
        // scipy.special.erfc, scipy.stats.norm.sf, norm.ppf
        for (x, wanted) in [
            (-1.0, 1.8427007929497148),
            (0.1, 0.8875370839817152),
            (1.0, 0.15729920705028516),
            (2.4, 0.0006885138966450789),
            (2.6, 0.000236034416529349),
            (5.0, 1.5374597944280347e-12),
            (10.0, 2.0884875837625446e-45),
        ] {
            close(erfc(x), wanted);
        }
        close(normal_above(1.959_963_984_540_054), 0.025);
        for (p, wanted) in [
            (1e-10, -6.361340902404056),
            (0.001, -3.090232306167813),
            (0.3, -0.5244005127080409),
            (0.8, 0.8416212335729143),
            (0.975, 1.959963984540054),
            (0.9999, 3.719016485455709),
        ] {
            close(normal_quantile(p), wanted);
        }
        assert!(normal_quantile(0.5).abs() < 1e-12);
    }
}
