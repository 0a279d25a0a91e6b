//! How many neighbors are alike, as the values themselves show it.

use crate::correlation::{autocovariance, centred};

/// How much longer blocks are than would give the least squared error of the variance. Longer blocks miss less of the
/// correlation; that there are fewer of them is paid for by Student's t. For the coverage of an interval the former
/// matters more (Sun, Phillips & Jin, "Optimal bandwidth selection in heteroskedasticity–autocorrelation robust
/// testing", 2008); by how much was found by simulation.
const LONGER: f64 = 3.0;

/// Fewest blocks that a correlation found in the data may leave.
const FEWEST_LEFT: usize = 5;

/// The block length that suits the correlation in `values`, which are in the order in which they were made: three times
/// the length of Politis & White, "Automatic block-length selection for the dependent bootstrap" (2004), for circular blocks
/// with the correction of Patton, Politis & White (2009), and at most a fifth of the values.
///
/// `None` when it is no more than the cube root of `n`, the order that Hall, Horowitz & Jing, "On blocking rules for the
/// bootstrap with dependent data" (1995), find best for a variance: neighbors are not alike.
pub(crate) fn correlated_block_length(values: &[f64]) -> Option<usize> {
    let n = values.len();
    let wanted = (LONGER * politis_white(values)).min((n / FEWEST_LEFT) as f64);
    (wanted > (n as f64).cbrt()).then(|| wanted.round() as usize)
}

/// The variance of the mean of `values`, as resampling circular blocks would show it: that of the means of all blocks,
/// over the number of blocks that fit; k/(k − 1) of it, since k blocks show only (k − 1)/k. `None` unless two fit.
pub(crate) fn variance_of_mean(values: &[f64], block: usize) -> Option<f64> {
    let n = values.len();
    let blocks = n / block.max(1);
    let mean = crate::mean(values)?;
    if blocks < 2 {
        return None;
    }
    // The sum of the distances from the mean over a block that slides by one value at a time, around the end.
    let mut sum: f64 = values[..block].iter().map(|value| value - mean).sum();
    let mut squares = 0.0;
    for start in 0..n {
        squares += sum * sum;
        sum += values[(start + block) % n] - values[start];
    }
    Some(squares / n as f64 / (block * block) as f64 / (blocks - 1) as f64)
}

/// The length with the least squared error of the variance, `(2 G²/D)^⅓ n^⅓`; 0 when neighbours are not alike.
fn politis_white(values: &[f64]) -> f64 {
    let n = values.len();
    let centred = centred(values);
    let variance = autocovariance(&centred, 0);
    if n < 8 || variance <= 0.0 {
        return 0.0;
    }
    let size = n as f64;
    let run = (size.log10().sqrt().ceil() as usize).max(5);
    let most = (size.sqrt().ceil() as usize + run).min(n - 1);
    let covariances: Vec<f64> = (0..=most).map(|lag| autocovariance(&centred, lag)).collect();
    // The lag after which a run of autocorrelations is no larger than chance would make them.
    let chance = 2.0 * (size.log10() / size).sqrt();
    let is_chance = |lag: usize| covariances[lag].abs() < chance * variance;
    let last = (0..=most - run.min(most))
        .find(|lag| (lag + 1..=(lag + run).min(most)).all(is_chance))
        .unwrap_or_else(|| (1..=most).rev().find(|lag| !is_chance(*lag)).unwrap_or(0));
    let reach = (2 * last).min(most);
    // The flat-top window: 1 up to half of the reach, then down to 0.
    let window = |lag: usize| (2.0 - 2.0 * lag as f64 / reach as f64).min(1.0);
    let (mut first_moment, mut spectrum) = (0.0, variance);
    for (lag, covariance) in covariances.iter().enumerate().take(reach + 1).skip(1) {
        first_moment += 2.0 * window(lag) * lag as f64 * covariance;
        spectrum += 2.0 * window(lag) * covariance;
    }
    // Neighbours that differ more than others make the mean surer, which nobody should count on.
    if spectrum <= variance {
        return 0.0;
    }
    (1.5 * (first_moment / spectrum).powi(2) * size).cbrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    fn series(n: usize, memory: f64, seed: u64) -> Vec<f64> {
        let mut random = SplitMix64::new(seed);
        let mut state = 0.0;
        (0..n)
            .map(|_| {
                state = memory * state + random.unit() - 0.5;
                state
            })
            .collect()
    }

    #[test]
    fn agrees_with_another_program() {
        // Python's arch 8.0: optimal_block_length(series)["circular"] of the same numbers. It divides covariances by the
        // number of pairs, which makes some of the difference.
        for (memory, seed, wanted) in [(0.5, 1, 10.464), (0.8, 2, 30.484)] {
            let got = politis_white(&series(1000, memory, seed));
            assert!((got / wanted - 1.0).abs() < 0.1, "memory {memory}: {got} is not {wanted}");
        }
    }

    #[test]
    fn agrees_with_the_closed_form() {
        // x' = m x + noise: G/g(0) is 2 m / (1 − m²).
        for memory in [0.5_f64, 0.8] {
            let n = 100_000;
            let wanted = (1.5 * (2.0 * memory / (1.0 - memory * memory)).powi(2) * n as f64).cbrt();
            let got = politis_white(&series(n, memory, 3));
            assert!((got / wanted - 1.0).abs() < 0.15, "memory {memory}: {got} is not {wanted}");
        }
    }

    #[test]
    fn bounds() {
        let independent = [6, 10, 100, 1000].map(|n| correlated_block_length(&series(n, 0.0, 9)));
        assert_eq!(independent, [None; 4]);
        let drift: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(correlated_block_length(&drift), Some(20), "a fifth");
        assert_eq!((correlated_block_length(&[]), correlated_block_length(&[1.0; 8])), (None, None));
        let alternating: Vec<f64> = (0..100).map(|at| f64::from(at % 2)).collect();
        assert_eq!(correlated_block_length(&alternating), None, "as of independent ones");
    }

    #[test]
    fn the_variance_of_a_mean_written_out() {
        // Blocks of two of 1 2 4 5, around the end: sums less 6 are −3 0 3 0. Squares 18 / 4 starts / 2² / (2 − 1).
        assert_eq!(variance_of_mean(&[1.0, 2.0, 4.0, 5.0], 2), Some(1.125));
        // Blocks of one: the variance of the values over n − 1.
        assert_eq!(variance_of_mean(&[1.0, 2.0, 4.0, 5.0], 1), Some(2.5 / 3.0));
        assert_eq!((variance_of_mean(&[1.0, 2.0], 2), variance_of_mean(&[], 1)), (None, None));
    }
}
