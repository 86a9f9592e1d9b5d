//! The 16 attribute bits of a batch header.
//!
//! | bits | meaning                                                                          |
//! |------|----------------------------------------------------------------------------------|
//! | 0–2  | compression codec                                                                |
//! | 3    | timestamp type: 0 set by the producer, 1 by the log when it appended the batch    |
//! | 4    | part of a transaction                                                            |
//! | 5    | control batch: a transaction marker, not data                                    |
//! | 6    | `base_timestamp` holds the delete horizon of tombstones (KIP-534)                 |
//! | 15   | ours: an entry of the replication protocol, which never reaches a client         |

use crate::compression::{Codec, UnknownCodec};

const CODEC_MASK: u16 = 0b111;
const LOG_APPEND_TIME: u16 = 1 << 3;
const TRANSACTIONAL: u16 = 1 << 4;
const CONTROL: u16 = 1 << 5;
const DELETE_HORIZON: u16 = 1 << 6;
const INTERNAL: u16 = 1 << 15;

/// Who set the timestamps of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer, record by record.
    #[default]
    CreateTime,
    /// The broker: every record of the batch has the batch's `max_timestamp`.
    LogAppendTime,
}

/// The attribute bits of a batch; bits that we do not know are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(u16);

impl Attributes {
    /// Attributes from their bits on the wire.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The bits as they stand on the wire.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// How the body is compressed; the values 5–7 name no codec.
    pub fn codec(self) -> Result<Codec, UnknownCodec> {
        // The mask leaves three bits, so the low byte holds the whole value.
        let [_, low] = (self.0 & CODEC_MASK).to_be_bytes();
        Codec::try_from(low)
    }

    /// Who set the timestamps.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.has(LOG_APPEND_TIME) {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub const fn is_transactional(self) -> bool {
        self.has(TRANSACTIONAL)
    }

    /// Whether the batch is a transaction marker.
    pub const fn is_control(self) -> bool {
        self.has(CONTROL)
    }

    /// Whether `base_timestamp` is the time until which tombstones are kept.
    pub const fn has_delete_horizon(self) -> bool {
        self.has(DELETE_HORIZON)
    }

    /// Whether this is an entry of the replication protocol: it owns no Kafka offset and no client
    /// may write or read it.
    pub const fn is_internal(self) -> bool {
        self.has(INTERNAL)
    }

    /// The same attributes with another codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        Self((self.0 & !CODEC_MASK) | u16::from(u8::from(codec)))
    }

    /// The same attributes with another timestamp type.
    #[must_use]
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(LOG_APPEND_TIME, matches!(timestamp_type, TimestampType::LogAppendTime))
    }

    /// The same attributes, transactional or not.
    #[must_use]
    pub const fn with_transactional(self, transactional: bool) -> Self {
        self.with(TRANSACTIONAL, transactional)
    }

    /// The same attributes, control or not.
    #[must_use]
    pub const fn with_control(self, control: bool) -> Self {
        self.with(CONTROL, control)
    }

    /// The same attributes, with `base_timestamp` meaning the delete horizon or not.
    #[must_use]
    pub const fn with_delete_horizon(self, delete_horizon: bool) -> Self {
        self.with(DELETE_HORIZON, delete_horizon)
    }

    /// The same attributes, internal or not.
    #[must_use]
    pub const fn with_internal(self, internal: bool) -> Self {
        self.with(INTERNAL, internal)
    }

    const fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    const fn with(self, bit: u16, on: bool) -> Self {
        if on { Self(self.0 | bit) } else { Self(self.0 & !bit) }
    }
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attributes({:#06x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setter_changes_its_own_bits_only() {
        let all = Attributes::from_bits(u16::MAX);
        let none = Attributes::from_bits(0);
        assert_eq!(none.with_codec(Codec::Zstd).bits(), 4);
        assert_eq!(all.with_codec(Codec::None).bits(), !7);
        assert_eq!(none.with_timestamp_type(TimestampType::LogAppendTime).bits(), 8);
        assert_eq!(all.with_timestamp_type(TimestampType::CreateTime).bits(), !8);
        assert_eq!(none.with_transactional(true).bits(), 16);
        assert_eq!(none.with_control(true).bits(), 32);
        assert_eq!(none.with_delete_horizon(true).bits(), 64);
        assert_eq!(none.with_internal(true).bits(), 0x8000);
        assert_eq!(all.with_internal(false).bits(), 0x7fff);
    }

    #[test]
    fn only_five_codecs_exist() {
        for bits in 0..5 {
            let codec = Attributes::from_bits(bits).codec().expect("a known codec");
            assert_eq!(Attributes::default().with_codec(codec).bits(), bits);
        }
        for bits in 5..8 {
            assert!(Attributes::from_bits(bits).codec().is_err(), "codec {bits}");
        }
    }
}
