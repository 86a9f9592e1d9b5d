//! What consumers of the classic protocol tell their leader and are told by it, which is Kafka's
//! "consumer protocol" inside the classic one. In a consumer group the broker is the leader.
//!
//! ```text
//! subscription  version i16, topics: i32 count of strings, user data: bytes or −1,
//!               from 1: owned partitions as below, from 2: generation i32, from 3: rack
//! assignment    version i16, partitions: i32 count of (topic string, i32 count of i32), user data
//! ```
//!
//! Strings have a length of 16 bits. Source: Kafka's `ConsumerProtocolSubscription.json` and
//! `ConsumerProtocolAssignment.json`. All of it is a client's and may be anything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thalweg_protocol::KafkaStr;

use super::partitions::by_topic;
use crate::controller::image::Image;
use crate::group::assignor::TopicPartition;

/// The last version whose fields are known.
const VERSION_MAX: i16 = 3;

/// What a consumer of the classic protocol subscribes to and has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Subscription {
    pub(super) version: i16,
    pub(super) topics: BTreeSet<KafkaStr>,
    /// By topic name; nothing in versions that do not say, in which clients give up all first.
    pub(super) owned: BTreeMap<KafkaStr, Vec<i32>>,
    pub(super) rack_id: Option<KafkaStr>,
}

impl Subscription {
    /// Reads a consumer's metadata; `None` if it is not a consumer's.
    pub(super) fn parse(metadata: &Bytes) -> Option<Subscription> {
        let mut rest: &[u8] = metadata;
        let version = version(&mut rest)?;
        let count = count(&mut rest)?;
        let topics = (0..count).map(|_| string(&mut rest)).collect::<Option<_>>()?;
        let mut subscription = Subscription { version, topics, ..Subscription::default() };
        skip_user_data(&mut rest)?;
        if version >= 1 {
            subscription.owned = partitions(&mut rest)?;
        }
        if version >= 3 {
            rest.try_get_i32().ok()?;
            subscription.rack_id = match rest.first_chunk::<2>().copied().map(i16::from_be_bytes)? {
                -1 => None,
                _ => Some(string(&mut rest)?),
            };
        }
        Some(subscription)
    }
}

/// Reads an assignment; nothing where there are no bytes.
pub(super) fn parse_assignment(bytes: &Bytes, image: &Image) -> Option<BTreeSet<TopicPartition>> {
    if bytes.is_empty() {
        return Some(BTreeSet::new());
    }
    let mut rest: &[u8] = bytes;
    version(&mut rest)?;
    Some(existing(&partitions(&mut rest)?, image))
}

/// Of partitions by name those of topics that exist.
pub(super) fn existing(
    topics: &BTreeMap<KafkaStr, Vec<i32>>,
    image: &Image,
) -> BTreeSet<TopicPartition> {
    let existing = topics.iter().filter_map(|(name, at)| Some((image.topic(name)?.id, at)));
    existing
        .flat_map(|(topic_id, partitions)| {
            partitions.iter().map(move |&partition| TopicPartition { topic_id, partition })
        })
        .collect()
}

/// Writes an assignment at a version that the consumer understands.
pub(super) fn write_assignment<'a>(
    version: i16,
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
    image: &Image,
) -> Bytes {
    let topics: Vec<_> = by_topic(partitions)
        .into_iter()
        .filter_map(|(id, partitions)| Some((image.topic_by_id(id)?, partitions)))
        .collect();
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    put_count(&mut bytes, topics.len());
    for (topic, partitions) in topics {
        bytes.put_i16(i16::try_from(topic.name.len()).unwrap_or(i16::MAX));
        bytes.put_slice(topic.name.as_bytes());
        put_count(&mut bytes, partitions.len());
        partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_count(bytes: &mut BytesMut, count: usize) {
    bytes.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

/// A version that is younger than this software begins with the fields of the last known.
fn version(rest: &mut &[u8]) -> Option<i16> {
    let version = rest.try_get_i16().ok()?;
    (version >= 0).then_some(version.min(VERSION_MAX))
}

fn count(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(rest.try_get_i32().ok()?).ok()
}

fn string(rest: &mut &[u8]) -> Option<KafkaStr> {
    let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(KafkaStr::copied_from(std::str::from_utf8(text).ok()?))
}

fn skip_user_data(rest: &mut &[u8]) -> Option<()> {
    let length = match rest.try_get_i32().ok()? {
        -1 => 0,
        length => usize::try_from(length).ok()?,
    };
    *rest = rest.get(length..)?;
    Some(())
}

fn partitions(rest: &mut &[u8]) -> Option<BTreeMap<KafkaStr, Vec<i32>>> {
    let mut topics = BTreeMap::<KafkaStr, Vec<i32>>::new();
    for _ in 0..count(rest)? {
        let partitions = topics.entry(string(rest)?).or_default();
        for _ in 0..count(rest)? {
            partitions.push(rest.try_get_i32().ok()?);
        }
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 3: topics `b` and `aa`, owning partition 5 of `b`, generation 7, rack `r`.
    const SUBSCRIPTION: &[u8] = b"\0\x03\0\0\0\x02\0\x01b\0\x02aa\xff\xff\xff\xff\
        \0\0\0\x01\0\x01b\0\0\0\x01\0\0\0\x05\0\0\0\x07\0\x01r";

    #[test]
    fn a_subscription_is_read_at_every_version() {
        let subscription = Subscription::parse(&Bytes::from_static(SUBSCRIPTION)).unwrap();
        assert_eq!(subscription.topics, ["aa".into(), "b".into()].into());
        assert_eq!(subscription.owned, [("b".into(), vec![5])].into());
        assert_eq!(subscription.rack_id, Some("r".into()));
        let oldest = Subscription::parse(&Bytes::from_static(b"\0\0\0\0\0\0\xff\xff\xff\xff"));
        assert_eq!(oldest, Some(Subscription::default()));
    }

    #[test]
    fn what_is_cut_or_absurd_is_no_subscription() {
        for len in 0..SUBSCRIPTION.len() {
            assert_eq!(Subscription::parse(&Bytes::from_static(&SUBSCRIPTION[..len])), None);
        }
        for absurd in [&b"\xff\xff\0\0\0\0"[..], b"\0\0\x7f\xff\xff\xff", b"\0\0\xff\xff\xff\xff"] {
            assert_eq!(Subscription::parse(&Bytes::from_static(absurd)), None);
        }
    }
}
