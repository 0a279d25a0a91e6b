//! How a library tells the terminal that something long is under way, without knowing about terminals.

/// A receiver of progress. Libraries call it; the command line decides what, if anything, is drawn.
pub trait Progress: Send + Sync {
    /// A piece of work begins; `total` is in units of `advance` (bytes or items), where known.
    fn begin(&self, what: &str, total: Option<u64>);
    /// So much more of it is done.
    fn advance(&self, amount: u64);
    /// It is finished (also called after a failure).
    fn finish(&self);
}

/// Draws nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _amount: u64) {}
    fn finish(&self) {}
}
