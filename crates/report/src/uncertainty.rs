//! How far times may be off because chunks were read together: their stamp is that of the last, and they came between the
//! moment at which the connection was last empty and that stamp.

use sagellm_core::{Chunk, Record, ms};
use sagellm_stats::Distribution;

/// Chunks that were read together within this time, in nanoseconds, were sent together.
const PROMPT: u32 = 1_000_000;

/// Widths of intervals within which a time lies, in milliseconds; most are zero.
#[derive(Debug, Default)]
pub(crate) struct Widths {
    count: u64,
    sum: f64,
    /// Those above zero.
    wide: Distribution,
}

impl Widths {
    fn push(&mut self, width: f64) {
        self.count += 1;
        if width > 0.0 {
            self.sum += width;
            self.wide.push(width);
        }
    }

    /// Mean over all, those of zero included; `None` without any.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The width that a share `q` of all does not exceed.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let above = (1.0 - q) * self.count as f64;
        let wide = self.wide.count() as f64;
        match self.count {
            0 => None,
            _ if wide <= above => Some(0.0),
            _ => self.wide.ascending().quantile(1.0 - above / wide),
        }
    }

    /// Share of all that are above zero; `None` without any.
    pub(crate) fn share(&self) -> Option<f64> {
        (self.count > 0).then(|| self.wide.count() as f64 / self.count as f64)
    }
}

/// The widths of what successful requests report.
#[derive(Debug, Default)]
pub(crate) struct Uncertainty {
    /// Of the time of the first token.
    pub(crate) first: Widths,
    /// Of the time per output token after the first.
    pub(crate) tbt: Widths,
    /// Of the gaps between arrivals: that of both ends together.
    pub(crate) gaps: Widths,
    /// Chunks, and those of them that came together with the next although they were read in time.
    pub(crate) chunks: u64,
    pub(crate) together: u64,
}

impl Uncertainty {
    /// Takes a success.
    pub(crate) fn push(&mut self, record: &Record) {
        let (Some(first), Some(last)) = (record.chunks.first(), record.chunks.last()) else { return };
        let width = |chunk: &Chunk| ms(u64::from(chunk.uncertainty_ns));
        self.first.push(width(first));
        if let Some(later) = record.tokens_after_first_chunk() {
            self.tbt.push((width(first) + width(last)) / later);
        }
        // Each arrival is as uncertain as the earliest of its chunks.
        let arrivals = record.chunks.chunk_by(|before, after| before.at_ns == after.at_ns);
        let widths: Vec<f64> = arrivals.map(|arrival| width(&arrival[0])).collect();
        widths.windows(2).for_each(|pair| self.gaps.push(pair[0] + pair[1]));
        let together = record.chunks.windows(2).filter(|pair| pair[0].at_ns == pair[1].at_ns);
        self.together += together.filter(|pair| pair[0].uncertainty_ns < PROMPT).count() as u64;
        self.chunks += record.chunks.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_of_zero_count_too() {
        let mut widths = Widths::default();
        assert_eq!((widths.mean(), widths.quantile(0.5), widths.share()), (None, None, None));
        (0..98).for_each(|_| widths.push(0.0));
        widths.push(4.0);
        widths.push(6.0);
        assert_eq!((widths.mean(), widths.share()), (Some(0.1), Some(0.02)));
        assert_eq!((widths.quantile(0.5), widths.quantile(0.98)), (Some(0.0), Some(0.0)));
        assert!((widths.quantile(0.99).unwrap() - 5.0).abs() < 1e-9, "half of those above zero");
        assert_eq!(widths.quantile(1.0), Some(6.0));
    }
}
