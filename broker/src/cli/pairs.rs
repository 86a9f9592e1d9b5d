//! `NAME=VALUE` arguments, sizes and durations, as people write them on a command line.

use std::time::Duration;

use crate::config::units::Unit;

/// The value parser of clap for `NAME=VALUE`; the value may be empty and hold further `=`.
pub(super) fn name_and_value(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    if name.trim().is_empty() {
        return Err("write it as NAME=VALUE");
    }
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// The value parser of clap for sizes: `1000`, `64KiB`, `1MB`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    plain(Unit::Bytes, text)
}

/// The value parser of clap for durations: `500ms`, `10s`, `2h`; a plain number is milliseconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    plain(Unit::Milliseconds, text).map(|ms| Duration::from_millis(ms as u64))
}

/// The value parser of clap for counts: `1000`, `200k`, `5M`.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let (digits, scale) = match text.trim() {
        text if text.ends_with('k') => (text.trim_end_matches('k'), 1_000),
        text if text.ends_with('M') => (text.trim_end_matches('M'), 1_000_000),
        text => (text, 1),
    };
    let number: Option<u64> = digits.replace('_', "").parse().ok();
    let count = number.and_then(|number| number.checked_mul(scale)).filter(|count| *count > 0);
    count.ok_or_else(|| "it must be a count above 0, such as 1000, 200k or 5M".to_owned())
}

fn plain(unit: Unit, text: &str) -> Result<usize, String> {
    let number = unit.plain(text).map_err(|error| error.to_string())?;
    number.parse().map_err(|_| unit_hint(unit).to_owned())
}

fn unit_hint(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "it must be a number of bytes, or a size such as 64KiB or 1MB",
        _ => "it must be a duration such as 500ms, 10s, 5m or 2h",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_sizes_and_durations_read_as_written() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(name_and_value("a=b=c"), pair("a", "b=c"));
        assert_eq!(name_and_value("a="), pair("a", ""));
        assert!(name_and_value("a").is_err() && name_and_value("=b").is_err());
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("100"), Ok(100));
        assert!(bytes("-1").is_err() && bytes("many").is_err());
        assert_eq!(
            (count("1_000"), count("200k"), count("5M")),
            (Ok(1000), Ok(200_000), Ok(5_000_000))
        );
        assert!(count("0").is_err() && count("k").is_err() && count("-1").is_err());
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("5"), Ok(Duration::from_millis(5)));
    }
}
