//! How many things went on at once.

/// The concurrency of a set of spans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concurrency {
    /// Most spans open at one moment.
    pub peak: u64,
    /// Mean number of open spans from the first start to the last end.
    pub average: f64,
}

/// Half-open spans `[start, end)`, of which only what [`concurrency`](Self::concurrency) needs is kept: two numbers each.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    starts: Vec<u64>,
    ends: Vec<u64>,
    /// Sum of the lengths.
    area: u128,
}

impl Spans {
    /// Takes a span. One without length, or that ends before it starts, is open at no moment.
    pub fn push(&mut self, start: u64, end: u64) {
        if start < end {
            self.starts.push(start);
            self.ends.push(end);
            self.area += u128::from(end - start);
        }
    }

    /// Sweeps over starts and ends; which start belongs to which end does not matter. A span that ends when another
    /// starts does not overlap it. `None` when no span has length.
    pub fn concurrency(mut self) -> Option<Concurrency> {
        self.starts.sort_unstable();
        self.ends.sort_unstable();
        let (first, last) = (*self.starts.first()?, *self.ends.last()?);
        let mut over = 0;
        let mut peak = 0;
        for (begun, start) in self.starts.iter().enumerate() {
            while self.ends[over] <= *start {
                over += 1;
            }
            peak = peak.max(begun + 1 - over);
        }
        Some(Concurrency { peak: peak as u64, average: self.area as f64 / (last - first) as f64 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn concurrency(spans: &[(u64, u64)]) -> Option<Concurrency> {
        let mut all = Spans::default();
        spans.iter().for_each(|(start, end)| all.push(*start, *end));
        all.concurrency()
    }

    #[test]
    fn one_after_the_other_is_one() {
        assert_eq!(concurrency(&[(0, 10), (10, 20), (20, 30)]), Some(Concurrency { peak: 1, average: 1.0 }));
    }

    #[test]
    fn overlaps_and_gaps_are_weighed_by_time() {
        // 0–10 one, 10–20 two, 20–30 one, 30–40 none, 40–50 one: 50 / 50.
        let got = concurrency(&[(0, 20), (10, 30), (40, 50)]).unwrap();
        assert_eq!(got, Concurrency { peak: 2, average: 1.0 });
    }

    #[test]
    fn spans_without_length_are_nothing() {
        assert_eq!(concurrency(&[]), None);
        assert_eq!(concurrency(&[(5, 5)]), None);
        assert_eq!(concurrency(&[(5, 5), (0, 10)]), Some(Concurrency { peak: 1, average: 1.0 }));
    }

    proptest! {
        #[test]
        fn the_peak_is_that_of_counting_at_every_start(spans in prop::collection::vec((0_u64..1000, 1_u64..200), 1..60)) {
            let spans: Vec<_> = spans.into_iter().map(|(start, length)| (start, start + length)).collect();
            let counted = spans
                .iter()
                .map(|(at, _)| spans.iter().filter(|(start, end)| start <= at && at < end).count() as u64)
                .max()
                .unwrap();
            let got = concurrency(&spans).unwrap();
            prop_assert_eq!(got.peak, counted);
            let first = spans.iter().map(|span| span.0).min().unwrap();
            let last = spans.iter().map(|span| span.1).max().unwrap();
            let lengths: u64 = spans.iter().map(|(start, end)| end - start).sum();
            prop_assert!((got.average - lengths as f64 / (last - first) as f64).abs() < 1e-9);
        }
    }
}
