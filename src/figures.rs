//! Figures as people read them: with separators, factors and units.

/// `1,199,882`
pub fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3.41 MiB`
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{} {}", significant(value), UNITS[unit]) }
}

/// `24.3 M`: with a factor of a thousand, a million …
pub fn scaled(number: f64) -> String {
    const UNITS: [&str; 6] = ["", " k", " M", " G", " T", " P"];
    let mut value = number;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{number:.0}") } else { format!("{}{}", significant(value), UNITS[unit]) }
}

/// Three significant digits of a number below 1024.
fn significant(value: f64) -> String {
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}")
}

/// `1 min 12 s`
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) if seconds < 9.95 => format!("{seconds:.1} s"),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([whole(0), whole(999), whole(1000), whole(1_199_882)], ["0", "999", "1,000", "1,199,882"]);
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(1 << 20)], ["0 B", "1023 B", "1.50 KiB", "1.00 MiB"]);
        assert_eq!([scaled(12.0), scaled(4160.0), scaled(24_300_000.0)], ["12", "4.16 k", "24.3 M"]);
        assert_eq!(
            [duration(0.42), duration(59.4), duration(72.0), duration(3720.0)],
            ["0.4 s", "59 s", "1 min 12 s", "1 h 2 min"]
        );
    }
}
