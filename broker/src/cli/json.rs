//! Records as JSON, one object a line: bytes that are text as text, all others in base 64, and a
//! field that says which.

use std::borrow::Cow;

use serde::Serialize;
use thalweg_client::TopicPartition;
use thalweg_client::protocol::batch::RecordRef;

#[derive(Serialize)]
pub(super) struct JsonRecord<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<Encoding>,
    value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_encoding: Option<Encoding>,
    headers: Vec<JsonHeader<'a>>,
}

#[derive(Serialize)]
struct JsonHeader<'a> {
    name: Cow<'a, str>,
    value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Utf8,
    Base64,
}

impl<'a> JsonRecord<'a> {
    pub(super) fn new(source: &'a TopicPartition, record: &RecordRef<'a>) -> Self {
        let (key, key_encoding) = text(record.key);
        let (value, value_encoding) = text(record.value);
        let headers = record.headers.iter().map(|header| {
            let (value, encoding) = text(header.value);
            JsonHeader { name: String::from_utf8_lossy(header.key), value, encoding }
        });
        JsonRecord {
            topic: &source.topic,
            partition: source.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key,
            key_encoding,
            value,
            value_encoding,
            headers: headers.collect(),
        }
    }
}

fn text(bytes: Option<&[u8]>) -> (Option<Cow<'_, str>>, Option<Encoding>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => (None, None),
        Some(Ok(text)) => (Some(Cow::Borrowed(text)), Some(Encoding::Utf8)),
        Some(Err(bytes)) => (Some(Cow::Owned(base64(bytes))), Some(Encoding::Base64)),
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let is_padding = digit > chunk.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, encoded) in vectors {
            assert_eq!(base64(bytes.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }

    #[test]
    fn bytes_that_are_no_text_say_so() {
        assert_eq!(text(None), (None, None));
        assert_eq!(text(Some(b"a")).1, Some(Encoding::Utf8));
        assert_eq!(text(Some(&[0xff])).1, Some(Encoding::Base64));
    }
}
