//! Quantiles, intervals and tests. Pure: no input or output, no clock.
