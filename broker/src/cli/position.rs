//! Places in a topic as people write them: `start`, `end`, an offset, the last so many, or a time.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::config::units::Unit;

/// Where to begin, in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Start,
    End,
    Offset(i64),
    /// So many records before the end.
    Last(i64),
    /// The first record with this timestamp, in ms since 1970, or a later one.
    Time(i64),
}

#[derive(Debug, Error)]
#[error(
    "write start, end, an offset (42), the last so many (-10), or a time (@1h for an hour ago, \
     @2026-01-31T12:00:00Z, or @ and milliseconds since 1970)"
)]
pub(super) struct NotAPosition;

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        if let Some(time) = text.strip_prefix('@') {
            return self::time(time, now_ms()).map(Position::Time).ok_or(NotAPosition);
        }
        match text {
            "start" | "earliest" => return Ok(Position::Start),
            "end" | "latest" => return Ok(Position::End),
            _ => {}
        }
        let number: i64 = text.parse().map_err(|_| NotAPosition)?;
        // "-0" is a number too, but there is no telling what it should mean.
        match text.strip_prefix('-') {
            Some(_) if number < 0 => Ok(Position::Last(number.checked_neg().ok_or(NotAPosition)?)),
            Some(_) => Err(NotAPosition),
            None => Ok(Position::Offset(number)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a command line asks the machine's clock")]
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970, a duration before `now_ms`, or RFC 3339.
fn time(text: &str, now_ms: i64) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    if let Ok(ago) = Unit::Milliseconds.plain(text)
        && let Ok(ago) = ago.parse::<i64>()
    {
        return Some(now_ms.saturating_sub(ago));
    }
    rfc3339(text)
}

/// `2026-01-31`, `2026-01-31T12:00:00Z`, `2026-01-31 12:00:00.250+01:00`. UTC unless it says
/// otherwise.
fn rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-')?;
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_since_1970(year, month, day).checked_mul(86_400_000)?;
    let Some(clock) = rest.strip_prefix(['T', 't', ' ']) else {
        return rest.is_empty().then_some(midnight);
    };
    let (clock, offset_minutes) = zone(clock)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':')?;
    let in_range = (0..24).contains(&hour) && (0..60).contains(&minute) && second <= 60;
    if !in_range || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ms: i64 = fraction
        .bytes()
        .chain(*b"000")
        .take(3)
        .try_fold(0_i64, |ms, digit| Some(ms * 10 + i64::from(digit.checked_sub(b'0')?)))?;
    let minutes = hour * 60 + minute - offset_minutes;
    Some(midnight + (minutes * 60 + second) * 1000 + ms)
}

/// The time without its zone, and the zone's minutes east of UTC.
fn zone(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = clock.rfind(['+', '-']) else { return Some((clock, 0)) };
    let (clock, zone) = clock.split_at_checked(at)?;
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("-", zone) => (-1, zone),
        (_, zone) => (1, zone),
    };
    let [hours, minutes] = numbers(zone, ':')?;
    (hours < 24 && minutes < 60).then_some((clock, sign * (hours * 60 + minutes)))
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for number in &mut numbers {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's `days_from_civil`: years begin in March, so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_as_written() {
        let read = |text: &str| text.parse::<Position>().ok();
        assert_eq!(read("start"), Some(Position::Start));
        assert_eq!(read("end"), Some(Position::End));
        assert_eq!(read("42"), Some(Position::Offset(42)));
        assert_eq!(read("-10"), Some(Position::Last(10)));
        assert_eq!(read("@1700000000000"), Some(Position::Time(1_700_000_000_000)));
        for wrong in ["", "-", "-0", "middle", "@", "@yesterday", "1.5", "@2026-13-01"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_ms_ago_or_rfc_3339() {
        assert_eq!(time("1h", 10_000_000), Some(6_400_000));
        assert_eq!(time("500ms", 600), Some(100));
        // `date -u -d TIME +%s` agrees with each.
        assert_eq!(time("1970-01-01T00:00:00Z", 0), Some(0));
        assert_eq!(time("2024-02-29", 0), Some(1_709_164_800_000));
        assert_eq!(time("2026-01-31T12:00:00Z", 0), Some(1_769_860_800_000));
        assert_eq!(time("2026-01-31T12:00:00.25+01:00", 0), Some(1_769_857_200_250));
        assert_eq!(time("1969-12-31 23:59:59", 0), Some(-1000));
        assert_eq!(time("2023-02-29", 0), None);
        assert_eq!(time("2026-01-31T25:00:00Z", 0), None);
        assert_eq!(time("2026-01-31T12:00:00+1", 0), None);
    }
}
