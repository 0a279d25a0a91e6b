//! Better, worse, equal, or not known.

use crate::Interval;
use crate::special::normal_quantile;

/// Below this a difference is significant.
pub const SIGNIFICANCE: f64 = 0.05;

/// How a figure compares with what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is better, and the difference may exceed the margin.
    Better,
    /// It is worse, and the difference may exceed the margin.
    Worse,
    /// Any difference is within the margin.
    Equal,
    /// There are too few data to tell.
    Inconclusive {
        /// How many more runs, on either side, would probably tell.
        further: u64,
    },
}

/// The verdict on a change, given as a share of the former value (0.05: 5 % more), with its 95 % interval and p-value,
/// found from `n` runs (or other observations) on either side.
///
/// - An interval wholly within ±`margin` means equal (two one-sided tests: Schuirmann, "A comparison of the two
///   one-sided tests procedure and the power approach", 1987; by the 95 % interval each is at 2.5 %).
/// - Otherwise a p-value below 5 %, adjusted for many tests, with an interval on one side of zero means better or worse.
/// - Otherwise nothing is known. What would tell is that the interval, which shrinks with √n, came to lie within the
///   margin, or to leave out zero, whichever is nearer for a change as large as the one seen, with a probability of
///   80 %; see [`runs_needed`].
pub fn verdict(change: f64, interval: Interval, p_value: f64, margin: f64, higher_is_better: bool, n: u64) -> Verdict {
    if interval.low > -margin && interval.high < margin {
        return Verdict::Equal;
    }
    if p_value < SIGNIFICANCE && (interval.low > 0.0 || interval.high < 0.0) {
        return if (interval.low > 0.0) == higher_is_better { Verdict::Better } else { Verdict::Worse };
    }
    let half = (interval.high - interval.low) / 2.0;
    let gap = change.abs().max(margin - change.abs());
    Verdict::Inconclusive { further: runs_needed(half, gap, n).saturating_sub(n).max(1) }
}

/// How many runs on either side would settle the matter with a probability of 80 %, if the true change is the one that
/// `n` of them showed: n × ((1 + z₀.₈/z₀.₉₇₅) × half / gap)². `half` is half of the interval, `gap` the distance that must
/// exceed its new half: from the change to whatever the interval has to leave out.
pub fn runs_needed(half: f64, gap: f64, n: u64) -> u64 {
    const POWER: f64 = 0.8;
    let reach = 1.0 + normal_quantile(POWER) / normal_quantile(0.975);
    // Without a gap no number is enough: the conversion then gives the largest.
    (n as f64 * (reach * half / gap).powi(2)).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: f64 = 0.02;

    fn judge(low: f64, high: f64, p_value: f64) -> Verdict {
        verdict((low + high) / 2.0, Interval { low, high }, p_value, MARGIN, false, 5)
    }

    #[test]
    fn the_four_verdicts() {
        assert_eq!(judge(-0.01, 0.015, 0.6), Verdict::Equal);
        assert_eq!(judge(0.005, 0.015, 1e-4), Verdict::Equal, "significant, and within the margin");
        assert_eq!(judge(0.01, 0.08, 0.01), Verdict::Worse);
        assert_eq!(judge(-0.08, -0.01, 0.01), Verdict::Better);
        assert!(matches!(judge(-0.05, 0.08, 0.5), Verdict::Inconclusive { .. }));
        assert!(matches!(judge(0.01, 0.08, 0.07), Verdict::Inconclusive { .. }), "not after adjustment");
        let rate = verdict(0.05, Interval { low: 0.03, high: 0.07 }, 0.001, MARGIN, true, 5);
        assert_eq!(rate, Verdict::Better, "more tokens per second");
    }

    #[test]
    fn the_number_of_runs_written_out() {
        // A change of 3 % ± 6 % of 5 runs. The gap is 3 %, since the margin is already passed: (1 + 0.8416/1.9600) × 6/3
        // = 2.8588; its square times 5 is 40.86.
        assert_eq!(runs_needed(0.06, 0.03, 5), 41);
        assert_eq!(judge(-0.03, 0.09, 0.3), Verdict::Inconclusive { further: 36 });
        // No change ± 4 %: the gap is the margin. 5 × (1.4294 × 4/2)² = 40.86.
        assert_eq!(judge(-0.04, 0.04, 0.3), Verdict::Inconclusive { further: 36 });
        // As the usual formula for two samples: a difference of d with standard deviation s needs 2 (z₀.₉₇₅ + z₀.₈)²
        // (s/d)² on either side. s = 1, d = 0.5, n = 10: half = 1.96 √(2/10), and 62.8.
        let half = 1.959_964 * 0.2_f64.sqrt();
        assert_eq!(runs_needed(half, 0.5, 10), 63);
        assert_eq!(runs_needed(1.0, 0.0, 3), u64::MAX);
    }
}
