//! Quantiles, intervals and tests. Pure: no input or output, no clock.
//!
//! Every function takes plain numbers. Values that are not finite are the caller's to keep out; what cannot be had from
//! the values given (a spread of one value, an interval of three) is `None`, never a zero.

mod bootstrap;
mod concurrency;
mod correlation;
mod descriptive;
mod distribution;
mod quantile;
mod random;
mod series;
mod sketch;
mod student;
mod tail;

pub use bootstrap::{FEWEST, FEWEST_BLOCKS, block_length, mean_interval, ratio_interval};
pub use concurrency::{Concurrency, Spans};
pub use correlation::effective_n;
pub use descriptive::{max, mean, min, sample_std};
pub use distribution::{Ascending, Distribution};
pub use quantile::{quantile, quantile_interval, values_for_quantile_interval};
pub use random::SplitMix64;
pub use series::Series;
pub use sketch::Sketch;
pub use tail::successes_needed;

/// A two-sided 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}
