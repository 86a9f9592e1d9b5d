//! Lines of a stream in large blocks, so that no line is read or allocated on its own.
//!
//! A thread of its own reads, since stdin blocks and the sending must not. The channel to it is
//! short: a stream that is faster than the brokers waits.

use std::io::{self, BufRead, Read};
use std::thread;

use tokio::sync::mpsc;

/// How much is read at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// How many blocks wait to be sent.
const BLOCKS_AHEAD: usize = 4;
/// A line that does not fit is refused: the whole of it has to be in memory.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads `source` to its end. Each block holds whole lines, the last one of all perhaps without its
/// newline. After an error or when the receiver has gone, nothing more comes.
pub(super) fn read_blocks(
    source: impl Read + Send + 'static,
) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (blocks, receiver) = mpsc::channel(BLOCKS_AHEAD);
    // It is not joined: blocked on a terminal, it would outlive the command.
    thread::spawn(move || {
        let mut reader = BlockReader { source, carried: Vec::new() };
        while let Some(block) = reader.next_block().transpose() {
            let is_over = block.is_err();
            if blocks.blocking_send(block).is_err() || is_over {
                return;
            }
        }
    });
    receiver
}

/// The lines of a block, without their newlines.
pub(super) fn lines(mut block: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut after = block;
        let length = after.skip_until(b'\n').unwrap_or(0);
        let (line, rest) = block.split_at_checked(length).filter(|(line, _)| !line.is_empty())?;
        block = rest;
        Some(line.strip_suffix(b"\n").unwrap_or(line))
    })
}

struct BlockReader<R> {
    source: R,
    /// The beginning of a line whose end has not been read.
    carried: Vec<u8>,
}

impl<R: Read> BlockReader<R> {
    fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut block = std::mem::take(&mut self.carried);
        loop {
            let known = block.len();
            if known > LINE_BYTES_MAX {
                let text = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            block.resize(known + BLOCK_BYTES, 0);
            let read = match self.source.read(block.get_mut(known..).unwrap_or_default()) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    block.truncate(known);
                    continue;
                }
                Err(error) => return Err(error),
            };
            block.truncate(known + read);
            if read == 0 {
                return Ok(Some(block).filter(|block| !block.is_empty()));
            }
            let fresh = block.get(known..).unwrap_or_default();
            if let Some(last) = fresh.iter().rposition(|byte| *byte == b'\n') {
                self.carried = block.split_off(known + last + 1);
                return Ok(Some(block));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes at a time.
    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let limit = self.1.min(to.len());
            self.0.read(&mut to[..limit])
        }
    }

    fn all_lines(text: &[u8], at_once: usize) -> Vec<Vec<u8>> {
        let mut reader = BlockReader { source: Slowly(text, at_once), carried: Vec::new() };
        let mut all = Vec::new();
        while let Some(block) = reader.next_block().expect("memory") {
            all.extend(lines(&block).map(<[u8]>::to_vec));
        }
        all
    }

    #[test]
    fn lines_do_not_depend_on_how_they_arrive() {
        let text = b"one\n\ntwo three\n\xff\r\nlast";
        let expected: Vec<&[u8]> = vec![b"one", b"", b"two three", b"\xff\r", b"last"];
        for at_once in [1, 2, 3, 7, 1000] {
            assert_eq!(all_lines(text, at_once), expected, "{at_once} at once");
        }
        assert!(all_lines(b"", 5).is_empty());
        assert_eq!(all_lines(b"\n", 5), [b""]);
    }

    #[test]
    fn a_line_longer_than_a_block_stays_whole() {
        let text = vec![b'x'; 3 * BLOCK_BYTES + 1];
        assert_eq!(all_lines(&text, usize::MAX), [text]);
    }
}
