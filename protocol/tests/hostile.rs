//! Feeds damaged and hostile bytes to every API at every version. Whatever they are, decoding must
//! not panic, and must allocate no more than a small multiple of their number.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use thalweg_protocol::arbitrary::{Arbitrary, Source, arbitrary};
use thalweg_protocol::messages::{self, MetadataRequest};
use thalweg_protocol::{
    Chunks, DecodeError, HeaderError, Message, Reader, Records, RequestHeader, advertised_versions,
    for_each_api,
};

/// What the reader promises (see its module), and a little for the shared handle of a `Bytes`.
fn allocated_max(frame_len: usize) -> usize {
    16 * frame_len + 4096 + 64
}

macro_rules! tests {
    ($($api:ident: $request:ident, $response:ident;)+) => {$(
        mod $api {
            use super::*;

            #[test]
            fn request() {
                attack::<messages::$request>();
            }

            #[test]
            fn response() {
                attack::<messages::$response>();
            }
        }
    )+};
}

for_each_api!(tests);

fn attack<M: Message + Arbitrary + PartialEq + Debug>() {
    for version in advertised_versions(M::API_KEY).expect("served") {
        for seed in 0..3 {
            let value: M = arbitrary(&mut Source::new(seed), version).expect("a version");
            let frame = encode(&value, version);
            assert_eq!(decode::<M>(&frame, version).as_ref(), Ok(&value), "version {version}");
            truncate_everywhere::<M>(&frame, version);
            overwrite_everywhere::<M>(&frame, version);
        }
        flip_bits::<M>(version);
        repeat_bytes::<M>(version);
    }
}

fn truncate_everywhere<M: Message + Debug>(frame: &Bytes, version: i16) {
    for end in 0..frame.len() {
        let result = decode::<M>(&frame.slice(..end), version);
        assert!(result.is_err(), "version {version}, {end} of {} bytes: {result:?}", frame.len());
    }
}

/// Puts the largest lengths and counts of every form everywhere.
fn overwrite_everywhere<M: Message + PartialEq + Debug>(frame: &Bytes, version: i16) {
    let numbers: [&[u8]; 5] = [
        &i32::MAX.to_be_bytes(),
        &i32::MIN.to_be_bytes(),
        &i16::MAX.to_be_bytes(),
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    for number in numbers {
        for at in 0..frame.len().saturating_sub(number.len()) {
            let mut damaged = BytesMut::from(&frame[..]);
            damaged[at..at + number.len()].copy_from_slice(number);
            decode_again::<M>(&damaged.freeze(), version);
        }
    }
}

fn flip_bits<M: Message + Arbitrary + PartialEq + Debug>(version: i16) {
    let mut source = Source::new(7);
    for _ in 0..200 {
        let value: M = arbitrary(&mut source, version).expect("a version");
        let mut damaged = BytesMut::from(&encode(&value, version)[..]);
        for _ in 0..=source.below(3) {
            let at = source.below(damaged.len());
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 1 << source.below(8);
            }
        }
        decode_again::<M>(&damaged.freeze(), version);
    }
}

/// Long frames of few different bytes are mostly arrays of empty things, the densest there are.
fn repeat_bytes<M: Message + PartialEq + Debug>(version: i16) {
    let count = [0xff, 0x7f];
    for pattern in [&[0][..], &[1], &[2], &[1, 0], &[0, 1], &[2, 1], &[0, 0, 0, 1], &[0, 0, 1, 0]] {
        for prefix in [&[][..], &count, &[0, 0, 0x30, 0], &[0, 0, 0, 0, 0xff, 0x7f]] {
            let body = pattern.iter().copied().cycle().take(20_000);
            let frame: Bytes = prefix.iter().copied().chain(body).collect();
            decode_again::<M>(&frame, version);
        }
    }
}

/// What does decode is a value like any other: it can be written, and is then the same. (Only that
/// a value near its allowance may be over it when written in fewer bytes.)
fn decode_again<M: Message + PartialEq + Debug>(frame: &Bytes, version: i16) {
    let Ok(value) = decode::<M>(frame, version) else { return };
    match decode::<M>(&encode(&value, version), version) {
        Err(DecodeError::AllowanceSpent { .. }) => {}
        again => assert_eq!(again.as_ref(), Ok(&value), "version {version}"),
    }
}

/// Decodes within the allowance.
fn decode<M: Message>(frame: &Bytes, version: i16) -> Result<M, DecodeError> {
    let before = ALLOCATED.get();
    let result = M::decode(&mut Reader::new(frame.clone()), version);
    let allocated = ALLOCATED.get() - before;
    let max = allocated_max(frame.len());
    assert!(allocated <= max, "version {version}: {allocated} bytes for {}", frame.len());
    result
}

fn encode<M: Message>(value: &M, version: i16) -> Bytes {
    let mut chunks = Chunks::default();
    value.encode(&mut chunks, version).unwrap();
    Records::from(chunks.into_buffers()).into_bytes()
}

#[test]
fn five_bytes_of_metadata_request_allocate_next_to_nothing() {
    let frame = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0]);
    let before = ALLOCATED.get();
    let result = MetadataRequest::decode(&mut Reader::new(frame), 4);
    let allocated = ALLOCATED.get() - before;
    assert_eq!(
        result,
        Err(DecodeError::CountBeyondFrame { count: 0x7fff_ffff, remaining: 1 }),
        "a topic takes at least two bytes"
    );
    assert!(allocated < 100, "{allocated}");
}

#[test]
fn a_frame_full_of_empty_strings_is_refused() {
    // Two bytes each on the wire, many times that in memory.
    let mut frame = vec![0x81, 0x80, 0x04];
    frame.extend([1, 0].repeat(0x1_0000));
    frame.extend([1, 1, 1, 0]);
    let result = decode::<MetadataRequest>(&frame.into(), 9);
    assert!(matches!(result, Err(DecodeError::AllowanceSpent { .. })), "{result:?}");
}

#[test]
fn a_frame_full_of_short_names_is_not() {
    let names = (0..20_000).map(|n| format!("{n:03}").into());
    let topics = names.map(|name| messages::metadata::MetadataRequestTopic {
        name: Some(name),
        ..Default::default()
    });
    let request = MetadataRequest { topics: Some(topics.collect()), ..Default::default() };
    for version in [1, 9, 13] {
        assert_eq!(decode(&encode(&request, version), version).as_ref(), Ok(&request));
    }
}

#[test]
fn headers_of_any_bytes_are_read_or_refused() {
    let mut source = Source::new(1);
    let mut malformed = 0;
    for _ in 0..100_000 {
        let mut bytes: Vec<u8> = (0..source.below(40)).map(|_| (source.below(256)) as u8).collect();
        // Mostly an API and a version that exist, so that the rest is read.
        for (at, max) in [(0, 1), (1, 80), (2, 1), (3, 14)] {
            bytes.get_mut(at).into_iter().for_each(|byte| *byte = source.below(max) as u8);
        }
        let before = ALLOCATED.get();
        let len = bytes.len();
        let result = RequestHeader::decode(&mut Reader::new(bytes.into()));
        assert!(ALLOCATED.get() - before <= allocated_max(len));
        malformed += usize::from(matches!(result, Err(HeaderError::Malformed(_))));
    }
    assert!(malformed > 1000, "{malformed}");
}

/// Counts what each thread allocates; frees are not deducted.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + new_size);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(block, layout, new_size) }
    }
}
