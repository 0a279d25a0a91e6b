//! The search for the highest rate within limits.

use super::Standing;

/// What is known of where the capacity lies, taking for granted that a higher rate never helps.
#[derive(Clone, Copy, Debug)]
pub struct Bracket {
    /// Highest rate that is surely within the limits.
    pub within: Option<f64>,
    /// Lowest rate that is surely beyond one.
    pub beyond: Option<f64>,
    /// Lowest and highest rate that stayed open: nearer to the capacity than so many runs can tell.
    open: Option<(f64, f64)>,
    /// Rates that differ by no more than this factor are near enough.
    near: f64,
}

impl Bracket {
    /// Nothing is known yet. The search ends where rates differ by `percent` at most.
    pub fn new(percent: f64) -> Self {
        Self { within: None, beyond: None, open: None, near: 1.0 + percent / 100.0 }
    }

    /// Enters what became of a rate.
    pub fn note(&mut self, rate: f64, standing: Standing) {
        match standing {
            Standing::Within => self.within = Some(self.within.map_or(rate, |known| known.max(rate))),
            Standing::Beyond => self.beyond = Some(self.beyond.map_or(rate, |known| known.min(rate))),
            Standing::Open => {
                let (low, high) = self.open.unwrap_or((rate, rate));
                self.open = Some((low.min(rate), high.max(rate)));
            }
        }
    }

    /// The rate to look at next: outwards by doubling or halving, then inwards by halving the ratio, on both sides of what
    /// stayed open. `None` when there is none, or before anything is known.
    pub fn next(&self) -> Option<f64> {
        let (low, high) = match self.open {
            Some(open) => open,
            // Without an open rate there is one gap and not two.
            None => return self.between(self.within, self.beyond),
        };
        self.between(self.within, Some(low)).or_else(|| self.between(Some(high), self.beyond))
    }

    fn between(&self, low: Option<f64>, high: Option<f64>) -> Option<f64> {
        match (low, high) {
            (Some(low), Some(high)) => (high / low > self.near).then(|| four_digits((low * high).sqrt())),
            (Some(low), None) => Some(low * 2.0),
            (None, Some(high)) => Some(four_digits(high / 2.0)),
            (None, None) => None,
        }
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

    /// Searches from `first` where rates are open within `blur` of the capacity, as a share.
    fn search(first: f64, capacity: f64, blur: f64) -> (Bracket, u32) {
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
            match bracket.next() {
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
            let (bracket, looks) = search(first, capacity, blur);
            let (within, beyond) = (bracket.within.unwrap(), bracket.beyond.unwrap());
            assert!(within <= capacity && capacity <= beyond, "{within} {beyond}");
            // Each side is as near as was asked to the nearest rate that could not be told.
            let widest = (1.0 + blur) / (1.0 - blur) * 1.04 * 1.04 + 0.001;
            assert!(beyond / within <= widest, "{within} to {beyond} after {looks}");
        }
    }
}
