//! Snappy blocks in the framing of xerial's snappy-java, which the Java client writes, or a single
//! block without any framing, as librdkafka and others write it.
//!
//! | bytes | xerial framing                                              |
//! |------:|-------------------------------------------------------------|
//! |     8 | 0x82 `SNAPPY` 0x00                                          |
//! |     4 | version, big-endian: 1                                      |
//! |     4 | oldest version that can read it: 1                          |
//! |   4+n | length of a block, big-endian, and the block; repeated      |

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{Codec, CompressionError, output::Output};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];

/// The block size of snappy-java.
const BLOCK_BYTES: usize = 32 * 1024;

/// A copy element of three bytes makes at most 64, so content cannot exceed this multiple of its
/// block.
const EXPANSION_MAX: usize = 22;

const CORRUPT: CompressionError = CompressionError::Corrupt(Codec::Snappy);

pub(super) fn compress(content: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSIONS);
    let mut encoder = Encoder::new();
    let mut compressed = vec![0; max_compress_len(content.len().min(BLOCK_BYTES))];
    for block in content.chunks(BLOCK_BYTES) {
        let failed = CompressionError::Failed(Codec::Snappy);
        let len = encoder.compress(block, &mut compressed).map_err(|_| failed)?;
        let len_field = u32::try_from(len).map_err(|_| failed)?;
        out.extend_from_slice(&len_field.to_be_bytes());
        out.extend_from_slice(compressed.get(..len).ok_or(failed)?);
    }
    Ok(())
}

pub(super) fn decompress(compressed: &[u8], cap: usize) -> Result<Vec<u8>, CompressionError> {
    let mut output = Output::new(cap);
    let Some(framed) = compressed.strip_prefix(&MAGIC) else {
        decompress_block(compressed, &mut output)?;
        return Ok(output.finish());
    };
    // The versions are not looked at: snappy-java has never changed them.
    let (_, mut rest) = framed.split_at_checked(VERSIONS.len()).ok_or(CORRUPT)?;
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk().ok_or(CORRUPT)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| CORRUPT)?;
        let (block, after) = after.split_at_checked(len).ok_or(CORRUPT)?;
        decompress_block(block, &mut output)?;
        rest = after;
    }
    Ok(output.finish())
}

fn decompress_block(block: &[u8], output: &mut Output) -> Result<(), CompressionError> {
    let len = decompress_len(block).map_err(|_| CORRUPT)?;
    if len > output.remaining() {
        return Err(output.too_large());
    }
    if len > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(CORRUPT);
    }
    let (_, room) = output.split(len);
    let count = Decoder::new().decompress(block, room).map_err(|_| CORRUPT)?;
    output.advance(count);
    Ok(())
}
