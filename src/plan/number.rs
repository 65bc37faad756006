//! Numbers for people.

/// A figure: `1,234,567`, and `0.25` where it is small.
#[must_use]
pub fn figure(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 { format!("{value:.2}") } else { group(&format!("{value:.0}")) }
}

/// A whole number: `1,234,567`.
#[must_use]
pub fn count(value: impl ToString + Copy) -> String {
    group(&value.to_string())
}

/// So many of something: `1 row`, `1,234 rows`.
#[must_use]
pub fn counted(number: &str, noun: &str) -> String {
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn group(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
