//! How long an answer may be: in relation to what was asked for, so that one without an end fills no memory.

/// Chunks with tokens, and tokens, that an answer may have, however few tokens were asked for,
const FEWEST_PIECES: u32 = 1 << 16;
/// for each token that was,
const PIECES_PER_TOKEN: u32 = 4;
/// and at most.
const MOST_PIECES: u32 = 1 << 24;
/// Bytes of text that an answer may have for each of these chunks,
const TEXT_PER_PIECE: usize = 64;
/// and at most.
const MAX_TEXT: usize = 64 << 20;

/// How long an answer may be.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Tokens that were asked for.
    pub(crate) asked: u32,
    /// Chunks with tokens, and tokens by the server's count.
    pub(crate) pieces: u32,
    /// Bytes of text.
    pub(crate) text: usize,
}

impl Bounds {
    /// Of an answer to a request for so many tokens.
    pub(crate) fn of(asked: u32) -> Self {
        let pieces = asked.saturating_mul(PIECES_PER_TOKEN).clamp(FEWEST_PIECES, MOST_PIECES);
        Self { asked, pieces, text: (pieces as usize).saturating_mul(TEXT_PER_PIECE).min(MAX_TEXT) }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(0)
    }
}
