//! Where a limit is reached, from all rates together.

use sagellm_stats::{quantile, t_975};

/// How often a limit was exceeded at a rate: of `n` requests' worth, `over`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exceeded {
    pub(super) rate: f64,
    pub(super) n: f64,
    pub(super) over: f64,
}

/// Shares that are farther from the allowed one than by this factor say little of where it is reached.
const NEAR: f64 = 8.0;

/// Where a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crossing {
    pub(super) rate: f64,
    /// Ends of its 95 % interval, by the profile of the likelihood; infinite, or zero, where nothing bounds it.
    pub(super) low: f64,
    pub(super) high: f64,
}

/// The rate at which the share of requests over a limit is `allowed`: a logistic regression of the share on the logarithm
/// of the rate (Newton's method), over the rates whose share is near, and at least the nearest on each side. `None` when
/// there are no two such rates, or the share does not grow from one to the other.
pub(super) fn crossing(points: &[Exceeded], allowed: f64) -> Option<Crossing> {
    // What chance put the wrong way round near the limit is seen from farther away.
    fit(&chosen(points, allowed), allowed).or_else(|| fit(points, allowed))
}

fn fit(used: &[Exceeded], allowed: f64) -> Option<Crossing> {
    // About the middle, so that the two unknowns hardly depend on each other.
    let mut logs: Vec<f64> = used.iter().map(|point| point.rate.ln()).collect();
    logs.sort_by(f64::total_cmp);
    let middle = quantile(&logs, 0.5)?;
    let (mut level, mut slope) = (logit(allowed), 8.0);
    for _ in 0..200 {
        let (mut gradient, mut curvature) = ([0.0; 2], [0.0; 3]);
        for point in used {
            let x = point.rate.ln() - middle;
            let share = 1.0 / (1.0 + (-(level + slope * x)).exp());
            // Half a request more on each side, so that none and all have finite odds.
            let off = point.over + 0.5 - (point.n + 1.0) * share;
            let weight = (point.n + 1.0) * share * (1.0 - share);
            gradient[0] += off;
            gradient[1] += off * x;
            curvature[0] += weight;
            curvature[1] += weight * x;
            curvature[2] += weight * x * x;
        }
        let determinant = curvature[0] * curvature[2] - curvature[1] * curvature[1];
        if determinant.is_nan() || determinant <= 0.0 {
            return None;
        }
        let by = [
            (gradient[0] * curvature[2] - gradient[1] * curvature[1]) / determinant,
            (gradient[1] * curvature[0] - gradient[0] * curvature[1]) / determinant,
        ];
        // Small steps, since far from the solution Newton's overshoot.
        level += by[0].clamp(-1.0, 1.0);
        slope += by[1].clamp(-20.0, 20.0);
        if by[0].abs() < 1e-9 && by[1].abs() < 1e-9 {
            break;
        }
    }
    let rate = (middle + (logit(allowed) - level) / slope).exp();
    let fitted = Line { level: logit(allowed), at: rate.ln(), slope };
    (slope > 0.0 && rate.is_finite()).then(|| Crossing {
        rate,
        low: fitted.end(used, -1.0).exp(),
        high: fitted.end(used, 1.0).exp(),
    })
}

/// Log odds that grow with the logarithm of the rate, and are `level` at one place.
#[derive(Clone, Copy)]
struct Line {
    level: f64,
    at: f64,
    slope: f64,
}

impl Line {
    fn log_odds(self, point: &Exceeded) -> f64 {
        self.level + self.slope * (point.rate.ln() - self.at)
    }

    /// Logarithm of the likelihood of what was seen.
    fn likelihood(self, used: &[Exceeded]) -> f64 {
        // ln(1 + eˣ) without overflow.
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let of = |point: &Exceeded| {
            let odds = self.log_odds(point);
            (point.over + 0.5) * odds - (point.n + 1.0) * softplus(odds)
        };
        used.iter().map(of).sum()
    }

    /// The most likely slope of a line through the same level at another place.
    fn through(self, at: f64, used: &[Exceeded]) -> Self {
        let mut line = Self { at, ..self };
        for _ in 0..100 {
            let (mut gradient, mut curvature) = (0.0, 0.0);
            for point in used {
                let x = point.rate.ln() - at;
                let share = 1.0 / (1.0 + (-line.log_odds(point)).exp());
                gradient += (point.over + 0.5 - (point.n + 1.0) * share) * x;
                curvature += (point.n + 1.0) * share * (1.0 - share) * x * x;
            }
            let step = (gradient / curvature.max(f64::MIN_POSITIVE)).clamp(-20.0, 20.0);
            line.slope = (line.slope + step).max(0.0);
            if step.abs() < 1e-9 {
                break;
            }
        }
        line
    }

