//! The five codecs, by their number in the batch attributes and by Kafka's name for them.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// How a batch body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks, in the framing of xerial's snappy-java or bare.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard, RFC 8878 (KIP-110).
    Zstd,
}

impl Codec {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The name in producer and topic configurations. (A topic's `compression.type` also knows
    /// `producer` and `uncompressed`, which are policies, not codecs.)
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// A number between 5 and 7 in the codec bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown compression codec {0}")]
pub struct UnknownCodec(pub u8);

/// A name that is no codec's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown compression type: use none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCodecName;

impl TryFrom<u8> for Codec {
    type Error = UnknownCodec;

    fn try_from(id: u8) -> Result<Self, UnknownCodec> {
        Self::ALL.into_iter().find(|codec| u8::from(*codec) == id).ok_or(UnknownCodec(id))
    }
}

impl From<Codec> for u8 {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }
}

impl FromStr for Codec {
    type Err = UnknownCodecName;

    fn from_str(name: &str) -> Result<Self, UnknownCodecName> {
        Self::ALL.into_iter().find(|codec| codec.name() == name).ok_or(UnknownCodecName)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_their_codec() {
        for codec in Codec::ALL {
            assert_eq!(Codec::try_from(u8::from(codec)), Ok(codec));
            assert_eq!(codec.to_string().parse(), Ok(codec));
        }
        assert_eq!(Codec::try_from(5), Err(UnknownCodec(5)));
        assert_eq!("LZ4".parse::<Codec>(), Err(UnknownCodecName));
    }
}
