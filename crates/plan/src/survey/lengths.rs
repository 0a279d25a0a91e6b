//! How long prompts and answers are.

use std::collections::BTreeMap;

/// An exact distribution of whole numbers: how often each occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    counts: BTreeMap<u64, u64>,
}

impl Lengths {
    pub(super) fn add(&mut self, length: u64) {
        *self.counts.entry(length).or_default() += 1;
    }

    /// Each length, ascending, and how often it occurs.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts.iter().map(|(length, count)| (*length, *count))
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Their sum.
    pub fn total(&self) -> u64 {
        self.counts().map(|(length, count)| length * count).sum()
    }

    /// The least; `None` when there is none.
    pub fn min(&self) -> Option<u64> {
        self.counts.keys().next().copied()
    }

    /// The greatest.
    pub fn max(&self) -> Option<u64> {
        self.counts.keys().next_back().copied()
    }

    /// The mean.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.total() as f64 / count as f64)
    }

    /// The least length that at least the share `q` (0 to 1) of all does not exceed.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = ((self.count() as f64 * q).ceil() as u64).max(1);
        let mut passed = 0;
        self.counts().find_map(|(length, count)| {
            passed += count;
            (passed >= rank).then_some(length)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_order_statistics() {
        let mut lengths = Lengths::default();
        assert_eq!((lengths.min(), lengths.mean(), lengths.quantile(0.5)), (None, None, None));
        for length in [7, 3, 3, 9] {
            lengths.add(length);
        }
        assert_eq!((lengths.count(), lengths.total(), lengths.min(), lengths.max()), (4, 22, Some(3), Some(9)));
        assert_eq!(lengths.mean(), Some(5.5));
        let quantiles = [0.0, 0.5, 0.51, 0.75, 0.76, 1.0].map(|q| lengths.quantile(q));
        assert_eq!(quantiles, [Some(3), Some(3), Some(7), Some(7), Some(9), Some(9)]);
        assert_eq!(lengths.counts().collect::<Vec<_>>(), [(3, 2), (7, 1), (9, 1)]);
    }
}
