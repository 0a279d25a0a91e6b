//! Who holds which KV block, and which blocks can be used again.
//!
//! A full block is known by its content: the content of the block before it and its own tokens. So equal prefixes find
//! each other exactly, without trusting a hash. A block that nobody holds keeps its content until the room is needed;
//! the least recently released goes first, and within one sequence the tail before the head.

use std::collections::{BTreeMap, HashMap};

use crate::kernels::BLOCK;

/// Identity of a run of full blocks from the start of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Content(u64);

impl Content {
    /// The empty run.
    pub(crate) const ROOT: Self = Self(0);
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    before: Content,
    tokens: [u32; BLOCK],
}

#[derive(Debug, Default)]
struct Block {
    holders: u32,
    /// Tokens written.
    filled: u32,
    /// Set while the block can be found by its content.
    known: Option<(Content, Key)>,
    /// Its place among the unheld, while it is there.
    released: u64,
}

/// The blocks of one engine.
#[derive(Debug)]
pub(crate) struct BlockPool {
    blocks: Vec<Block>,
    /// Unheld blocks without content; the last is taken first, so that memory is touched late.
    free: Vec<u32>,
    /// Unheld blocks with content by the time of release.
    idle: BTreeMap<u64, u32>,
    by_key: HashMap<Key, u32>,
    /// Whether contents are remembered at all.
    reuse: bool,
    contents: u64,
    releases: u64,
    held_blocks: usize,
    held_tokens: usize,
}

