//! A string of the protocol: UTF-8, usually a slice of the frame it arrived in, cheap to clone.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

use super::DecodeError;

/// An immutable string that shares its bytes with others.
///
/// One that was decoded keeps its whole frame in memory. State that outlives the request stores
/// [`detached`](Self::detached) copies.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KafkaStr(Bytes);

impl KafkaStr {
    /// Wraps `bytes` if they are UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, DecodeError> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(KafkaStr(bytes)),
            Err(_) => Err(DecodeError::InvalidUtf8),
        }
    }

    /// Copies `text`.
    pub fn copied_from(text: &str) -> Self {
        KafkaStr(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// A copy that does not keep the frame alive.
    pub fn detached(&self) -> Self {
        Self::copied_from(self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // SAFETY: every constructor checked the bytes or took them from a `str`, and `Bytes` is
        // immutable.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// The encoded text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl Deref for KafkaStr {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for KafkaStr {
    fn as_ref(&self) -> &str {
        self
    }
}

// Equality and order of the bytes are those of the text, but their hash is not; `Borrow` promises
// it.
impl Hash for KafkaStr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for KafkaStr {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq<str> for KafkaStr {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for KafkaStr {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl From<&'static str> for KafkaStr {
    fn from(text: &'static str) -> Self {
        KafkaStr(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for KafkaStr {
    fn from(text: String) -> Self {
        KafkaStr(Bytes::from(text))
    }
}

impl fmt::Display for KafkaStr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), formatter)
    }
}

impl fmt::Debug for KafkaStr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    #[test]
    fn maps_are_searched_by_plain_text() {
        let topic = KafkaStr::copied_from("topic");
        assert_eq!(HashMap::from([(topic.clone(), 1)]).get("topic"), Some(&1));
        assert_eq!(BTreeMap::from([(topic, 1)]).get("topic"), Some(&1));
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let broken = Bytes::from_static(&[b'a', 0xff]);
        assert_eq!(KafkaStr::from_utf8(broken), Err(DecodeError::InvalidUtf8));
        let text = Bytes::from_static("größe".as_bytes());
        assert_eq!(KafkaStr::from_utf8(text).unwrap(), "größe");
    }

    #[test]
    fn a_detached_copy_lies_elsewhere() {
        let frame = Bytes::from_static(b"frame");
        let slice = KafkaStr::from_utf8(frame.slice(1..3)).unwrap();
        assert_eq!(slice.as_ptr(), frame[1..].as_ptr());
        assert_ne!(slice.detached().as_ptr(), slice.as_ptr());
        assert_eq!(slice.detached(), slice);
        assert_eq!(format!("{slice} {slice:?}"), "ra \"ra\"");
    }
}
