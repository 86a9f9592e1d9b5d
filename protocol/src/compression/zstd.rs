//! Zstandard frames, RFC 8878.
//!
//! Frames are decoded in one step into a buffer for the whole content, not as a stream: a stream
//! needs a window of the size that the frame asks for (up to 128 MiB in frames that the Java client
//! writes at its highest level), a whole buffer is its own window. Streams that do not say how long
//! their content is, which Java's are, are tried with a growing buffer.

use zstd::zstd_safe::{self, zstd_sys::ZSTD_ErrorCode};

use super::{Codec, CompressionError};

/// The first buffer for a content of unknown size, as a multiple of the compressed bytes.
const EXPANSION_USUAL: usize = 8;
const ROOM_BYTES_MIN: usize = 16 * 1024;

/// How much larger the next buffer is than the one that proved too small.
const GROWTH: usize = 4;

/// A stored size is believed up to this multiple of the compressed bytes; larger ones have to prove
/// it.
const EXPANSION_BELIEVED: usize = 64;

pub(super) fn compress(
    level: Option<i32>,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let failed = CompressionError::Failed(Codec::Zstd);
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    let start = out.len();
    out.resize(start.saturating_add(zstd_safe::compress_bound(content.len())), 0);
    let room = out.get_mut(start..).ok_or(failed)?;
    let count = zstd_safe::compress(room, content, level).map_err(|_| failed)?;
    out.truncate(start.saturating_add(count));
    Ok(())
}

pub(super) fn decompress(compressed: &[u8], cap: usize) -> Result<Vec<u8>, CompressionError> {
    let corrupt = CompressionError::Corrupt(Codec::Zstd);
    let too_large = CompressionError::TooLarge { cap };
    let stated = zstd_safe::get_frame_content_size(compressed).map_err(|_| corrupt)?;
    let usual = compressed.len().saturating_mul(EXPANSION_USUAL).max(ROOM_BYTES_MIN);
    let believed = compressed.len().saturating_mul(EXPANSION_BELIEVED).max(ROOM_BYTES_MIN);
    let mut room = match stated.map(usize::try_from) {
        None => usual.min(cap),
        Some(Ok(size)) if size <= cap => size.min(believed),
        Some(_) => return Err(too_large),
    };
    loop {
        let mut content = Vec::with_capacity(room);
        match zstd_safe::decompress(&mut content, compressed) {
            Ok(_) if content.len() > cap => return Err(too_large),
            Ok(_) => return Ok(content),
            Err(code) if !is_too_small(code) => return Err(corrupt),
            Err(_) if room >= cap => return Err(too_large),
            Err(_) => room = room.saturating_mul(GROWTH).max(ROOM_BYTES_MIN).min(cap),
        }
    }
}

/// Whether an error of zstd says that the output buffer was too small. The library returns error
/// codes as negative sizes.
fn is_too_small(code: usize) -> bool {
    u32::try_from(code.wrapping_neg()) == Ok(ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as u32)
}
