//! Chance that is the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// An independent stream of numbers for each (seed, purpose, index).
pub(crate) fn stream(seed: u64, purpose: &[&str], index: u64) -> Random {
    // Each word is closed by a zero byte.
    let words = purpose.iter().flat_map(|word| word.bytes().chain([0]));
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&fnv(words).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    Random(ChaCha8Rng::from_seed(key))
}

/// A hash of token ids.
pub(crate) fn hash(ids: &[u32]) -> u64 {
    fnv(ids.iter().flat_map(|id| id.to_le_bytes()))
}

/// A hash of token ids and of what stands before them, whose hash is `before` (0 for nothing).
pub(crate) fn follow(before: u64, ids: &[u32]) -> u64 {
    // Each id goes in whole, and the last step carries the upper bits, which a product alone never moves down, to the lower.
    let hash = ids.iter().fold(before ^ BASIS, |hash, id| {
        let mixed = (hash ^ u64::from(*id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    });
    hash ^ (hash >> 29)
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Puts things into a random order: Fisher and Yates.
pub(crate) fn shuffle<T>(things: &mut [T], random: &mut Random) {
    for last in (1..things.len()).rev() {
        things.swap(last, random.below(last + 1));
    }
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform on (0, 1], a multiple of 2⁻⁵³: never zero, so that its logarithm exists.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform on `0..bound`; the bias is below `bound`/2⁶⁴.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// One of them.
    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_stays_what_it_is() {
        // Plans are promised to be the same in every version: these numbers may not change.
        let mut random = stream(7, &["short_input", "prompt"], 3);
        assert_eq!([random.bits(), random.bits()], [7_912_123_842_293_480_461, 8_555_675_412_511_081_963]);
    }

    #[test]
    fn seed_purpose_and_index_each_make_another_stream() {
        let first = |seed, purpose: &[&str], index| stream(seed, purpose, index).bits();
        let all = [
            first(0, &["a"], 0),
            first(1, &["a"], 0),
            first(0, &["b"], 0),
            first(0, &["a"], 1),
            first(0, &["a", ""], 0),
        ];
        for (i, left) in all.iter().enumerate() {
            assert!(!all[..i].contains(left), "stream {i} repeats another");
        }
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let mut random = stream(0, &[], 0);
        for _ in 0..10_000 {
            let unit = random.unit();
            assert!(unit > 0.0 && unit <= 1.0);
            assert!(random.below(3) < 3);
        }
    }
}
