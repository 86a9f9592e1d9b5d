//! The codecs that a batch body can be compressed with, spoken as the Java client speaks them.
//!
//! Compressed bytes come from outside and may say anything about the size of their content. So
//! every decoder writes into a buffer that stops at a cap given by the caller, and what it reserves
//! in advance is limited by what so few compressed bytes could possibly hold.

mod codec;
mod gzip;
mod lz4;
mod output;
mod snappy;
#[cfg(test)]
mod tests;
mod zstd;

use std::ops::RangeInclusive;

use bytes::Bytes;
use thiserror::Error;

pub use codec::{Codec, UnknownCodec, UnknownCodecName};

/// Why bytes could not be compressed or decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CompressionError {
    /// The content is larger than the caller allows.
    #[error("the content is larger than {cap} bytes")]
    TooLarge {
        /// The largest content allowed.
        cap: usize,
    },
    /// The bytes are not what the codec writes, or end too early.
    #[error("not valid {0} data")]
    Corrupt(Codec),
    /// The compressor itself failed, which happens only when memory is exhausted.
    #[error("the {0} compressor failed")]
    Failed(Codec),
}

impl Codec {
    /// The compression levels that the codec takes, as in KIP-390; none for a codec without levels.
    pub const fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some(1..=9),
            Self::Lz4 => Some(1..=17),
            Self::Zstd => Some(-131_072..=22),
        }
    }
}

/// Appends `content` to `out`, compressed. Without a level, or with one out of [`Codec::levels`],
/// the codec takes its usual or its nearest level. LZ4 has the one fast level only, whatever is
/// asked for.
pub fn compress(
    codec: Codec,
    level: Option<i32>,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let level =
        level.zip(codec.levels()).map(|(level, range)| level.clamp(*range.start(), *range.end()));
    match codec {
        Codec::None => {
            out.extend_from_slice(content);
            Ok(())
        }
        Codec::Gzip => gzip::compress(level, content, out),
        Codec::Snappy => snappy::compress(content, out),
        Codec::Lz4 => lz4::compress(content, out),
        Codec::Zstd => zstd::compress(level, content, out),
    }
}

/// The content of `compressed`, which is refused as soon as it proves larger than `cap` bytes. No
/// more memory than that is ever reserved for it.
pub fn decompress(codec: Codec, compressed: Bytes, cap: usize) -> Result<Bytes, CompressionError> {
    match codec {
        Codec::None if compressed.len() > cap => Err(CompressionError::TooLarge { cap }),
        Codec::None => Ok(compressed),
        Codec::Gzip => gzip::decompress(&compressed, cap).map(Bytes::from),
        Codec::Snappy => snappy::decompress(&compressed, cap).map(Bytes::from),
        Codec::Lz4 => lz4::decompress(&compressed, cap).map(Bytes::from),
        Codec::Zstd => zstd::decompress(&compressed, cap).map(Bytes::from),
    }
}
