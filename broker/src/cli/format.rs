//! How `consume -f` writes a record: a template that is read once and filled for each record.

use std::io::{self, Write};
use std::str::FromStr;

use thalweg_client::TopicPartition;
use thalweg_client::protocol::batch::RecordRef;
use thiserror::Error;

/// A template for records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Timestamp,
    Headers,
    ValueSize,
    KeySize,
}

#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum BadFormat {
    #[error("there is no %{0}; the help lists what there is, and %% is a percent sign")]
    Unknown(char),
    #[error("it ends with a single %; write %% for a percent sign")]
    Unfinished,
}

impl FromStr for Format {
    type Err = BadFormat;

    fn from_str(template: &str) -> Result<Self, BadFormat> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut letters = template.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '%' => {
                    let piece = match letters.next().ok_or(BadFormat::Unfinished)? {
                        '%' => {
                            text.push('%');
                            continue;
                        }
                        letter => field(letter).ok_or(BadFormat::Unknown(letter))?,
                    };
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text).into_bytes()));
                    }
                    pieces.push(piece);
                }
                '\\' => match letters.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('0') => text.push('\0'),
                    Some('\\') | None => text.push('\\'),
                    Some(other) => text.extend(['\\', other]),
                },
                letter => text.push(letter),
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into_bytes()));
        }
        Ok(Format { pieces })
    }
}

fn field(letter: char) -> Option<Piece> {
    Some(match letter {
        't' => Piece::Topic,
        'p' => Piece::Partition,
        'o' => Piece::Offset,
        'k' => Piece::Key,
        'v' => Piece::Value,
        'T' => Piece::Timestamp,
        'h' => Piece::Headers,
        's' => Piece::ValueSize,
        'S' => Piece::KeySize,
        _ => return None,
    })
}

impl Format {
    /// The value and a newline.
    pub(super) fn lines() -> Self {
        Format { pieces: vec![Piece::Value, Piece::Text(b"\n".to_vec())] }
    }

    /// Writes one record. Null keys and values are empty, and their size is -1.
    pub(super) fn write(
        &self,
        to: &mut impl Write,
        source: &TopicPartition,
        record: &RecordRef<'_>,
    ) -> io::Result<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => to.write_all(text)?,
                Piece::Topic => to.write_all(source.topic.as_bytes())?,
                Piece::Partition => write!(to, "{}", source.partition)?,
                Piece::Offset => write!(to, "{}", record.offset)?,
                Piece::Key => to.write_all(record.key.unwrap_or_default())?,
                Piece::Value => to.write_all(record.value.unwrap_or_default())?,
                Piece::Timestamp => write!(to, "{}", record.timestamp)?,
                Piece::Headers => write_headers(to, record)?,
                Piece::ValueSize => write_size(to, record.value)?,
                Piece::KeySize => write_size(to, record.key)?,
            }
        }
        Ok(())
    }
}

fn write_size(to: &mut impl Write, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes {
        Some(bytes) => write!(to, "{}", bytes.len()),
        None => to.write_all(b"-1"),
    }
}

/// `name=value,name=value`.
fn write_headers(to: &mut impl Write, record: &RecordRef<'_>) -> io::Result<()> {
    for (index, header) in record.headers.iter().enumerate() {
        if index > 0 {
            to.write_all(b",")?;
        }
        to.write_all(header.key)?;
        to.write_all(b"=")?;
        to.write_all(header.value.unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &str, key: Option<&[u8]>) -> String {
        let record = RecordRef {
            attributes: 0,
            timestamp: 1000,
            offset: 7,
            key,
            value: Some(b"hello"),
            headers: Default::default(),
            encoded: &[],
        };
        let mut bytes = Vec::new();
        let format: Format = template.parse().expect("a format");
        format.write(&mut bytes, &TopicPartition::new("t", 2), &record).expect("memory");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn fields_are_filled_in() {
        assert_eq!(written(r"%t[%p]@%o %k=%v\n", Some(b"k")), "t[2]@7 k=hello\n");
        assert_eq!(written(r"%T %s %S 100%%\t\\|%h|", None), "1000 5 -1 100%\t\\||");
    }

    #[test]
    fn what_is_no_field_is_named() {
        assert_eq!("%x".parse::<Format>(), Err(BadFormat::Unknown('x')));
        assert_eq!("50%".parse::<Format>(), Err(BadFormat::Unfinished));
    }
}
