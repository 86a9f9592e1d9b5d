//! The one thing that a broker reads of what consumers tell their leader: the topics they read.
//!
//! ```text
//! version i16 (≥ 0)  topics: count i32, then each i16 length and UTF-8  …what later versions add
//! ```
//!
//! Source: Kafka's `ConsumerProtocolSubscription.json`. All of it is a client's and may be
//! anything.

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};
use thalweg_protocol::KafkaStr;

use super::ClassicGroup;

/// The topics in a consumer's metadata, or `None` if it is no consumer's.
pub(crate) fn topics_of(metadata: &Bytes) -> Option<BTreeSet<KafkaStr>> {
    let mut rest: &[u8] = metadata;
    if rest.try_get_i16().ok()? < 0 {
        return None;
    }
    let count = usize::try_from(rest.try_get_i32().ok()?).ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        let (topic, after) = rest.split_at_checked(length)?;
        topics.insert(KafkaStr::copied_from(std::str::from_utf8(topic).ok()?));
        rest = after;
    }
    Some(topics)
}

/// All topics that the members of a group of consumers read, if every member's metadata says.
pub(super) fn of_group(group: &ClassicGroup) -> Option<BTreeSet<KafkaStr>> {
    if !group.is_of_consumers() {
        return None;
    }
    let protocol = group.protocol.as_ref()?;
    let mut all = BTreeSet::new();
    for member in group.members.values() {
        all.append(&mut topics_of(&member.info.metadata(protocol))?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_TOPICS: &[u8] = b"\0\x01\0\0\0\x02\0\x01b\0\x02aa\xff\xff\xff\xff\0\0\0\0";

    #[test]
    fn topics_are_read_and_what_follows_is_left() {
        let topics = topics_of(&Bytes::from_static(TWO_TOPICS));
        assert_eq!(topics, Some(BTreeSet::from(["aa".into(), "b".into()])));
        assert_eq!(topics_of(&Bytes::from_static(b"\0\0\0\0\0\0")), Some(BTreeSet::new()));
    }

    #[test]
    fn what_is_no_consumers_metadata_is_nobodys() {
        let needed = TWO_TOPICS.len() - 8;
        for cut in 0..needed {
            assert_eq!(topics_of(&Bytes::from_static(&TWO_TOPICS[..cut])), None, "{cut} bytes");
        }
        for bad in [&b"\xff\xff\0\0\0\0"[..], b"\0\0\xff\xff\xff\xff", b"\0\0\x7f\xff\xff\xff"] {
            assert_eq!(topics_of(&Bytes::copy_from_slice(bad)), None);
        }
        assert_eq!(topics_of(&Bytes::from_static(b"\0\0\0\0\0\x01\0\x01\xff")), None, "no UTF-8");
    }
}
