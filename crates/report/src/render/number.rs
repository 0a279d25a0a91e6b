//! Numbers as people read them.

/// Three to five significant digits, never in exponent form unless the number is below a thousandth.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".into(),
        _ if size < 0.000_95 => format!("{value:.1e}"),
        _ if size < 0.009_995 => format!("{value:.5}"),
        _ if size < 0.099_95 => format!("{value:.4}"),
        _ if size < 0.995 => format!("{value:.3}"),
        _ if size < 99.5 => format!("{value:.2}"),
        _ if size < 9_999.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A share as percent.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent != 0.0 && percent.abs() < 0.05 { format!("{percent:.2} %") } else { format!("{percent:.1} %") }
}

/// A large count with a unit letter: 124.4M.
pub(crate) fn short(count: f64) -> String {
    for (size, letter) in [(1e9, 'B'), (1e6, 'M'), (1e3, 'K')] {
        if count >= size {
            return format!("{:.1}{letter}", count / size);
        }
    }
    format!("{count:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_at_least() {
        let wanted = [
            (0.0, "0"),
            (0.000_04, "4.0e-5"),
            (0.001, "0.00100"),
            (0.012_34, "0.0123"),
            (0.099_96, "0.100"),
            (0.25, "0.250"),
            (0.999, "1.00"),
            (12.345, "12.35"),
            (99.96, "100.0"),
            (1234.56, "1234.6"),
            (123_456.7, "123457"),
            (-3.25, "-3.25"),
        ];
        for (value, text) in wanted {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn shares_and_counts() {
        assert_eq!((percent(0.25), percent(0.0), percent(0.0001)), ("25.0 %".into(), "0.0 %".into(), "0.01 %".into()));
        assert_eq!((short(124_439_808.0), short(999.0)), ("124.4M".into(), "999".into()));
    }
}
