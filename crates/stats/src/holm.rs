//! Many tests at once.

/// The p-values of tests of one family, in their order, adjusted so that to call those below α significant is wrong
/// about any of them with at most probability α, however they depend on each other (Holm, "A simple sequentially
/// rejective multiple test procedure", 1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (place, test) in order.into_iter().enumerate() {
        let left = (p_values.len() - place) as f64;
        largest = largest.max(left * p_values[test]).min(1.0);
        adjusted[test] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_written_out() {
        // Sorted 0.005 0.01 0.03 0.04 times 4 3 2 1: 0.02 0.03 0.06 0.04, and none below the one before: the last is
        // 0.06. The same from R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
        let got = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (got, wanted) in got.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((got - wanted).abs() < 1e-15, "{got} is not {wanted}");
        }
        assert_eq!(holm(&[0.6, 0.9]), [1.0, 1.0], "no more than 1");
        assert_eq!((holm(&[]), holm(&[0.02])), (vec![], vec![0.02]));
    }
}
