//! The bare servers: one connection, one thread, no more work than the bytes themselves need.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use anyhow::Context;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use thalweg_benches::frames::Frames;

/// How much one answer carries: what a broker gives for a fetch that may have a megabyte.
const SLICE_BYTES: usize = 1 << 20;
/// What is sent for each frame received; a produce response of one partition is about as long.
const ACKNOWLEDGEMENT: [u8; 60] = {
    let mut frame = [0; 60];
    frame[3] = 56;
    frame
};

/// Receives frames until the peer ends, checks each one's CRC, and appends it to `file`.
pub(super) fn receive(file: &Path) -> anyhow::Result<()> {
    let mut connection = accept()?;
    let mut file = File::create(file)?;
    let mut frame = Vec::new();
    while connection.receive(&mut frame)? {
        // Kept from the optimizer: nobody compares it.
        std::hint::black_box(crc_fast::checksum(Crc32Iscsi, &frame));
        file.write_all(&frame)?;
        connection.send(&ACKNOWLEDGEMENT)?;
    }
    Ok(())
}

/// Answers each frame with the next slice of `file`, and with an empty frame at its end.
pub(super) fn send(file: &Path) -> anyhow::Result<()> {
    let file = File::open(file)?;
    // SAFETY: nobody changes the file while this process runs; it was written before.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    let mut connection = accept()?;
    let mut request = Vec::new();
    for slice in map.chunks(SLICE_BYTES).chain([&[][..]]) {
        if !connection.receive(&mut request)? {
            break;
        }
        let size = i32::try_from(slice.len()).context("a slice is small")?;
        connection.send_parts(&size.to_be_bytes(), slice)?;
    }
    Ok(())
}

/// Says where it listens and takes the first connection.
fn accept() -> anyhow::Result<Frames> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    Ok(Frames::accepted(listener.accept()?.0)?)
}
