//! The TOML file as a flat list of keys and texts, each with its line.
//!
//! Thalweg's own keys stand at the top level or in a table (`[limits] maps_max`), Kafka's in the
//! table `[kafka]`. Kafka's names hold dots; quoted or not, they come out the same here.

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One `key = value` of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The key with its tables, joined by dots.
    pub key: String,
    /// The value; `None` if it is a list or a table where neither can be.
    pub text: Option<String>,
    /// The line it stands on, counted from 1.
    pub line: usize,
}

/// The file is not TOML.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("line {line}: {message}")]
pub struct NotToml {
    /// The line that does not parse, counted from 1.
    pub line: usize,
    /// What the parser says.
    pub message: String,
}

/// All settings of `source`, in the order of the file.
pub(super) fn lines(source: &str) -> Result<Vec<Line>, NotToml> {
    let table = DeTable::parse(source).map_err(|error| NotToml {
        line: error.span().map_or(1, |span| line_of(source, span.start)),
        message: error.message().to_owned(),
    })?;
    let mut found = Vec::new();
    flatten("", table.get_ref(), source, &mut found);
    found.sort_by_key(|line| line.line);
    Ok(found)
}

fn flatten(prefix: &str, table: &DeTable<'_>, source: &str, found: &mut Vec<Line>) {
    for (name, value) in table {
        let name_text: &str = name.get_ref();
        let key =
            if prefix.is_empty() { name_text.to_owned() } else { format!("{prefix}.{name_text}") };
        let text = match value.get_ref() {
            DeValue::Table(inner) => {
                flatten(&key, inner, source, found);
                continue;
            }
            value => scalar(value),
        };
        found.push(Line { key, text, line: line_of(source, name.span().start) });
    }
}

/// A value as the text that the environment or a flag would hold. Lists of words are Kafka's
/// comma-separated lists.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Array(items) => items
            .iter()
            .map(|item: &Spanned<DeValue<'_>>| item.get_ref().as_str())
            .collect::<Option<Vec<_>>>()
            .map(|words| words.join(",")),
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_of(source: &str, position: usize) -> usize {
    source.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_dotted_keys_come_out_flat_with_their_lines() {
        let source = "listen = \"a\"\n\n[limits]\nmaps_max = 1_024\n[kafka]\n\
                      log.retention.hours = 24\n\"log.cleanup.policy\" = [\"compact\", \"delete\"]\n\
                      auto.create.topics.enable = false\nnum.partitions = { x = 1 }\nwhen = 1979-05-27\n";
        let found: Vec<_> = lines(source)
            .expect("TOML")
            .into_iter()
            .map(|line| (line.key, line.text, line.line))
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("listen".to_owned(), text("a"), 1),
                ("limits.maps_max".to_owned(), text("1024"), 4),
                ("kafka.log.retention.hours".to_owned(), text("24"), 6),
                ("kafka.log.cleanup.policy".to_owned(), text("compact,delete"), 7),
                ("kafka.auto.create.topics.enable".to_owned(), text("false"), 8),
                ("kafka.num.partitions.x".to_owned(), text("1"), 9),
                ("kafka.when".to_owned(), None, 10),
            ]
        );
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_line() {
        let error = lines("listen = \"a\"\nshards = = 2\n").expect_err("two equals signs");
        assert_eq!(error.line, 2);
        assert!(!error.message.is_empty());
    }
}
