//! The gamma distribution's function, which measured gaps are compared with.

/// P(gap ≤ x) of a gamma distribution of that shape and mean 1: the regularised lower incomplete gamma function
/// P(shape, shape·x), by its series and by its continued fraction (Abramowitz and Stegun 6.5.29 and 6.5.31). Relative error
/// about 1e-10 for shapes up to a million.
pub(crate) fn unit_mean_cdf(shape: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if shape == 1.0 {
        return -(-x).exp_m1();
    }
    let x = shape * x;
    let front = (shape * x.ln() - x - ln_gamma(shape)).exp();
    let value = if x < shape + 1.0 { front * series(shape, x) } else { 1.0 - front * fraction(shape, x) };
    value.clamp(0.0, 1.0)
}

/// Σ x^n / (a (a+1) … (a+n)).
fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, 0.0);
    while term > sum * 1e-16 && n < 1e5 {
        n += 1.0;
        term *= x / (a + n);
        sum += term;
    }
    sum
}

/// The continued fraction of the upper function, by the method of Lentz.
fn fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut value = d;
    for n in 1..100_000 {
        let n = f64::from(n);
        let an = -n * (n - a);
        b += 2.0;
        d = an * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + an / c;
        if c.abs() < TINY {
            c = TINY;
        }
        let step = c * d;
        value *= step;
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// ln Γ(x) for x > 0: Stirling's series, after the recurrence has carried x above 15.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 15.0 {
        shift += x.ln();
        x += 1.0;
    }
    let square = x * x;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // P(a, x) from closed forms: a = 1/2 is erf(√x), a = 2 is 1 − e^−x (1 + x).
        let close = |ours: f64, truth: f64| assert!((ours - truth).abs() < 1e-10, "{ours} {truth}");
        close(unit_mean_cdf(0.5, 2.0), 0.842_700_792_949_714_9);
        close(unit_mean_cdf(0.5, 0.5), 0.520_499_877_813_046_5);
        for x in [0.1_f64, 1.0, 3.0, 8.0] {
            close(unit_mean_cdf(2.0, x / 2.0), 1.0 - (-x).exp() * (1.0 + x));
            close(unit_mean_cdf(1.0, x), 1.0 - (-x).exp());
            close(unit_mean_cdf(1.0 + 1e-13, x), 1.0 - (-x).exp());
        }
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
        close(ln_gamma(10.0), 362_880_f64.ln());
        close(unit_mean_cdf(3.0, 0.0), 0.0);
        close(unit_mean_cdf(0.25, 1e6), 1.0);
    }
}
