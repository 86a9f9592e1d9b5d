//! Gzip, RFC 1952. Several members after one another are one content, as everywhere.

use std::io::{Read, Write};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

use super::{Codec, CompressionError, output::Output};

/// How much more room the decoder is given at a time.
const STEP_BYTES: usize = 16 * 1024;

pub(super) fn compress(
    level: Option<i32>,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let level = level.and_then(|level| u32::try_from(level).ok());
    let level = level.map_or_else(Compression::default, Compression::new);
    let mut encoder = GzEncoder::new(out, level);
    let written = encoder.write_all(content).and_then(|()| encoder.finish());
    written.map(drop).map_err(|_| CompressionError::Failed(Codec::Gzip))
}

pub(super) fn decompress(compressed: &[u8], cap: usize) -> Result<Vec<u8>, CompressionError> {
    let mut output = Output::new(cap);
    let mut decoder = MultiGzDecoder::new(compressed);
    let mut read =
        |room: &mut [u8]| decoder.read(room).map_err(|_| CompressionError::Corrupt(Codec::Gzip));
    while output.remaining() > 0 {
        let (_, room) = output.split(STEP_BYTES);
        match read(room)? {
            0 => return Ok(output.finish()),
            count => output.advance(count),
        }
    }
    // The cap is reached: the content is whole only if not a single byte follows.
    match read(&mut [0])? {
        0 => Ok(output.finish()),
        _ => Err(output.too_large()),
    }
}
