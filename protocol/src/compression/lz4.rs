//! The LZ4 frame format, version 1.6.4. All integers are little-endian.
//!
//! | bytes | field                                                                             |
//! |------:|-----------------------------------------------------------------------------------|
//! |     4 | magic 0x184D2204                                                                  |
//! |     1 | FLG: version 01 in bits 6–7, then flags                                           |
//! |     1 | BD: block size code 4–7 in bits 4–6: 64 KiB, 256 KiB, 1 MiB, 4 MiB                 |
//! |     8 | content size, if its flag is set                                                  |
//! |     1 | second byte of XXH32 over FLG to here                                             |
//! |   4+n | length of a block, bit 31 set if it is stored as it is; the block                 |
//! |     4 | XXH32 of the block, if its flag is set; block and checksum are repeated           |
//! |     4 | 0: end mark                                                                       |
//! |     4 | XXH32 of the content, if its flag is set                                          |
//!
//! The frame is read here and not by `lz4_flex::frame`, which takes a frame that was cut off
//! between two blocks for a complete one, and reserves several blocks before it has seen any.

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into_with_dict,
    get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::{Codec, CompressionError, output::Output};

/// Magic, version 1 with independent blocks and no checksums, 64 KiB blocks, header checksum: the
/// very bytes that the Java client writes, which reads no frame whose blocks depend on each other.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const END_MARK: [u8; 4] = [0; 4];

const BLOCK_BYTES: usize = 64 * 1024;
/// How far back a block may refer where blocks depend on each other.
const WINDOW_BYTES: usize = 64 * 1024;
/// One more byte of a length adds at most 255 bytes of content.
const EXPANSION_MAX: usize = 255;

const STORED: u32 = 1 << 31;

const FLG_VERSION_MASK: u8 = 0b1100_0000;
const FLG_VERSION: u8 = 0b0100_0000;
const FLG_INDEPENDENT: u8 = 1 << 5;
const FLG_BLOCK_CHECKSUM: u8 = 1 << 4;
const FLG_CONTENT_SIZE: u8 = 1 << 3;
const FLG_CONTENT_CHECKSUM: u8 = 1 << 2;
/// A reserved bit and the dictionary flag: nobody has the dictionary.
const FLG_UNSUPPORTED: u8 = 0b11;

const CORRUPT: CompressionError = CompressionError::Corrupt(Codec::Lz4);

pub(super) fn compress(content: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let failed = CompressionError::Failed(Codec::Lz4);
    out.extend_from_slice(&HEADER);
    let mut table = CompressTable::default();
    let mut compressed = vec![0; get_maximum_output_size(content.len().min(BLOCK_BYTES))];
    for block in content.chunks(BLOCK_BYTES) {
        let len =
            compress_into_with_table(block, &mut compressed, &mut table).map_err(|_| failed)?;
        let (bytes, flag) = if len < block.len() {
            (compressed.get(..len).ok_or(failed)?, 0)
        } else {
            (block, STORED)
        };
        let len_field = u32::try_from(bytes.len()).map_err(|_| failed)?;
        out.extend_from_slice(&(len_field | flag).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(&END_MARK);
    Ok(())
}

pub(super) fn decompress(compressed: &[u8], cap: usize) -> Result<Vec<u8>, CompressionError> {
    let mut rest = compressed;
    let frame = FrameHeader::read(&mut rest)?;
    let mut output = Output::new(cap);
    loop {
        let field = take_u32(&mut rest)?;
        if field == 0 {
            break;
        }
        let len = usize::try_from(field & !STORED).map_err(|_| CORRUPT)?;
        let block = take_slice(&mut rest, len)?;
        if frame.has(FLG_BLOCK_CHECKSUM) && take_u32(&mut rest)? != XxHash32::oneshot(0, block) {
            return Err(CORRUPT);
        }
        if len > frame.block_bytes_max {
            return Err(CORRUPT);
        }
        if field & STORED != 0 {
            output.extend(block)?;
        } else {
            decompress_block(&frame, block, &mut output)?;
        }
    }
    let content = output.finish();
    if frame.has(FLG_CONTENT_CHECKSUM) && take_u32(&mut rest)? != XxHash32::oneshot(0, &content) {
        return Err(CORRUPT);
    }
    let size_differs =
        frame.content_size.is_some_and(|size| u64::try_from(content.len()) != Ok(size));
    if size_differs || !rest.is_empty() {
        return Err(CORRUPT);
    }
    Ok(content)
}

fn decompress_block(
    frame: &FrameHeader,
    block: &[u8],
    output: &mut Output,
) -> Result<(), CompressionError> {
    let wanted = frame.block_bytes_max.min(block.len().saturating_mul(EXPANSION_MAX));
    let at_cap = wanted > output.remaining();
    let (content, room) = output.split(wanted);
    let window = if frame.has(FLG_INDEPENDENT) {
        &[]
    } else {
        content.get(content.len().saturating_sub(WINDOW_BYTES)..).unwrap_or_default()
    };
    match decompress_into_with_dict(block, room, window) {
        Ok(count) => {
            output.advance(count);
            Ok(())
        }
        Err(DecompressError::OutputTooSmall { .. }) if at_cap => Err(output.too_large()),
        Err(_) => Err(CORRUPT),
    }
}

struct FrameHeader {
    flg: u8,
    block_bytes_max: usize,
    content_size: Option<u64>,
}

impl FrameHeader {
    fn read(rest: &mut &[u8]) -> Result<Self, CompressionError> {
        if take::<4>(rest)? != MAGIC {
            return Err(CORRUPT);
        }
        let descriptor = *rest;
        let [flg, bd] = take(rest)?;
        if flg & FLG_VERSION_MASK != FLG_VERSION || flg & FLG_UNSUPPORTED != 0 {
            return Err(CORRUPT);
        }
        let block_bytes_max = match bd {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            _ => return Err(CORRUPT),
        };
        let content_size =
            if flg & FLG_CONTENT_SIZE != 0 { Some(u64::from_le_bytes(take(rest)?)) } else { None };
        let descriptor = descriptor.get(..descriptor.len() - rest.len()).ok_or(CORRUPT)?;
        let [_, expected, ..] = XxHash32::oneshot(0, descriptor).to_le_bytes();
        let [actual] = take(rest)?;
        if actual != expected {
            return Err(CORRUPT);
        }
        Ok(Self { flg, block_bytes_max, content_size })
    }

    fn has(&self, flag: u8) -> bool {
        self.flg & flag != 0
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], CompressionError> {
    let (head, rest) = bytes.split_first_chunk().ok_or(CORRUPT)?;
    *bytes = rest;
    Ok(*head)
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, CompressionError> {
    take(bytes).map(u32::from_le_bytes)
}

fn take_slice<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], CompressionError> {
    let (head, rest) = bytes.split_at_checked(len).ok_or(CORRUPT)?;
    *bytes = rest;
    Ok(head)
}
