//! Logarithm and exponential from additions, multiplications and divisions only.
//!
//! IEEE 754 fixes the result of those four operations and of the square root to the last bit; the standard library's `ln`
//! and `exp` differ between systems. Arrival offsets must not.

/// ln 2 in two parts: the first has enough trailing zeros to be multiplied by an exponent exactly.
const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN_2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);

/// Natural logarithm of a positive, finite, normal number; relative error below 1e-15.
pub(crate) fn ln(x: f64) -> f64 {
    debug_assert!(x.is_normal() && x > 0.0);
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m − 1)/(m + 1)), a series in s² ≤ 0.0295.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..12).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    let exponent = f64::from(exponent);
    exponent * LN_2_HIGH + (2.0 * s * series + exponent * LN_2_LOW)
}

/// Exponential of a number that is not above 0; relative error below 1e-14, results below 1e-300 become 0.
pub(crate) fn exp(x: f64) -> f64 {
    debug_assert!(x <= 0.0);
    if x < -690.0 {
        return 0.0;
    }
    let halvings = (x / std::f64::consts::LN_2).round();
    let rest = (x - halvings * LN_2_HIGH) - halvings * LN_2_LOW;
    // Taylor's series; |rest| ≤ 0.35 and 0.35¹⁶/16! is below 1e-20.
    let series = (1..16).rev().fold(1.0, |sum, k| 1.0 + sum * rest / f64::from(k));
    series * f64::from_bits(((1023 + halvings as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(ours: f64, theirs: f64, tolerance: f64) -> bool {
        ours == theirs || ((ours - theirs) / theirs).abs() < tolerance
    }

    proptest! {
        #[test]
        fn ln_is_the_logarithm(x in prop_oneof![0.0_f64..2.0, 1e-300_f64..1e300, 0.999_999..1.000_001_f64]) {
            prop_assume!(x.is_normal());
            prop_assert!(close(ln(x), x.ln(), 2e-15), "{x}: {} {}", ln(x), x.ln());
        }

        #[test]
        fn exp_is_the_exponential(x in prop_oneof![-1.0_f64..=0.0, -689.0_f64..=0.0]) {
            prop_assert!(close(exp(x), x.exp(), 1e-13), "{x}: {} {}", exp(x), x.exp());
        }
    }

    #[test]
    fn the_ends_are_exact() {
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e9), 0.0);
    }
}
