//! Places to cut an input at. They follow from the input itself, so that any plain file is a seed.

/// Ways to cut `bytes`, in ascending order each: a few random ones, and, where it does not take long, after every byte.
pub fn ways(bytes: &[u8]) -> Vec<Vec<usize>> {
    let mut state = hash(bytes);
    let mut next = |below: usize| {
        // xorshift64*, of which the upper half is good.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    };
    let mut ways: Vec<Vec<usize>> = (1..=3)
        .map(|count| {
            let mut cuts: Vec<usize> = (0..count).map(|_| next(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            cuts
        })
        .collect();
    if bytes.len() <= 4096 {
        ways.push((1..bytes.len()).collect());
    }
    ways
}

/// FNV-1a; never zero, which the generator could not leave.
fn hash(bytes: &[u8]) -> u64 {
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, hash) | 1
}
