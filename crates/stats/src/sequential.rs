//! Tests that may be looked at after every observation and stop as soon as they are sure.
//!
//! A test for a fixed number of observations that is repeated until it succeeds always does. These hold at every moment
//! at once: however long they run and whatever makes them stop, each verdict is wrong with at most the stated
//! probability.

use crate::special::{beta_share, ln_beta};

/// What is known of a figure and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Surely below the limit.
    Below,
    /// Surely above the limit.
    Above,
    /// Neither is sure yet.
    Open,
}

/// Is the share of requests over a limit below what it may be? `p99 < 500 ms` is: less than 1 % take longer than 500 ms.
///
/// A request more multiplies the evidence for a share θ against the limit share p by θ/p or (1 − θ)/(1 − p). Averaged
/// over all θ on one side of p, by a beta distribution with ½ and ½, it is a martingale or less if the truth lies on the
/// other side or at p, so that it ever reaches 1/error with a probability of at most `error` (Ville's inequality; Robbins,
/// "Statistical methods related to the law of the iterated logarithm", 1970). Nothing has to be said about how far from
/// the limit the truth lies; the nearer, the longer it takes.
#[derive(Clone, Debug)]
pub struct SequentialShare {
    limit: f64,
    error: f64,
    worth: f64,
    n: u64,
    over: u64,
    standing: Standing,
}

impl SequentialShare {
    /// Begins a test against the share `limit` with a probability of error, each way, of `error`; both between 0 and 1.
    ///
    /// `worth` is how many independent observations one is worth: 1 for independent ones, for others `effective_n / n` of
    /// a former run. Less than 1, the guarantee holds as well as that figure does.
    pub fn new(limit: f64, error: f64, worth: f64) -> Self {
        Self { limit, error, worth: worth.clamp(0.0, 1.0), n: 0, over: 0, standing: Standing::Open }
    }

    /// Takes an observation. Once the test is sure it remains so.
    pub fn push(&mut self, over: bool) -> Standing {
        self.push_many(1, u64::from(over))
    }

    /// Takes `n` observations of which `over` were over, and looks only after the last of them.
    pub fn push_many(&mut self, n: u64, over: u64) -> Standing {
        self.n += n;
        self.over += over;
        if self.standing == Standing::Open {
            let sure = -self.error.ln();
            self.standing = match self.evidence() {
                (below, _) if below >= sure => Standing::Below,
                (_, above) if above >= sure => Standing::Above,
                _ => Standing::Open,
            };
        }
        self.standing
    }

    /// What is known by now.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// How many observations were taken.
    pub fn count(&self) -> u64 {
        self.n
    }

    /// The logarithm of the evidence for a share below and for one above the limit.
    fn evidence(&self) -> (f64, f64) {
        const PRIOR: f64 = 0.5;
        let (over, kept) = (self.over as f64 * self.worth, (self.n - self.over) as f64 * self.worth);
        let (a, b) = (PRIOR + over, PRIOR + kept);
        let at_limit = over * self.limit.ln() + kept * (-self.limit).ln_1p();
        let all = ln_beta(a, b) - ln_beta(PRIOR, PRIOR) - at_limit;
        let below = beta_share(a, b, self.limit).ln() - beta_share(PRIOR, PRIOR, self.limit).ln();
        // Not 1 less the share, whose digits would be lost.
        let rest = 1.0 - self.limit;
        let above = beta_share(b, a, rest).ln() - beta_share(PRIOR, PRIOR, rest).ln();
        (all + below, all + above)
    }
}

/// Is a mean below its limit?
///
/// The confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and
/// asymptotic confidence sequences" (2024), theorem 2.2, with the parameter that makes it narrowest at 200
/// observations. The error holds in the limit of many observations: none is sure before 100. Observations must be nearly
/// independent: push means of many neighbors where they are not.
#[derive(Clone, Debug)]
pub struct SequentialMean {
    limit: f64,
    error: f64,
    n: u64,
    mean: f64,
    squares: f64,
    standing: Standing,
}

impl SequentialMean {
    /// Fewest observations of a verdict.
    pub const FEWEST: u64 = 100;

    /// Begins a test against `limit` with a probability of error of `error`, between 0 and 1, for both ways together.
    pub fn new(limit: f64, error: f64) -> Self {
        Self { limit, error, n: 0, mean: 0.0, squares: 0.0, standing: Standing::Open }
    }

    /// Takes an observation. Once the test is sure it remains so.
    pub fn push(&mut self, value: f64) -> Standing {
        self.n += 1;
        let from_former = value - self.mean;
        self.mean += from_former / self.n as f64;
        self.squares += from_former * (value - self.mean);
        if self.standing == Standing::Open && self.n >= Self::FEWEST {
            let reach = self.reach();
            if self.mean + reach < self.limit {
                self.standing = Standing::Below;
            } else if self.mean - reach > self.limit {
                self.standing = Standing::Above;
            }
        }
        self.standing
    }

    /// What is known by now.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// How many observations were taken.
    pub fn count(&self) -> u64 {
        self.n
    }

