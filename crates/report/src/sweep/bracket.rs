//! Which rates to look at on the way to the highest within limits.

use super::Standing;

/// What is known of where the capacity lies, taking for granted that a higher rate never helps.
#[derive(Clone, Debug)]
pub(super) struct Bracket {
    /// Highest rate that is surely within the limits.
    pub(super) within: Option<f64>,
    /// Lowest rate that is surely beyond one.
    pub(super) beyond: Option<f64>,
    /// Lowest rate of which no run could be used: there is no going higher.
    given_up: Option<f64>,
    /// All rates so far.
    tried: Vec<f64>,
    /// Rates that differ by no more than this factor are near enough.
    near: f64,
}

impl Bracket {
    /// Nothing is known yet. The search ends where rates differ by `percent` at most.
    pub(super) fn new(percent: f64) -> Self {
        Self { within: None, beyond: None, given_up: None, tried: Vec::new(), near: 1.0 + percent / 100.0 }
    }

    /// Enters what became of a rate.
    pub(super) fn note(&mut self, rate: f64, standing: Standing) {
        self.tried.push(rate);
        match standing {
            Standing::Within => self.within = Some(self.within.map_or(rate, |known| known.max(rate))),
            Standing::Beyond => self.beyond = Some(self.beyond.map_or(rate, |known| known.min(rate))),
            Standing::Open => {}
        }
    }

    /// Goes no higher than this rate.
    pub(super) fn give_up(&mut self, rate: f64) {
        self.given_up = Some(self.given_up.map_or(rate, |known| known.min(rate)));
    }

    /// The rate to look at next: outwards by doubling or halving until some are surely within and beyond, then between
    /// them, the nearer to where the limit seems to be reached the earlier. `None` when there is none.
    pub(super) fn next(&self, estimate: Option<f64>) -> Option<f64> {
        let highest = self.tried.iter().copied().reduce(f64::max)?;
        let lowest = self.tried.iter().copied().reduce(f64::min)?;
        let (within, beyond) = match (self.within, self.beyond) {
            (Some(within), Some(beyond)) if within < beyond => (within, beyond),
            // Both at once cannot be: one of the decisions was wrong, and no further rate mends it.
            (Some(_), Some(_)) => return None,
            (None, _) => return Some(four_digits(lowest / 2.0)),
            (Some(_), None) => return self.given_up.is_none().then_some(highest * 2.0),
        };
        if beyond / within <= self.near {
            return None;
        }
        let aim = estimate.unwrap_or((within * beyond).sqrt()).clamp(within, beyond);
        let steps = (beyond / within).ln() / self.near.ln();
        // 0, −1, 1, −2, 2, … steps from the aim.
        let places = (0..=steps.ceil() as i32).flat_map(|step| if step == 0 { vec![0] } else { vec![-step, step] });
        let half = self.near.sqrt();
        places
            .map(|place| four_digits(aim * self.near.powi(place)))
            .filter(|rate| (within..beyond).contains(rate))
            .find(|rate| self.tried.iter().all(|tried| (rate / tried).max(tried / rate) >= half))
    }
}

/// Rates become names of folders.
fn four_digits(value: f64) -> f64 {
    let scale = 10f64.powi(3 - value.log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches from `first` where rates are open within `blur` of the capacity, as a share, and `estimate` is told.
    fn search(first: f64, capacity: f64, blur: f64, estimate: Option<f64>) -> (Bracket, u32) {
        let mut bracket = Bracket::new(4.0);
        let (mut rate, mut looks) = (first, 0);
        loop {
            looks += 1;
            assert!(looks < 30, "the search ends");
            let standing = match rate / capacity {
                share if share < 1.0 - blur => Standing::Within,
                share if share > 1.0 + blur => Standing::Beyond,
                _ => Standing::Open,
            };
            bracket.note(rate, standing);
            match bracket.next(estimate) {
                Some(next) => rate = next,
                None => return (bracket, looks),
            }
        }
    }

    #[test]
    fn the_capacity_is_found_as_nearly_as_runs_can_tell() {
        for (first, capacity, blur) in
            [(1.0, 158.8, 0.0), (1000.0, 158.8, 0.0), (120.0, 158.8, 0.1), (158.0, 158.8, 0.03), (3.0, 0.7, 0.02)]
        {
            for estimate in [None, Some(capacity), Some(capacity * 1.07)] {
                let (bracket, looks) = search(first, capacity, blur, estimate);
                let (within, beyond) = (bracket.within.unwrap(), bracket.beyond.unwrap());
                assert!(within <= capacity && capacity <= beyond, "{within} {beyond}");
                // Each side is as near as was asked to the nearest rate that could not be told.
                let widest = (1.0 + blur) / (1.0 - blur) * 1.04 * 1.04 + 0.001;
                assert!(beyond / within <= widest, "{within} to {beyond} after {looks}");
            }
        }
    }

    #[test]
    fn decisions_that_contradict_each_other_end_it() {
        let mut bracket = Bracket::new(4.0);
        bracket.note(10.0, Standing::Beyond);
        bracket.note(12.0, Standing::Within);
        assert_eq!(bracket.next(None), None);
    }
}