    /// By how much the likelihood may fall. Counts of queues scatter more than those of coins, and a line is only about
    /// right: where the rates are farther from the line than chance puts them, it may fall as much more, and the fewer
    /// rates say so, the more yet (McCullagh and Nelder, "Generalized Linear Models", 1989, section 4.5).
    fn unlikely(self, used: &[Exceeded]) -> f64 {
        let off = |point: &Exceeded| {
            let share = 1.0 / (1.0 + (-self.log_odds(point)).exp());
            (point.over + 0.5 - (point.n + 1.0) * share).powi(2) / ((point.n + 1.0) * share * (1.0 - share))
        };
        let free = used.len() as f64 - 2.0;
        let scatter = if free > 0.0 { (used.iter().map(off).sum::<f64>() / free).max(1.0) } else { 1.0 };
        scatter * t_975(free).powi(2) / 2.0
    }

    /// How far the place can be moved to one side before what was seen becomes too unlikely.
    fn end(self, used: &[Exceeded], side: f64) -> f64 {
        let (most, unlikely) = (self.likelihood(used), self.unlikely(used));
        let possible = |far: f64| {
            let at = self.at + side * far;
            most - self.through(at, used).likelihood(used) < unlikely
        };
        let (mut inside, mut outside) = (0.0, FARTHEST);
        if possible(outside) {
            return side * f64::INFINITY;
        }
        while outside - inside > 1e-5 {
            let middle = (inside + outside) / 2.0;
            if possible(middle) { inside = middle } else { outside = middle }
        }
        self.at + side * inside
    }
}

/// How far from the estimate its interval is looked for, in logarithms of rates.
const FARTHEST: f64 = 3.0;

fn chosen(points: &[Exceeded], allowed: f64) -> Vec<Exceeded> {
    let share = |point: &Exceeded| (point.over + 0.5) / (point.n + 1.0);
    let mut sorted = points.to_vec();
    sorted.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let below = sorted.iter().rposition(|point| share(point) <= allowed);
    let above = sorted.iter().position(|point| share(point) > allowed);
    let near = |point: &Exceeded| (allowed / NEAR..=allowed * NEAR).contains(&share(point));
    let kept = sorted
        .iter()
        .enumerate()
        .filter(|(place, point)| near(point) || Some(*place) == below || Some(*place) == above);
    kept.map(|(_, point)| *point).collect()
}

fn logit(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rate: f64, n: f64, share: f64) -> Exceeded {
        Exceeded { rate, n, over: n * share }
    }

    #[test]
    fn lies_where_the_odds_are_those_that_are_allowed() {
        // Odds that grow with the 10th power of the rate, and are those of 1 % at 100.
        let share = |rate: f64| {
            let odds = (rate / 100.0_f64).powi(10) / 99.0;
            odds / (1.0 + odds)
        };
        let points: Vec<Exceeded> =
            [80.0, 95.0, 104.0, 110.0].into_iter().map(|rate| at(rate, 1e7, share(rate))).collect();
        let found = crossing(&points, 0.01).unwrap().rate;
        assert!((found - 100.0).abs() < 0.01, "{found}");
    }

    #[test]
    fn what_is_far_from_the_limit_does_not_move_it() {
        let near = [at(95.0, 1e4, 0.006), at(105.0, 1e4, 0.016)];
        let alone = crossing(&near, 0.01).unwrap();
        let with_far: Vec<Exceeded> = near.into_iter().chain([at(10.0, 1e6, 0.0), at(400.0, 1e6, 1.0)]).collect();
        assert_eq!(crossing(&with_far, 0.01), Some(alone));
        assert!((99.0..101.0).contains(&alone.rate), "{alone:?}");
    }

    #[test]
    fn the_interval_follows_what_was_seen() {
        let width = |n: f64, off: f64| {
            let points = [(90.0, 0.004 + off), (96.0, 0.007 - off), (104.0, 0.014 + off), (110.0, 0.023 - off)];
            let points: Vec<Exceeded> = points.into_iter().map(|(rate, share)| at(rate, n, share)).collect();
            let found = crossing(&points, 0.01).unwrap();
            assert!(found.low < found.rate && found.rate < found.high, "{found:?}");
            (found.high / found.low).ln()
        };
        // A hundred times as many requests, a tenth of the width.
        let ratio = width(1e4, 0.0) / width(1e6, 0.0);
        assert!((9.0..12.0).contains(&ratio), "{ratio}");
        assert!(width(1e6, 0.001) > 2.0 * width(1e6, 0.0), "rates beside the line widen it");
        let two = crossing(&[at(95.0, 1e4, 0.006), at(105.0, 1e4, 0.016)], 0.01).unwrap();
        assert_eq!((two.low, two.high), (0.0, f64::INFINITY), "two rates always lie on a line");
    }

    #[test]
    fn none_on_one_side_or_the_wrong_way_round() {
        assert_eq!(crossing(&[], 0.01), None);
        assert_eq!(crossing(&[at(95.0, 1e4, 0.006)], 0.01), None);
        assert_eq!(crossing(&[at(95.0, 1e4, 0.02), at(105.0, 1e4, 0.005)], 0.01), None);
    }
}
