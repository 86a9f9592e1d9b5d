//! A frame between brokers: a kind and a payload that arrive whole or not at all.
//!
//! | bytes | what                                        |
//! |-------|---------------------------------------------|
//! | 4     | length of all that follows, big-endian      |
//! | 4     | CRC-32C of all that follows it, big-endian  |
//! | 1     | kind                                        |
//! | n     | payload                                     |
//!
//! The checksum guards against a peer's or a network's mistake, not against an attacker. After an
//! error the position in the stream is unknown: the connection must be closed. The same holds for a
//! read or write that was cancelled.

use std::io::{self, IoSlice};

use bytes::{Bytes, BytesMut};
use thalweg_protocol::batch::Crc32c;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest frame, counted from its checksum to its end.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Checksum and kind.
const OVERHEAD: usize = 4 + 1;
/// All before the payload.
const HEAD: usize = 4 + OVERHEAD;

/// Why no frame was read or written.
#[derive(Debug, Error)]
pub enum FrameError {
    /// It is longer than this connection allows; nothing of it was allocated or sent.
    #[error("a frame of {len} bytes, where at most {max} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// Its length leaves no room for a checksum and a kind.
    #[error("a frame of {0} bytes, which is less than an empty one has")]
    TooShort(usize),
    /// It is not what was sent.
    #[error("a frame whose checksum does not hold")]
    BadCrc,
    /// The peer closed the connection between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The connection failed, or ended within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes one frame whose payload is `chunks`, in gathered writes and without copying them, and
/// flushes.
pub async fn write<W>(writer: &mut W, kind: u8, chunks: &[Bytes]) -> Result<(), FrameError>
where
    W: AsyncWrite + Unpin + ?Sized,
{
    let len = OVERHEAD + chunks.iter().map(Bytes::len).sum::<usize>();
    let too_long = FrameError::TooLong { len, max: FRAME_BYTES_MAX };
    if len > FRAME_BYTES_MAX {
        return Err(too_long);
    }
    let encoded_len = u32::try_from(len).map_err(|_| too_long)?;
    let mut crc = Crc32c::new();
    crc.update(&[kind]);
    for chunk in chunks {
        crc.update(chunk);
    }
    let [l0, l1, l2, l3] = encoded_len.to_be_bytes();
    let [c0, c1, c2, c3] = crc.finish().to_be_bytes();
    let head: [u8; HEAD] = [l0, l1, l2, l3, c0, c1, c2, c3, kind];

    let mut slices = Vec::with_capacity(1 + chunks.len());
    slices.push(IoSlice::new(&head));
    let filled = chunks.iter().filter(|chunk| !chunk.is_empty());
    slices.extend(filled.map(|chunk| IoSlice::new(chunk)));
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = writer.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    writer.flush().await?;
    Ok(())
}

/// Reads one frame of at most `len_max` bytes: its kind and its payload. The length is checked
/// before anything is allocated.
pub async fn read<R>(reader: &mut R, len_max: usize) -> Result<(u8, Bytes), FrameError>
where
    R: AsyncRead + Unpin + ?Sized,
{
    let mut len = [0; 4];
    read_first(reader, &mut len).await?;
    let len = u32::from_be_bytes(len);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > len_max {
        return Err(FrameError::TooLong { len, max: len_max });
    }
    let payload_len = len.checked_sub(OVERHEAD).ok_or(FrameError::TooShort(len))?;
    let expected = reader.read_u32().await?;
    let kind = reader.read_u8().await?;
    let mut payload = BytesMut::with_capacity(payload_len);
    // A buffer may be larger than asked for; what follows belongs to the next frame.
    let mut within = reader.take(u64::try_from(payload_len).unwrap_or(u64::MAX));
    while payload.len() < payload_len {
        if within.read_buf(&mut payload).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    let mut crc = Crc32c::new();
    crc.update(&[kind]);
    crc.update(&payload);
    if crc.finish() != expected {
        return Err(FrameError::BadCrc);
    }
    Ok((kind, payload.freeze()))
}

/// Fills `bytes`, knowing the end of the stream before the first byte from one after it.
async fn read_first<R>(reader: &mut R, bytes: &mut [u8]) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin + ?Sized,
{
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest).await? {
            0 if read == 0 => return Err(FrameError::Closed),
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            some => read += some,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
