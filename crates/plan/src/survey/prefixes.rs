//! What prompts have in common with those before them.

use std::collections::HashSet;

use crate::random;

/// Tokens of a block of a prefix cache, as usual.
const BLOCK: usize = 16;
/// Blocks that are remembered at most: 134 million tokens.
const MOST_BLOCKS: usize = 1 << 23;

/// Prompt tokens that repeat the beginning of an earlier prompt, in whole blocks of 16 tokens: what a prefix cache of that
/// block size that never forgets would save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// Prompt tokens, those of the conversation so far included.
    pub prompt_tokens: u64,
    /// Those that repeat the beginning of an earlier prompt. Of a later turn: those of the conversation so far.
    pub repeated_tokens: u64,
    /// Whether every block was remembered. After 8 million different ones (134 million tokens) no further are, and
    /// `repeated_tokens` is a lower bound.
    pub complete: bool,
}

impl Prefixes {
    /// Repeated tokens per prompt token; `None` without prompts.
    pub fn share(&self) -> Option<f64> {
        (self.prompt_tokens > 0).then(|| self.repeated_tokens as f64 / self.prompt_tokens as f64)
    }
}

#[derive(Debug, Default)]
pub(super) struct PrefixPass {
    /// Hashes of blocks with all that stands before them.
    seen: HashSet<u64>,
    prompt_tokens: u64,
    repeated_tokens: u64,
    full: bool,
}

impl PrefixPass {
    /// A prompt that continues nothing.
    pub(super) fn first(&mut self, ids: &[u32]) {
        self.prompt_tokens += ids.len() as u64;
        let mut prefix = 0;
        for block in ids.chunks_exact(BLOCK) {
            prefix = random::follow(prefix, block);
            // A block whose beginning is new is new: the hash says so for both.
            if self.seen.contains(&prefix) {
                self.repeated_tokens += BLOCK as u64;
            } else if self.seen.len() < MOST_BLOCKS {
                self.seen.insert(prefix);
            } else {
                self.full = true;
            }
        }
    }

    /// A prompt that continues a conversation of `before` tokens by `added` ones.
    pub(super) fn later(&mut self, before: u64, added: u64) {
        self.prompt_tokens += before + added;
        self.repeated_tokens += before - before % BLOCK as u64;
    }

    pub(super) fn finish(self) -> Prefixes {
        let Self { prompt_tokens, repeated_tokens, full, .. } = self;
        Prefixes { prompt_tokens, repeated_tokens, complete: !full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_of_a_common_beginning_repeat() {
        let mut pass = PrefixPass::default();
        let ids: Vec<u32> = (0..50).collect();
        pass.first(&ids);
        pass.first(&ids[..40]);
        pass.first(&ids[1..]);
        // The same block behind another beginning is another block.
        pass.first(&[&[7; 16], &ids[16..32]].concat());
        let prefixes = pass.finish();
        assert_eq!(prefixes, Prefixes { prompt_tokens: 50 + 40 + 49 + 32, repeated_tokens: 32, complete: true });
    }

    #[test]
    fn a_conversation_repeats_itself() {
        let mut pass = PrefixPass::default();
        pass.first(&[1; 20]);
        pass.later(30, 10);
        let prefixes = pass.finish();
        assert_eq!((prefixes.prompt_tokens, prefixes.repeated_tokens), (60, 16));
        assert_eq!(prefixes.share(), Some(16.0 / 60.0));
    }
}
