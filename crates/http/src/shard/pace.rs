//! How often the thread looks at its connections.
//!
//! Where the kernel stamps what comes, a chunk that is read later has the same stamp, and to wake up once for the tokens of
//! many streams costs a fraction of waking up for each. But what is read is acknowledged then, for which a server that
//! gathers small writes (Nagle's algorithm) may wait, and chunks of one stream that come before one read share a stamp. So a
//! rest is short, and is taken only while the chunks of each stream come so far apart that neither can matter.

use sagellm_core::Nanos;

/// Lasts a look and the rest after it, while tokens come densely.
pub(super) const SPAN: Nanos = 250_000;
/// Chunks in a span that make a rest worth its cost.
const DENSE: usize = 5;
/// A stream whose chunks come nearer together is read as they come.
const APART: Nanos = 5_000_000;
/// After a chunk that came nearer, no rest is taken for so long.
const ALERT: Nanos = 100_000_000;

/// Whether to look again at once.
#[derive(Debug)]
pub(super) struct Pace {
    /// Whether stamps are the kernel's.
    stamping: bool,
    /// When this span began.
    began: Nanos,
    /// Chunks that came in it.
    chunks: usize,
    /// No rest before this.
    alert_until: Nanos,
}

impl Pace {
    pub(super) fn new(stamping: bool) -> Self {
        Self { stamping, began: 0, chunks: 0, alert_until: 0 }
    }

    /// Notes a read that brought so many chunks with tokens, `since` the one before on its connection.
    pub(super) fn heard(&mut self, at: Nanos, since: Nanos, chunks: usize) {
        self.chunks += chunks;
        if chunks > 1 || (chunks == 1 && since < APART) {
            self.alert_until = at + ALERT;
        }
    }

    /// Returns how long to rest after a look that ended at `now`, if `may_rest` says that nothing else is to be done.
    pub(super) fn rest(&mut self, now: Nanos, may_rest: bool) -> Option<Nanos> {
        let end = self.began + SPAN;
        let dense = self.chunks >= DENSE;
        if now < end && !dense {
            return None;
        }
        self.chunks = 0;
        let rests = may_rest && self.stamping && now < end && now >= self.alert_until;
        // A span begins in the future only after a rest until then: rests that are not taken must not add up.
        self.began = if rests { end } else { now };
        rests.then(|| end - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;
    const US: Nanos = 1000;

    /// What is rested after looks that end at these times, when the streams' chunks are so far apart.
    fn rests(pace: &mut Pace, ends: &[Nanos], apart: Nanos, chunks: usize) -> Vec<Option<Nanos>> {
        let mut rest = |&end: &Nanos| {
            for _ in 0..DENSE {
                pace.heard(end, apart, chunks);
            }
            pace.rest(end, true)
        };
        ends.iter().map(&mut rest).collect()
    }

    #[test]
    fn a_rest_lasts_until_the_span_is_over() {
        let ends = [10 * MS, 10 * MS + 50 * US, 10 * MS + 260 * US, 10 * MS + 800 * US];
        let expected = [None, Some(200 * US), Some(240 * US), None];
        assert_eq!(rests(&mut Pace::new(true), &ends, 10 * MS, 1), expected);
    }

    #[test]
    fn rests_that_are_not_taken_do_not_add_up() {
        let mut pace = Pace::new(true);
        let mut dense_look = |at: Nanos, may_rest: bool| {
            (0..DENSE).for_each(|_| pace.heard(at, 10 * MS, 1));
            pace.rest(at, may_rest)
        };
        for look in 0..1000 {
            assert_eq!(dense_look(10 * MS + look * US, false), None, "a request is due soon");
        }
        let rest = dense_look(11 * MS, true).unwrap();
        assert!(rest < SPAN, "{rest}");
    }

    #[test]
    fn a_few_chunks_are_not_worth_a_rest() {
        let mut pace = Pace::new(true);
        pace.rest(10 * MS, true);
        for look in 1..DENSE as Nanos {
            pace.heard(10 * MS + look, 10 * MS, 1);
            assert_eq!(pace.rest(10 * MS + look, true), None);
        }
        assert_eq!(pace.rest(10 * MS + SPAN, true), None, "another span begins");
        pace.heard(10 * MS + SPAN, 10 * MS, 1);
        assert_eq!(pace.rest(10 * MS + SPAN + 1, true), None);
    }

    #[test]
    fn nothing_rests_where_reading_later_could_show() {
        let ends = [10 * MS, 10 * MS + US, 10 * MS + 2 * US];
        let none = [None, None, None];
        assert_eq!(rests(&mut Pace::new(false), &ends, 10 * MS, 1), none, "stamps of our own");
        assert_eq!(rests(&mut Pace::new(true), &ends, 4 * MS, 1), none, "chunks near together");
        assert_eq!(rests(&mut Pace::new(true), &ends, 10 * MS, 2), none, "chunks in one read");
        assert_eq!(rests(&mut Pace::new(true), &ends, 4 * MS, 0), none, "no tokens");
    }

    #[test]
    fn one_stream_of_near_chunks_keeps_the_thread_alert_for_a_while() {
        let mut pace = Pace::new(true);
        pace.heard(MS, MS, 1);
        let ends = [MS + 100 * US, MS + 200 * US, MS + ALERT, MS + ALERT + 100 * US];
        assert_eq!(rests(&mut pace, &ends, 10 * MS, 1), [None, None, None, Some(SPAN - 100 * US)]);
    }
}
