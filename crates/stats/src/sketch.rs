//! A histogram whose memory does not depend on how many values it holds.

/// Bits of the mantissa that tell buckets apart: 512 buckets to every doubling.
const MANTISSA_BITS: u32 = 9;
const DROPPED_BITS: u32 = f64::MANTISSA_DIGITS - 1 - MANTISSA_BITS;

/// Counts of values by size, fine enough that the middle of a bucket is within 0.1 % of every value in it.
///
/// A bucket holds the numbers that agree in sign, exponent and the first nine bits of the mantissa, so it is found
/// without a logarithm. This is the layout of HdrHistogram (Tene) on floating-point numbers, with the relative guarantee
/// of DDSketch (Masson, Rim & Lee, 2019). From a nanosecond to an hour there are 21 500 buckets.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    negative: Buckets,
    zeros: u64,
    positive: Buckets,
}

/// The counts of neighbouring buckets, in the order of size.
#[derive(Clone, Debug, Default)]
struct Buckets {
    /// Number of the first bucket.
    first: u64,
    counts: Vec<u64>,
    total: u64,
}

impl Sketch {
    /// The middle of a bucket is off by at most half its width, which is 2⁻⁹ of its lower end.
    pub const RELATIVE_ERROR: f64 = 1.0 / 1024.0;

    /// Takes a finite value.
    pub fn push(&mut self, value: f64) {
        if value > 0.0 {
            self.positive.push(value);
        } else if value < 0.0 {
            self.negative.push(-value);
        } else {
            self.zeros += 1;
        }
    }

    /// The value with `rank` in ascending order, which counts from zero, to within [`RELATIVE_ERROR`](Self::RELATIVE_ERROR).
    /// A rank that is too high gives the largest.
    pub fn at(&self, rank: u64) -> f64 {
        let Some(rank) = rank.checked_sub(self.negative.total) else {
            // The smallest of the negative are the largest in size.
            return -self.negative.at(self.negative.total - 1 - rank);
        };
        match rank.checked_sub(self.zeros) {
            None => 0.0,
            Some(rank) => self.positive.at(rank),
        }
    }
}

impl Buckets {
    fn push(&mut self, size: f64) {
        let bucket = size.to_bits() >> DROPPED_BITS;
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = (self.first - bucket) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let place = (bucket - self.first) as usize;
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
        self.total += 1;
    }

    fn at(&self, rank: u64) -> f64 {
        let mut below = 0;
        let place = self.counts.iter().position(|count| {
            below += count;
            rank < below
        });
        let bucket = self.first + place.unwrap_or(self.counts.len().saturating_sub(1)) as u64;
        let low = f64::from_bits(bucket << DROPPED_BITS);
        let high = f64::from_bits((bucket + 1) << DROPPED_BITS);
        if high.is_finite() { low + (high - low) / 2.0 } else { low }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranks_run_from_the_most_negative_to_the_largest() {
        let mut sketch = Sketch::default();
        [5.0, -2.0, 0.0, -8.0, 0.25].into_iter().for_each(|value| sketch.push(value));
        for (rank, value) in [-8.0, -2.0, 0.0, 0.25, 5.0].into_iter().enumerate() {
            let got = sketch.at(rank as u64);
            assert!((got - value).abs() <= value.abs() * Sketch::RELATIVE_ERROR, "{got} is not {value}");
        }
    }

    #[test]
    fn memory_depends_on_the_range_only() {
        let mut sketch = Sketch::default();
        for nanos in 0..1_000_000_u64 {
            sketch.push((nanos * 3_600_000) as f64 / 1e6);
        }
        assert!(sketch.positive.counts.len() < 21_504, "{}", sketch.positive.counts.len());
    }

    #[test]
    fn the_largest_and_smallest_numbers_are_no_exception() {
        let mut sketch = Sketch::default();
        let values = [f64::MIN, -5e-324, f64::MIN_POSITIVE, f64::MAX];
        values.into_iter().for_each(|value| sketch.push(value));
        for (rank, value) in values.into_iter().enumerate() {
            let got = sketch.at(rank as u64);
            let wrong = (got - value).abs() > value.abs() * Sketch::RELATIVE_ERROR;
            // Below the smallest normal number a bucket is as wide as its values are large.
            assert_eq!(wrong, value == -5e-324, "{got} is not {value}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_rank_is_within_the_error(mut values in prop::collection::vec(
            prop_oneof![-1e9..1e9_f64, -1e-3..1e-3_f64, Just(0.0)], 1..200,
        )) {
            let mut sketch = Sketch::default();
            values.iter().for_each(|value| sketch.push(*value));
            values.sort_by(f64::total_cmp);
            for (rank, value) in values.iter().enumerate() {
                let got = sketch.at(rank as u64);
                prop_assert!((got - value).abs() <= value.abs() * Sketch::RELATIVE_ERROR, "{} is not {}", got, value);
            }
        }
    }
}
