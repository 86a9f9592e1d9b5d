//! Sizes and durations as people write them: `64MiB`, `7d`, `500ms`, or a plain number.
//!
//! A plain number is in the setting's own unit (bytes, or what its name ends in). Everything is
//! whole numbers: `1.5GiB` is refused rather than rounded, and so is `90s` for a setting in
//! minutes. Negative numbers pass as they are, because Kafka's `-1` means "no limit".

use super::value::BadValue;

/// What the plain number of a setting counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing: a count, a name, a switch.
    None,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

const BYTES: [(&str, i64); 9] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

const DURATIONS: [(&str, i64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Unit {
    /// `text` as a plain number in this unit; texts without a suffix are returned as they are.
    pub fn plain(self, text: &str) -> Result<String, BadValue> {
        let text = text.trim();
        let digits_end = text
            .find(|c: char| !(c.is_ascii_digit() || c == '_' || c == '-' || c == '+'))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits_end);
        if self == Self::None || suffix.is_empty() || number.is_empty() {
            return Ok(text.to_owned());
        }
        let (scale, of_unit) = self.scale(suffix.trim()).ok_or(self.unknown_suffix())?;
        let number: i64 = number.replace('_', "").parse().map_err(|_| BadValue::NotAnInteger)?;
        let scaled = number.checked_mul(scale).ok_or(BadValue::AboveMax(i64::MAX))?;
        if scaled % of_unit != 0 {
            return Err(BadValue::NotWhole(self));
        }
        Ok((scaled / of_unit).to_string())
    }

    /// `number`, in this unit, written with the largest suffix that divides it.
    pub fn pretty(self, number: i64) -> String {
        let (scale, suffixes): (i64, &[(&str, i64)]) = match self {
            Self::None => (1, &[]),
            Self::Bytes => (1, BYTES.get(..5).unwrap_or(&BYTES)),
            Self::Milliseconds => (1, &DURATIONS),
            Self::Minutes => (60_000, &DURATIONS),
            Self::Hours => (3_600_000, &DURATIONS),
        };
        let Some(total) = number.checked_mul(scale).filter(|total| *total > 0) else {
            return number.to_string();
        };
        suffixes.iter().find(|(_, size)| total % size == 0).map_or_else(
            || number.to_string(),
            |(suffix, size)| format!("{}{suffix}", total / size),
        )
    }

    fn scale(self, suffix: &str) -> Option<(i64, i64)> {
        let find = |table: &[(&str, i64)]| {
            table.iter().find(|(name, _)| name.eq_ignore_ascii_case(suffix)).map(|(_, size)| *size)
        };
        match self {
            Self::None => None,
            Self::Bytes if suffix.eq_ignore_ascii_case("B") => Some((1, 1)),
            Self::Bytes => Some((find(&BYTES)?, 1)),
            Self::Milliseconds => Some((find(&DURATIONS)?, 1)),
            Self::Minutes => Some((find(&DURATIONS)?, 60_000)),
            Self::Hours => Some((find(&DURATIONS)?, 3_600_000)),
        }
    }

    fn unknown_suffix(self) -> BadValue {
        if self == Self::Bytes { BadValue::NotASize } else { BadValue::NotADuration }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_become_plain_numbers() {
        for (unit, text, plain) in [
            (Unit::Bytes, "64MiB", "67108864"),
            (Unit::Bytes, "64 mib", "67108864"),
            (Unit::Bytes, "2GB", "2000000000"),
            (Unit::Bytes, "512B", "512"),
            (Unit::Bytes, "-1", "-1"),
            (Unit::Milliseconds, "7d", "604800000"),
            (Unit::Milliseconds, "500ms", "500"),
            (Unit::Hours, "7d", "168"),
            (Unit::Minutes, "2h", "120"),
            (Unit::None, "7d", "7d"),
            (Unit::Milliseconds, " 25 ", "25"),
        ] {
            assert_eq!(unit.plain(text).as_deref(), Ok(plain), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_whole_number_of_the_unit_is_refused() {
        assert_eq!(Unit::Bytes.plain("12 apples"), Err(BadValue::NotASize));
        assert_eq!(Unit::Bytes.plain("1.5GiB"), Err(BadValue::NotASize));
        assert_eq!(Unit::Bytes.plain("64M"), Err(BadValue::NotASize), "M: 10^6 or 2^20?");
        assert_eq!(Unit::Milliseconds.plain("3 fortnights"), Err(BadValue::NotADuration));
        assert_eq!(Unit::Hours.plain("90m"), Err(BadValue::NotWhole(Unit::Hours)));
        assert_eq!(Unit::Bytes.plain("9000000PiB"), Err(BadValue::AboveMax(i64::MAX)));
    }

    proptest::proptest! {
        #[test]
        fn any_number_reads_back_as_itself(number: i64) {
            for unit in [Unit::None, Unit::Bytes, Unit::Milliseconds, Unit::Minutes, Unit::Hours] {
                let read = unit.plain(&unit.pretty(number));
                proptest::prop_assert_eq!(read, Ok(number.to_string()));
            }
        }
    }

    #[test]
    fn pretty_texts_read_back_as_the_same_number() {
        for (unit, number, text) in [
            (Unit::Bytes, 104_857_600, "100MiB"),
            (Unit::Bytes, 1_000_000, "1000000"),
            (Unit::Milliseconds, 600_000, "10m"),
            (Unit::Hours, 168, "7d"),
            (Unit::Bytes, -1, "-1"),
            (Unit::Bytes, 0, "0"),
            (Unit::Milliseconds, i64::MAX, "9223372036854775807ms"),
        ] {
            assert_eq!(unit.pretty(number), text);
            assert_eq!(unit.plain(text), Ok(number.to_string()));
        }
    }
}
