//! Frames come back as they were sent, whatever the pieces; damaged ones do not come back.

use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::prelude::*;

use super::*;

/// Takes at most `step` bytes of a write, over as many slices as that reaches.
struct Dribble {
    step: usize,
    written: Vec<u8>,
}

impl AsyncWrite for Dribble {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let step = self.step;
        let bytes: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).take(step).collect();
        self.written.extend_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

fn encoded(kind: u8, chunks: &[Bytes], step: usize) -> Vec<u8> {
    let mut writer = Dribble { step, written: Vec::new() };
    now(write(&mut writer, kind, chunks)).expect("a buffer takes everything");
    writer.written
}

fn decoded(mut bytes: &[u8]) -> Result<(u8, Bytes), FrameError> {
    now(read(&mut bytes, FRAME_BYTES_MAX))
}

#[test]
fn the_bytes_are_those_of_the_table() {
    let frame = encoded(7, &[Bytes::from_static(b"12345678"), Bytes::from_static(b"9")], 1);
    let crc = thalweg_protocol::batch::crc32c(b"\x07123456789").to_be_bytes();
    assert_eq!(frame, [&[0, 0, 0, 14], &crc[..], b"\x07123456789"].concat());
}

#[test]
fn a_length_is_judged_before_anything_is_allocated() {
    // Nothing follows the lengths: a reader that went on would find the end of the stream.
    let too_long = (FRAME_BYTES_MAX as u32 + 1).to_be_bytes();
    assert!(matches!(decoded(&too_long), Err(FrameError::TooLong { .. })));
    assert!(matches!(decoded(&u32::MAX.to_be_bytes()), Err(FrameError::TooLong { .. })));
    assert!(matches!(decoded(&4_u32.to_be_bytes()), Err(FrameError::TooShort(4))));
    let frame = encoded(1, &[Bytes::from_static(b"abc")], 100);
    assert!(matches!(
        now(read(&mut frame.as_slice(), 7)),
        Err(FrameError::TooLong { len: 8, max: 7 })
    ));
    assert!(now(read(&mut frame.as_slice(), 8)).is_ok());
}

#[test]
fn a_frame_too_long_is_not_begun() {
    let half = Bytes::from(vec![0; FRAME_BYTES_MAX / 2]);
    let mut writer = Dribble { step: usize::MAX, written: Vec::new() };
    let result = now(write(&mut writer, 1, &[half.clone(), half]));
    assert!(matches!(result, Err(FrameError::TooLong { .. })));
    assert!(writer.written.is_empty());
}

#[test]
fn the_end_between_frames_is_no_failure() {
    assert!(matches!(decoded(b""), Err(FrameError::Closed)));
}

proptest! {
    #[test]
    fn frames_come_back_as_they_were_sent(
        frames in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5)),
            0..4,
        ),
        step in 1_usize..40,
    ) {
        let mut stream = Vec::new();
        for (kind, chunks) in &frames {
            let chunks: Vec<Bytes> = chunks.iter().cloned().map(Bytes::from).collect();
            stream.extend(encoded(*kind, &chunks, step));
        }
        let mut reader = stream.as_slice();
        for (kind, chunks) in &frames {
            let (got, payload) = now(read(&mut reader, FRAME_BYTES_MAX)).expect("as sent");
            prop_assert_eq!(got, *kind);
            prop_assert_eq!(payload, chunks.concat());
        }
        prop_assert!(matches!(now(read(&mut reader, FRAME_BYTES_MAX)), Err(FrameError::Closed)));
    }

    #[test]
    fn a_damaged_frame_is_noticed(
        kind in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let frame = encoded(kind, &[Bytes::from(payload)], usize::MAX);
        for len in 1..frame.len() {
            prop_assert!(matches!(decoded(&frame[..len]), Err(FrameError::Io(_))), "cut at {len}");
        }
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decoded(&flipped).is_err(), "bit {bit}");
        }
    }
}