impl BlockPool {
    /// A pool of `count` empty blocks.
    pub(crate) fn new(count: usize, reuse: bool) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            blocks: (0..count).map(|_| Block::default()).collect(),
            free: (0..count).rev().collect(),
            idle: BTreeMap::new(),
            by_key: HashMap::new(),
            reuse,
            contents: 0,
            releases: 0,
            held_blocks: 0,
            held_tokens: 0,
        }
    }

    /// Blocks in all.
    pub(crate) fn capacity(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that nobody holds.
    pub(crate) fn available(&self) -> usize {
        self.free.len() + self.idle.len()
    }

    /// Blocks held, shared ones once.
    pub(crate) fn held_blocks(&self) -> usize {
        self.held_blocks
    }

    /// Tokens in held blocks, shared ones once.
    pub(crate) fn held_tokens(&self) -> usize {
        self.held_tokens
    }

    /// The longest known run of full blocks at the start of `tokens`, leaving at least one token to compute, without
    /// taking hold of it: the blocks, how many of them nobody holds, and the content of the run.
    pub(crate) fn find_prefix(&self, tokens: &[u32]) -> (Vec<u32>, usize, Content) {
        let (mut found, mut unheld, mut content) = (Vec::new(), 0, Content::ROOT);
        if !self.reuse {
            return (found, unheld, content);
        }
        let whole = tokens.len().saturating_sub(1) / BLOCK;
        for part in tokens.as_chunks::<BLOCK>().0.iter().take(whole) {
            let key = Key { before: content, tokens: *part };
            let Some(&block) = self.by_key.get(&key) else { break };
            let Some((here, _)) = &self.blocks[block as usize].known else { break };
            content = *here;
            unheld += usize::from(self.blocks[block as usize].holders == 0);
            found.push(block);
        }
        (found, unheld, content)
    }

    /// Takes hold of a block that was found.
    pub(crate) fn hold(&mut self, block: u32) {
        let entry = &mut self.blocks[block as usize];
        entry.holders += 1;
        if entry.holders == 1 {
            self.idle.remove(&entry.released);
            self.held_blocks += 1;
            self.held_tokens += entry.filled as usize;
        }
    }

    /// An empty block, held once; `None` when all are held. The flag says that a content had to go for it.
    pub(crate) fn allocate(&mut self) -> Option<(u32, bool)> {
        let (block, evicted) = match self.free.pop() {
            Some(block) => (block, false),
            None => {
                let (_, block) = self.idle.pop_first()?;
                self.forget(block);
                (block, true)
            }
        };
        let entry = &mut self.blocks[block as usize];
        entry.holders = 1;
        entry.filled = 0;
        self.held_blocks += 1;
        Some((block, evicted))
    }

    /// Notes that one more token is written to a block held by its only writer.
    pub(crate) fn fill(&mut self, block: u32) {
        self.blocks[block as usize].filled += 1;
        self.held_tokens += 1;
    }

    /// Makes a full block findable. When an equal block is known already, that one stays; the content is the same.
    pub(crate) fn seal(&mut self, block: u32, before: Content, tokens: [u32; BLOCK]) -> Content {
        let key = Key { before, tokens };
        if let Some((content, _)) = self.by_key.get(&key).and_then(|&known| self.blocks[known as usize].known.as_ref())
        {
            return *content;
        }
        self.contents += 1;
        let content = Content(self.contents);
        if self.reuse {
            self.by_key.insert(key.clone(), block);
            self.blocks[block as usize].known = Some((content, key));
        }
        content
    }

    /// Lets go of a block; true when that dropped what was written to it.
    pub(crate) fn release(&mut self, block: u32) -> bool {
        let entry = &mut self.blocks[block as usize];
        entry.holders -= 1;
        if entry.holders > 0 {
            return false;
        }
        self.held_blocks -= 1;
        self.held_tokens -= entry.filled as usize;
        if entry.known.is_some() {
            self.releases += 1;
            entry.released = self.releases;
            self.idle.insert(self.releases, block);
            false
        } else {
            let dropped = entry.filled > 0;
            entry.filled = 0;
            self.free.push(block);
            dropped
        }
    }

    /// Forgets every content that nobody holds, so that what follows starts cold.
    pub(crate) fn clear_idle(&mut self) {
        for block in std::mem::take(&mut self.idle).into_values() {
            self.forget(block);
            self.free.push(block);
        }
        self.free.sort_unstable_by(|a, b| b.cmp(a));
    }

    fn forget(&mut self, block: u32) {
        if let Some((_, key)) = self.blocks[block as usize].known.take() {
            self.by_key.remove(&key);
        }
        self.blocks[block as usize].filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(pool: &mut BlockPool, tokens: &[u32]) -> Vec<u32> {
        let mut content = Content::ROOT;
        let mut blocks = Vec::new();
        for part in tokens.chunks(BLOCK) {
            let (block, _) = pool.allocate().unwrap();
            part.iter().for_each(|_| pool.fill(block));
            if let Ok(full) = <[u32; BLOCK]>::try_from(part) {
                content = pool.seal(block, content, full);
            }
            blocks.push(block);
        }
        blocks
    }

    #[test]
    fn a_prefix_is_found_by_its_whole_history() {
        let mut pool = BlockPool::new(8, true);
        let tokens: Vec<u32> = (0..40).collect();
        let blocks = write(&mut pool, &tokens);
        assert_eq!(pool.find_prefix(&tokens).0, blocks[..2]);
        // The same tokens after another beginning are another content.
        let mut other = tokens.clone();
        other[0] = 99;
        assert!(pool.find_prefix(&other).0.is_empty());
        // One token is always left to compute.
        assert_eq!(pool.find_prefix(&tokens[..32]).0, blocks[..1]);
    }

    #[test]
    fn the_tail_of_the_oldest_is_evicted_first() {
        let mut pool = BlockPool::new(4, true);
        let first: Vec<u32> = (0..32).collect();
        let second: Vec<u32> = (100..132).collect();
        let a = write(&mut pool, &first);
        let b = write(&mut pool, &second);
        for &block in a.iter().rev().chain(b.iter().rev()) {
            assert!(!pool.release(block), "a known block keeps its content");
        }
        assert_eq!(pool.allocate(), Some((a[1], true)));
        assert_eq!(pool.allocate(), Some((a[0], true)));
        let mut longer = second.clone();
        longer.push(1);
        assert_eq!(pool.find_prefix(&longer).0, b, "the younger one is still there");
    }

    #[test]
    fn without_reuse_nothing_is_found() {
        let mut pool = BlockPool::new(4, false);
        let tokens: Vec<u32> = (0..40).collect();
        for block in write(&mut pool, &tokens) {
            pool.release(block);
        }
        assert!(pool.find_prefix(&tokens).0.is_empty());
        assert_eq!(pool.available(), 4);
    }

    proptest! {
        /// Whatever sequences come and go, no block is lost or given twice, and the counts agree with a recount.
        #[test]
        fn books_balance(ops in proptest::collection::vec((0usize..6, 1usize..60, 0u32..3), 1..80)) {
            let mut pool = BlockPool::new(24, true);
            let mut held: Vec<Vec<u32>> = Vec::new();
            for (what, len, alphabet) in ops {
                if what < 4 {
                    let tokens: Vec<u32> = (0..len as u32).map(|i| i % (alphabet + 1)).collect();
                    let (mut blocks, unheld, mut content) = pool.find_prefix(&tokens);
                    if pool.available() < unheld + tokens.len().div_ceil(BLOCK) - blocks.len() {
                        continue;
                    }
                    blocks.iter().for_each(|&b| pool.hold(b));
                    for part in tokens[blocks.len() * BLOCK..].chunks(BLOCK) {
                        let (block, _) = pool.allocate().unwrap();
                        part.iter().for_each(|_| pool.fill(block));
                        if let Ok(full) = <[u32; BLOCK]>::try_from(part) {
                            content = pool.seal(block, content, full);
                        }
                        blocks.push(block);
                    }
                    held.push(blocks);
                } else if !held.is_empty() {
                    let gone = held.swap_remove(len % held.len());
                    gone.iter().rev().for_each(|&b| { pool.release(b); });
                }
                let mut distinct: Vec<u32> = held.concat();
                distinct.sort_unstable();
                distinct.dedup();
                prop_assert_eq!(distinct.len(), pool.held_blocks());
                prop_assert_eq!(pool.available() + pool.held_blocks(), pool.capacity());
                let tokens: usize = distinct.iter().map(|&b| pool.blocks[b as usize].filled as usize).sum();
                prop_assert_eq!(tokens, pool.held_tokens());
            }
            for blocks in held {
                blocks.iter().rev().for_each(|&b| { pool.release(b); });
            }
            prop_assert_eq!(pool.available(), 24);
            prop_assert_eq!(pool.held_tokens(), 0);
        }
    }
}
