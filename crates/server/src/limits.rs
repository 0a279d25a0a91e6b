//! What clients may take up of a server: connections, time, and memory for requests that are not complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Limits on what clients may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections served at the same time. More wait in the queue of the system.
    pub connections: usize,
    /// How long a connection may wait for a request.
    pub idle: Duration,
    /// From the first byte of a request to its last.
    pub request: Duration,
    /// How long a client may read nothing while there is something to read.
    pub stalled: Duration,
    /// Bytes of all requests that are not complete.
    pub buffered: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            idle: Duration::from_secs(75),
            request: Duration::from_secs(30),
            stalled: Duration::from_secs(300),
            buffered: 256 << 20,
        }
    }
}

/// Counts something that clients take up together, and knows how much of it there is.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// A part of a [`Quota`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    quota: Quota,
    amount: usize,
}

impl Quota {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    /// Whether all of it is taken.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.limit
    }

    /// A part of it.
    pub(crate) fn share(&self, amount: usize) -> Share {
        self.used.fetch_add(amount, Ordering::Relaxed);
        Share { quota: self.clone(), amount }
    }
}

impl Share {
    /// Changes the size of the part. Returns whether all parts are within the limit.
    pub(crate) fn resize(&mut self, amount: usize) -> bool {
        self.quota.used.fetch_add(amount, Ordering::Relaxed);
        let before = self.quota.used.fetch_sub(self.amount, Ordering::Relaxed);
        let all = before - self.amount;
        self.amount = amount;
        all <= self.quota.limit
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.quota.used.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// Whether a request may be answered: it carries the key of the server, if the server has one.
pub(crate) fn is_authorized(key: Option<&str>, authorization: Option<&str>) -> bool {
    let Some(key) = key else { return true };
    let given = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // Takes the same time wherever the first difference is.
    given.len() == key.len() && given.bytes().zip(key.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_together_and_given_back() {
        let quota = Quota::new(10);
        let mut first = quota.share(0);
        let mut second = quota.share(4);
        assert!(first.resize(6) && quota.is_exhausted());
        assert!(!second.resize(5));
        drop(second);
        assert!(first.resize(9) && !quota.is_exhausted());
        assert!(first.resize(10) && quota.is_exhausted());
        drop(first);
        assert!(!quota.is_exhausted());
    }

    #[test]
    fn only_the_key_is_authorized() {
        assert!(is_authorized(None, None));
        assert!(is_authorized(Some("k1"), Some("Bearer k1")));
        for wrong in [None, Some("k1"), Some("Bearer k2"), Some("Bearer k11"), Some("Bearer ")] {
            assert!(!is_authorized(Some("k1"), wrong), "{wrong:?}");
        }
    }
}
