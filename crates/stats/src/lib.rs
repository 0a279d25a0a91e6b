//! Quantiles, intervals and tests. Pure: no input or output, no clock.
//!
//! Every function takes plain numbers. Values that are not finite are the caller's to keep out; what cannot be had from
//! the values given (a spread of one value, an interval of three) is `None`, never a zero. All randomness is a pure
//! function of a seed.
//!
//! - Figures and their intervals: [`quantile()`], [`Distribution`], [`Series`], [`Batches`], [`Estimate`].
//! - Two systems: [`Estimate::change_from`] of one run each, and [`holm`] over many figures; [`hodges_lehmann`] and
//!   [`mann_whitney`] of repeated runs, and [`step_down`] over many figures; [`verdict()`].
//! - Enough data: [`queries_needed`], [`SequentialShare`], [`SequentialMean`].
//! - The course of a run, and of many: [`steady`], [`autocorrelation`], [`effective_n`], [`change_points`].
//! - Arrivals: [`dispersion_index`], [`exponential_test`].

mod batches;
mod binomial;
mod block;
mod change_points;
mod concurrency;
mod correlation;
mod descriptive;
mod dispersion;
mod distribution;
mod estimate;
mod holm;
mod kolmogorov;
mod quantile;
mod random;
mod rank;
mod sequential;
mod series;
mod shift;
mod sketch;
mod special;
mod steady;
mod step_down;
mod student;
mod tail;
mod verdict;

pub use batches::Batches;
pub use change_points::{ChangePoint, change_points};
pub use concurrency::{Concurrency, Spans};
pub use correlation::{autocorrelation, effective_n};
pub use descriptive::{max, mean, min, sample_std};
pub use dispersion::dispersion_index;
pub use distribution::{Ascending, Distribution};
pub use estimate::{Change, Estimate, least_p_of_quantile};
pub use holm::holm;
pub use kolmogorov::{KolmogorovTest, exponential_test, kolmogorov_test};
pub use quantile::{quantile, quantile_effective_n, quantile_interval, values_for_quantile_interval};
pub use random::SplitMix64;
pub use rank::{RankTest, mann_whitney};
pub use sequential::{SequentialMean, SequentialShare, Standing};
pub use series::Series;
pub use shift::{Shift, hodges_lehmann};
pub use sketch::Sketch;
pub use steady::steady;
pub use step_down::{runs_missing, step_down};
pub use student::t_975;
pub use tail::{over_allowed, queries_needed, successes_needed};
pub use verdict::{SIGNIFICANCE, Verdict, runs_needed, verdict};

/// Fewest observations for an interval: as many as the median needs without any assumption.
pub const FEWEST: usize = 6;

/// A two-sided 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}
