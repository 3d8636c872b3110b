//! Figures as people read them.

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}

/// A figure to four digits: `0.9841`, `12.35`, `18,420`, `5e-6`.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if !(1e-4..1e7).contains(&size) {
        let text = format!("{value:.3e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", trimmed(digits));
    }
    if size >= 1000.0 {
        let sign = if value < 0.0 { "−" } else { "" };
        return format!("{sign}{}", count(size.round() as u64));
    }
    let decimals = (3.0 - size.log10().floor()).max(0.0) as usize;
    trimmed(&format!("{value:.decimals$}")).replace('-', "−")
}

/// Without the zeros that end it.
fn trimmed(digits: &str) -> &str {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    }
}

pub(crate) fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        _ if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        _ if bytes >= 1e6 => format!("{:.0} MB", bytes / 1e6),
        _ => format!("{:.0} kB", bytes / 1e3),
    }
}

/// Seconds in the two largest units.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        ..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let expected = [
            (0.0, "0"),
            (0.984_123, "0.9841"),
            (12.345_6, "12.35"),
            (5.0, "5"),
            (18_420.4, "18,420"),
            (-0.25, "−0.25"),
            (0.000_25, "0.00025"),
            (5e-6, "5e-6"),
            (1.5e9, "1.5e9"),
        ];
        for (value, text) in expected {
            assert_eq!(short(value), text);
        }
        assert_eq!((count(7), count(1_234_567)), ("7".to_owned(), "1,234,567".to_owned()));
        assert_eq!(bytes(1_234_567_890), "1.23 GB");
        let durations = [0.42, 59.0, 61.0, 7260.0, 200_000.0].map(duration);
        assert_eq!(durations, ["0.4 s", "59 s", "1 min 1 s", "2 h 1 min", "2 d 7 h"]);
    }
}
