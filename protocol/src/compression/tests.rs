//! Round trips, what other implementations write, damage, and content that is far larger than it
//! looks.

use std::io::Write;

use bytes::Bytes;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;

use super::*;

const CAP: usize = 1 << 20;
const COMPRESSORS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn compressed(codec: Codec, content: &[u8]) -> Bytes {
    let mut out = Vec::new();
    compress(codec, None, content, &mut out).unwrap();
    out.into()
}

/// What a decoder returns before it becomes `Bytes`, to see how much memory it has reserved.
fn decompress_to_vec(codec: Codec, bytes: &[u8], cap: usize) -> Result<Vec<u8>, CompressionError> {
    match codec {
        Codec::None => unreachable!("nothing is decompressed"),
        Codec::Gzip => gzip::decompress(bytes, cap),
        Codec::Snappy => snappy::decompress(bytes, cap),
        Codec::Lz4 => lz4::decompress(bytes, cap),
        Codec::Zstd => zstd::decompress(bytes, cap),
    }
}

/// Text with enough repetition and enough noise that compressed blocks and stored ones both occur.
fn sample(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    let mut content = Vec::new();
    while content.len() < len {
        if content.len() % 400_000 < 200_000 {
            content.extend_from_slice(b"the line of fastest flow ");
        }
        content.extend_from_slice(&noise());
    }
    content.truncate(len);
    content
}

