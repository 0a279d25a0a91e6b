//! The binomial distribution: how many of `n` happen that each happen with probability `p`.

use crate::special::beta_share;

/// The probabilities of a binomial distribution that are not negligible.
pub(crate) struct Binomial {
    first: usize,
    probabilities: Vec<f64>,
}

impl Binomial {
    /// Starts at the mode and follows the ratio of neighbours both ways until the terms no longer matter, then
    /// normalises: no factorial is ever formed, and the work grows with the square root of `n`.
    pub(crate) fn around_its_mode(n: usize, p: f64) -> Self {
        const NEGLIGIBLE: f64 = 1e-18;
        let mode = (((n + 1) as f64 * p).floor() as usize).min(n);
        let odds = p / (1.0 - p);
        let mut lower = Vec::new();
        let mut term = 1.0;
        for count in (1..=mode).rev() {
            term *= count as f64 / ((n - count + 1) as f64 * odds);
            if term < NEGLIGIBLE {
                break;
            }
            lower.push(term);
        }
        let first = mode - lower.len();
        let mut probabilities: Vec<f64> = lower.into_iter().rev().collect();
        probabilities.push(1.0);
        term = 1.0;
        for count in mode..n {
            term *= (n - count) as f64 / (count + 1) as f64 * odds;
            if term < NEGLIGIBLE {
                break;
            }
            probabilities.push(term);
        }
        let total: f64 = probabilities.iter().sum();
        probabilities.iter_mut().for_each(|term| *term /= total);
        Self { first, probabilities }
    }

    pub(crate) fn terms(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.probabilities.iter().enumerate().map(|(place, probability)| (self.first + place, *probability))
    }
}

/// The probability that at most `count` of `n` happen (Abramowitz & Stegun 26.5.24).
pub(crate) fn at_most(count: u64, n: u64, p: f64) -> f64 {
    if count >= n { 1.0 } else { beta_share((n - count) as f64, (count + 1) as f64, 1.0 - p) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binomial_terms_are_exact() {
        let terms: Vec<_> = Binomial::around_its_mode(4, 0.5).terms().collect();
        let wanted = [1.0, 4.0, 6.0, 4.0, 1.0];
        for ((count, probability), coefficient) in terms.iter().zip(wanted) {
            assert!((probability - coefficient / 16.0).abs() < 1e-15, "P(B = {count}) = {probability}");
        }
        let p3 = Binomial::around_its_mode(10, 0.3).terms().find(|(count, _)| *count == 3).unwrap().1;
        // 120 * 0.3^3 * 0.7^7
        assert!((p3 - 120.0 * 0.3_f64.powi(3) * 0.7_f64.powi(7)).abs() < 1e-14);
    }

    #[test]
    fn both_ways_to_the_distribution_function_agree() {
        for (n, p) in [(1_u64, 0.5), (10, 0.3), (500, 0.99), (5000, 0.001)] {
            let mut sum = 0.0;
            for (count, probability) in Binomial::around_its_mode(n as usize, p).terms() {
                sum += probability;
                let got = at_most(count as u64, n, p);
                assert!((got - sum).abs() < 1e-10, "n {n}, p {p}: P(B ≤ {count}) = {got}, not {sum}");
            }
        }
    }
}
