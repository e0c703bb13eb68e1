//! Numbers as people read them: three or four significant digits, never more than were measured.

/// Four significant digits, without an exponent where the number is of ordinary size.
pub fn four_digits(value: f64) -> String {
    significant(value, 4)
}

/// Three significant digits.
pub fn three_digits(value: f64) -> String {
    significant(value, 3)
}

fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let exponent = value.abs().log10().floor() as i32;
    if !(-4..7).contains(&exponent) {
        return scientific(value);
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    format!("{value:.decimals$}")
}

/// Two digits and an exponent, for differences between numbers.
pub fn scientific(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") }
}

/// A fraction as percent.
pub fn percent(fraction: f64) -> String {
    format!("{:.1}%", fraction * 100.0)
}

/// Bytes in the largest binary unit that leaves a number of at least 1.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.0} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// Extents of a tensor, as in `[8, 3, 224, 224]`.
pub fn shape(shape: &[usize]) -> String {
    format!("{shape:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_they_deserve() {
        for (value, said) in
            [(0.0, "0"), (12.3456, "12.35"), (0.012_345_6, "0.01235"), (123_456.0, "123456"), (1e-9, "1.0e-9")]
        {
            assert_eq!(four_digits(value), said);
        }
        assert_eq!(three_digits(1.2345), "1.23");
        assert_eq!((percent(0.776_18), scientific(0.000_123)), ("77.6%".to_owned(), "1.2e-4".to_owned()));
        assert_eq!((bytes(1_572_864), bytes(3 << 30)), ("2 MiB".to_owned(), "3.00 GiB".to_owned()));
    }
}
