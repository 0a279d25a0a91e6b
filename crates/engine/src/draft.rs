//! Drafts for speculative decoding: what followed the last time that the sequence said the same.
//!
//! A. Saxena, *Prompt Lookup Decoding*, 2023; Y. Leviathan et al., *Fast Inference from Transformers via Speculative
//! Decoding*, 2023. A draft is computed together with the token before it, and kept as far as it is what would have been
//! chosen without it: only how many tokens a step gives depends on it, never which.

/// Lengths of the tail that is looked for, the longest first.
const TAILS: [usize; 3] = [4, 3, 2];

/// Up to `most` tokens that may follow `tokens`: those after an earlier occurrence of its tail, the latest one that has so
/// many after it, or else the one that has most.
pub(crate) fn lookup(tokens: &[u32], most: usize) -> &[u32] {
    if most == 0 {
        return &[];
    }
    for tail in TAILS {
        let Some(before) = tokens.len().checked_sub(tail + 1) else { continue };
        let sought = &tokens[before + 1..];
        let occurs = |start: &usize| tokens[*start..start + tail] == *sought;
        let long = tokens.len().saturating_sub(tail + most);
        let found = (0..=long.min(before)).rev().find(occurs).or_else(|| (long + 1..=before).find(occurs));
        if let Some(start) = found {
            let from = start + tail;
            return &tokens[from..tokens.len().min(from + most)];
        }
    }
    &[]
}

/// How many tokens are worth drafting for a sequence: more while drafts are right, fewer while they are wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Courage(usize);

impl Courage {
    /// At its most, which is `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self(most)
    }

    /// Tokens to draft at most.
    pub(crate) fn tokens(self) -> usize {
        self.0
    }

    /// Learns how many of `drafted` tokens were right.
    pub(crate) fn learn(&mut self, drafted: usize, accepted: usize, most: usize) {
        if accepted == drafted {
            self.0 = (2 * self.0).min(most);
        } else if 2 * accepted < drafted {
            self.0 = (self.0 / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_occurrence_with_enough_after_it_is_taken() {
        let tokens = [1, 2, 3, 4, 5, 1, 2, 3, 6, 7, 8, 1, 2, 3];
        assert_eq!(lookup(&tokens, 2), [6, 7]);
        assert_eq!(lookup(&tokens, 6), [6, 7, 8, 1, 2, 3]);
        // The later one has only six tokens after it.
        assert_eq!(lookup(&tokens, 7), [4, 5, 1, 2, 3, 6, 7]);
    }

    #[test]
    fn a_loop_is_drafted_to_its_full_length() {
        let tokens = [9, 1, 2, 1, 2, 1, 2, 1, 2];
        assert_eq!(lookup(&tokens, 3), [1, 2, 1]);
        assert_eq!(lookup(&tokens, 8), [1, 2, 1, 2]);
    }

    #[test]
    fn nothing_is_drafted_without_an_occurrence() {
        for tokens in [&[][..], &[1], &[1, 1], &[1, 2, 3, 4], &[1, 2, 3, 1]] {
            assert_eq!(lookup(tokens, 4), [0u32; 0], "{tokens:?}");
        }
        assert_eq!(lookup(&[1, 1, 1], 4), [1]);
        assert_eq!(lookup(&[1, 2, 1, 2, 1, 2], 0), [0u32; 0]);
    }

    #[test]
    fn courage_grows_with_success_and_never_ends() {
        let mut courage = Courage::new(8);
        for _ in 0..9 {
            courage.learn(courage.tokens(), 0, 8);
        }
        assert_eq!(courage.tokens(), 1);
        for _ in 0..9 {
            courage.learn(courage.tokens(), courage.tokens(), 8);
        }
        assert_eq!(courage.tokens(), 8);
    }
}