    /// How far the true mean can be from that of the observations.
    fn reach(&self) -> f64 {
        const NARROWEST_AT: f64 = 200.0;
        let doubt = -2.0 * self.error.ln();
        let scale = (doubt + doubt.ln() + 1.0) / NARROWEST_AT;
        let n = self.n as f64;
        let grown = n * scale + 1.0;
        let variance = self.squares / n;
        (variance * 2.0 * grown / (n * n * scale) * (grown.sqrt() / self.error).ln()).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    /// How often each standing is reached within `most` observations, and after how many on average.
    fn shares_of(runs: u64, most: u64, mut run: impl FnMut(u64) -> (Standing, u64)) -> [f64; 3] {
        let mut reached = [0_u64; 2];
        let mut taken = 0;
        for seed in 0..runs {
            let (standing, count) = run(seed);
            taken += count.min(most);
            match standing {
                Standing::Below => reached[0] += 1,
                Standing::Above => reached[1] += 1,
                Standing::Open => {}
            }
        }
        [reached[0] as f64 / runs as f64, reached[1] as f64 / runs as f64, taken as f64 / runs as f64]
    }

    fn share(truth: f64, limit: f64, error: f64, most: u64) -> [f64; 3] {
        shares_of(200, most, |seed| {
            let mut random = SplitMix64::new(seed);
            let mut test = SequentialShare::new(limit, error, 1.0);
            while test.count() < most && test.push(random.unit() < truth) == Standing::Open {}
            (test.standing(), test.count())
        })
    }

    #[test]
    fn the_evidence_written_out() {
        // The integral of θ^2 (1 − θ)^1 / (0.3^2 · 0.7) over a beta distribution with ½ and ½ above 0.3, and below,
        // divided by its share there (scipy.integrate.quad).
        let mut test = SequentialShare::new(0.3, 0.05, 1.0);
        [true, false, true].into_iter().for_each(|over| _ = test.push(over));
        let (below, above) = test.evidence();
        assert!((below.exp() - 0.239120327393).abs() < 1e-9, "{}", below.exp());
        assert!((above.exp() - 1.432393291055).abs() < 1e-9, "{}", above.exp());
    }

    #[test]
    fn is_wrong_at_the_limit_no_more_often_than_it_says() {
        // Looked at after each of 2000 observations, with the truth exactly at the limit: the worst case.
        for limit in [0.01, 0.1] {
            let [below, above, _] = share(limit, limit, 0.05, 2000);
            assert!(below <= 0.05 && above <= 0.05, "{below} {above}");
        }
    }

    #[test]
    fn is_sure_soon_when_the_truth_is_clear() {
        let [below, _, taken] = share(0.0, 0.01, 0.01, 5000);
        assert!(below == 1.0 && taken < 700.0, "{taken}: 459 without looking in between");
        let [_, above, taken] = share(0.1, 0.01, 0.01, 5000);
        assert!(above == 1.0 && taken < 150.0, "{taken}");
        let [below, above, _] = share(0.004, 0.01, 0.05, 4000);
        assert!(below > 0.95 && above < 0.01, "{below} {above}");
    }

    #[test]
    fn says_nothing_of_nothing() {
        assert_eq!(SequentialShare::new(0.01, 0.05, 1.0).standing(), Standing::Open);
        let mut worthless = SequentialShare::new(0.01, 0.05, 0.0);
        (0..1000).for_each(|_| _ = worthless.push(true));
        assert_eq!(worthless.standing(), Standing::Open);
    }

    #[test]
    fn correlated_shares_are_discounted() {
        // Each request repeats the one before with probability 0.8: worth (1 − 0.8)/(1 + 0.8) of an independent one.
        let run = |worth: f64| {
            shares_of(200, 2000, |seed| {
                let mut random = SplitMix64::new(seed);
                let mut test = SequentialShare::new(0.1, 0.05, worth);
                let mut over = random.unit() < 0.1;
                while test.count() < 2000 && test.push(over) == Standing::Open {
                    over = if random.unit() < 0.8 { over } else { random.unit() < 0.1 };
                }
                (test.standing(), test.count())
            })
        };
        let [_, above, _] = run(1.0);
        assert!(above > 0.2, "{above}: without the discount the error is far larger");
        let [below, above, _] = run(1.0 / 9.0);
        assert!(below <= 0.05 && above <= 0.05, "{below} {above}");
    }

    fn mean(truth: f64, memory: f64, batch: usize) -> [f64; 3] {
        shares_of(400, 2000, |seed| {
            let mut random = SplitMix64::new(seed);
            let mut state = 0.0;
            let mut test = SequentialMean::new(20.0, 0.05);
            let mut next = || {
                state = memory * state - (1.0 - random.unit()).ln() - 1.0;
                state
            };
            loop {
                let value = truth + (0..batch).map(|_| next()).sum::<f64>() / batch as f64;
                if test.push(value) != Standing::Open || test.count() >= 2000 {
                    return (test.standing(), test.count());
                }
            }
        })
    }

    #[test]
    fn a_mean_at_its_limit_is_seldom_called_otherwise() {
        // Skewed values, and correlated ones in batches.
        for (memory, batch) in [(0.0, 1), (0.5, 20)] {
            let [below, above, _] = mean(20.0, memory, batch);
            assert!(below + above <= 0.05, "memory {memory}: {below} {above}");
        }
    }

    #[test]
    fn a_mean_off_its_limit_is_found() {
        let [below, above, taken] = mean(19.7, 0.0, 1);
        assert!(below >= 0.99 && above <= 0.01 && taken < 400.0, "{below} {taken}");
        let [_, above, _] = mean(20.3, 0.0, 1);
        assert!(above >= 0.99);
    }
}