fn lz4_frame(info: FrameInfo, content: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

proptest! {
    #[test]
    fn content_comes_back(
        content in prop::collection::vec(any::<u8>(), 0..4000),
        repeat in 1_usize..40,
        level: Option<i8>,
    ) {
        let content = content.repeat(repeat);
        for codec in Codec::ALL {
            let mut out = b"header".to_vec();
            // High levels of zstd take long to set up and are no different in kind.
            let level = level.map(|level| i32::from(level).min(12));
            compress(codec, level, &content, &mut out).unwrap();
            prop_assert!(out.starts_with(b"header"));
            let body = Bytes::from(out).slice(6..);
            let back = decompress(codec, body, content.len()).unwrap();
            prop_assert_eq!(&back[..], &content[..], "{}", codec);
        }
    }

    #[test]
    fn noise_never_panics_nor_exceeds_the_cap(
        mut noise in prop::collection::vec(any::<u8>(), 0..300),
        with_magic: bool,
    ) {
        for codec in COMPRESSORS {
            if with_magic {
                let real = compressed(codec, b"");
                let len = real.len().min(noise.len()).min(7);
                noise[..len].copy_from_slice(&real[..len]);
            }
            if let Ok(content) = decompress_to_vec(codec, &noise, 1000) {
                prop_assert!(content.len() <= 1000);
            }
        }
    }
}

#[test]
fn many_blocks_come_back() {
    let content = sample(700_001);
    for codec in COMPRESSORS {
        let compressed = compressed(codec, &content);
        assert!(compressed.len() < content.len(), "{codec}");
        let back = decompress(codec, compressed, CAP).unwrap();
        assert!(back == content, "{codec}");
    }
}

#[test]
fn the_cap_is_exact() {
    let content = sample(100_000);
    for codec in Codec::ALL {
        let compressed = compressed(codec, &content);
        let back = decompress(codec, compressed.clone(), 100_000).unwrap();
        assert_eq!(back.len(), 100_000, "{codec}");
        let refused = decompress(codec, compressed, 99_999);
        assert_eq!(refused, Err(CompressionError::TooLarge { cap: 99_999 }), "{codec}");
    }
}

#[test]
fn bombs_stop_at_the_cap() {
    let zeroes = vec![0; 64 << 20];
    for codec in COMPRESSORS {
        let bomb = compressed(codec, &zeroes);
        let limit = zeroes.len() / 15;
        assert!(bomb.len() < limit, "{codec} makes {} bytes, which is no bomb", bomb.len());
        for cap in [0, 1, 1000, CAP] {
            let refused = decompress_to_vec(codec, &bomb, cap);
            assert_eq!(refused, Err(CompressionError::TooLarge { cap }), "{codec}");
        }
    }
}

#[test]
fn no_more_memory_is_kept_than_the_cap_allows() {
    for len in [1, 1000, 16 * 1024 + 1, 65 * 1024, 300_000] {
        let content = sample(len);
        for codec in COMPRESSORS {
            let back = decompress_to_vec(codec, &compressed(codec, &content), len).unwrap();
            assert_eq!(back.len(), len);
            assert!(back.capacity() <= len, "{codec} reserved {} for {len}", back.capacity());
            let roomy = decompress_to_vec(codec, &compressed(codec, &content), 1 << 30).unwrap();
            let bound = 4 * len + (64 << 10);
            assert!(roomy.capacity() <= bound, "{codec} reserved {} for {len}", roomy.capacity());
        }
    }
}

#[test]
fn an_output_never_reserves_beyond_its_cap() {
    let mut output = output::Output::new(1000);
    for _ in 0..30 {
        let (content, room) = output.split(64);
        let count = room.len().min(50);
        assert_eq!(room.len(), 64.min(1000 - content.len()));
        output.advance(count);
    }
    assert_eq!(output.remaining(), 0);
    assert_eq!(output.extend(b"x"), Err(CompressionError::TooLarge { cap: 1000 }));
    assert_eq!(output.finish().capacity(), 1000);
}

#[test]
fn a_cut_is_always_noticed() {
    for content in [&b""[..], b"short", &sample(3000), &sample(70_000)] {
        for codec in COMPRESSORS {
            let whole = compressed(codec, content);
            // Every byte of small ones; of larger ones those near the ends and some between.
            let step = whole.len() / 500 + 1;
            for len in (0..whole.len()).step_by(step).chain(whole.len() - 1..whole.len()) {
                let result = decompress(codec, whole.slice(..len), CAP);
                // Snappy's framing has no end mark: a cut between blocks, or after the header, is
                // only noticed by the record count of the batch.
                let prefix_is_valid = codec == Codec::Snappy
                    && result.as_ref().is_ok_and(|part| content.starts_with(part));
                assert!(result.is_err() || prefix_is_valid, "{codec} cut at {len}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_never_panics_nor_exceeds_the_cap() {
    let content = sample(300);
    for codec in COMPRESSORS {
        let whole = compressed(codec, &content);
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[position] ^= 1 << bit;
                if let Ok(back) = decompress_to_vec(codec, &damaged, 1000) {
                    assert!(back.len() <= 1000);
                }
            }
        }
    }
}

#[test]
fn lz4_frames_begin_as_those_of_the_java_client() {
    let frame = compressed(Codec::Lz4, &sample(10));
    assert_eq!(frame[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    // What does not shrink is stored: a length with the top bit set, the bytes, the end mark.
    assert_eq!(compressed(Codec::Lz4, b"ab")[7..], [2, 0, 0, 0x80, b'a', b'b', 0, 0, 0, 0]);
}

#[test]
fn lz4_frames_of_every_kind_are_read() {
    let content = sample(900_000);
    for block_size in
        [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB]
    {
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for checks in [false, true] {
                let info = FrameInfo::new()
                    .block_size(block_size)
                    .block_mode(mode)
                    .block_checksums(checks)
                    .content_checksum(checks)
                    .content_size(checks.then_some(900_000));
                let frame = Bytes::from(lz4_frame(info, &content));
                let back = decompress(Codec::Lz4, frame.clone(), CAP).unwrap();
                assert!(back == content, "{block_size:?} {mode:?} checks: {checks}");
                let refused = decompress(Codec::Lz4, frame, 899_999);
                assert_eq!(refused, Err(CompressionError::TooLarge { cap: 899_999 }));
            }
        }
    }
}

#[test]
fn lz4_checksums_are_checked() {
    let info = FrameInfo::new().block_checksums(true).content_checksum(true);
    let frame = lz4_frame(info, b"content content content content content");
    let len = frame.len();
    // The header checksum, the block checksum (before the end mark) and the content checksum.
    for position in [6, len - 9, len - 1] {
        let mut damaged = frame.clone();
        damaged[position] ^= 1;
        assert_eq!(lz4::decompress(&damaged, CAP), Err(CompressionError::Corrupt(Codec::Lz4)));
    }
    let trailing = [&frame[..], b"x"].concat();
    assert_eq!(lz4::decompress(&trailing, CAP), Err(CompressionError::Corrupt(Codec::Lz4)));
}

#[test]
fn our_lz4_frames_are_read_by_others() {
    let content = sample(200_000);
    let frame = compressed(Codec::Lz4, &content);
    let mut back = Vec::new();
    std::io::copy(&mut lz4_flex::frame::FrameDecoder::new(&frame[..]), &mut back).unwrap();
    assert!(back == content);
}

#[test]
fn bare_and_framed_snappy_are_both_read() {
    let content = sample(100_000);
    let bare = snap::raw::Encoder::new().compress_vec(&content).unwrap();
    assert!(snappy::decompress(&bare, CAP).unwrap() == content);
    let framed = compressed(Codec::Snappy, &content);
    assert_eq!(framed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    assert!(snappy::decompress(&framed, CAP).unwrap() == content);
}

#[test]
fn snappy_sizes_that_cannot_be_true_are_refused_before_memory_is_taken() {
    // A block of six bytes that claims nearly four GiB, bare and framed.
    let block = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let framed = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x06"[..], &block].concat();
    for bytes in [&block[..], &framed] {
        let refused = snappy::decompress(bytes, 1 << 40);
        assert_eq!(refused, Err(CompressionError::Corrupt(Codec::Snappy)));
        let refused = snappy::decompress(bytes, CAP);
        assert_eq!(refused, Err(CompressionError::TooLarge { cap: CAP }));
    }
    // A framed block longer than the bytes that remain.
    let cut = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff\x00";
    assert_eq!(snappy::decompress(cut, CAP), Err(CompressionError::Corrupt(Codec::Snappy)));
}

#[test]
fn gzip_members_are_joined() {
    let both = [compressed(Codec::Gzip, b"one, "), compressed(Codec::Gzip, b"two")].concat();
    assert_eq!(gzip::decompress(&both, CAP).unwrap(), b"one, two");
}

#[test]
fn zstd_streams_without_a_size_and_with_a_huge_window_are_read() {
    // As the Java client writes at its highest level: the size is not known when the frame begins.
    let content = sample(900_000);
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 22).unwrap();
    encoder.write_all(&content[..300_000]).unwrap();
    encoder.flush().unwrap();
    encoder.write_all(&content[300_000..]).unwrap();
    let frame = encoder.finish().unwrap();
    assert!(matches!(::zstd::zstd_safe::get_frame_content_size(&frame), Ok(None)));
    assert!(zstd::decompress(&frame, CAP).unwrap() == content);
    let refused = zstd::decompress(&frame, 899_999);
    assert_eq!(refused, Err(CompressionError::TooLarge { cap: 899_999 }));
}

#[test]
fn zstd_sizes_are_not_believed() {
    // Single segment, eight bytes of content size, then one stored block of one byte.
    let lie = |size: u64| {
        [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &size.to_le_bytes(), &[0x09, 0, 0, b'x']].concat()
    };
    assert_eq!(zstd::decompress(&lie(1), CAP).unwrap(), b"x");
    let refused = zstd::decompress(&lie(u64::MAX / 2), CAP);
    assert_eq!(refused, Err(CompressionError::TooLarge { cap: CAP }));
    let corrupt = CompressionError::Corrupt(Codec::Zstd);
    assert_eq!(zstd::decompress(&lie(CAP as u64 - 1), CAP), Err(corrupt));
}

#[test]
fn levels_change_the_result_and_are_clamped() {
    let content = sample(150_000);
    let size = |codec, level| {
        let mut out = Vec::new();
        compress(codec, level, &content, &mut out).unwrap();
        assert!(decompress(codec, out.clone().into(), CAP).unwrap() == content);
        out.len()
    };
    assert!(size(Codec::Gzip, Some(9)) < size(Codec::Gzip, Some(1)));
    assert!(size(Codec::Zstd, Some(19)) < size(Codec::Zstd, Some(-50)));
    assert_eq!(size(Codec::Gzip, Some(100)), size(Codec::Gzip, Some(9)));
    assert_eq!(size(Codec::Snappy, Some(3)), size(Codec::Snappy, None));
}
