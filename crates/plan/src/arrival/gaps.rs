//! Independent gaps between requests.

use crate::portable::{exp, ln};
use crate::random::Random;

/// Independent gaps of mean 1 with a gamma distribution.
#[derive(Clone, Debug)]
pub(super) struct Gaps {
    random: Random,
    burstiness: f64,
}

impl Gaps {
    pub(super) fn new(random: Random, burstiness: f64) -> Self {
        Self { random, burstiness }
    }

    pub(super) fn next(&mut self) -> f64 {
        gamma(&mut self.random, self.burstiness) / self.burstiness
    }
}

/// A gamma variate of mean `shape` and scale 1: Marsaglia and Tsang, "A simple method for generating gamma variables",
/// ACM TOMS 26 (2000).
fn gamma(random: &mut Random, shape: f64) -> f64 {
    if shape < 1.0 {
        // Their section 6: G(a) = G(a + 1) U^(1/a).
        return gamma(random, shape + 1.0) * exp(ln(random.unit()) / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(random);
        let t = 1.0 + c * x;
        let v = t * t * t;
        if v > f64::MIN_POSITIVE && ln(random.unit()) < 0.5 * x * x + d - d * v + d * ln(v) {
            return d * v;
        }
    }
}

/// A standard normal variate: Marsaglia's polar method.
fn normal(random: &mut Random) -> f64 {
    loop {
        let x = 2.0 * random.unit() - 1.0;
        let y = 2.0 * random.unit() - 1.0;
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * ln(square) / square).sqrt();
        }
    }
}
