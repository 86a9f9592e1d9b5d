//! A file is replaced whole or not at all, and damage in it is found.

use proptest::prelude::*;

use super::*;
use crate::disk::sim::{Crashed, Operation, SimDisk};

const PATH: &str = "state";

async fn on_disk(disk: &SimDisk) -> Result<Option<Bytes>, AtomicReadError> {
    read(disk, Path::new(PATH)).await
}

async fn put(disk: &SimDisk, content: &[u8]) -> io::Result<()> {
    write(disk, Path::new(PATH), content).await
}

#[tokio::test]
async fn what_was_written_is_read_back() {
    let disk = SimDisk::new(1);
    assert!(on_disk(&disk).await.unwrap().is_none());
    for content in [&b"first"[..], b"", &[7; 10_000], b"last"] {
        put(&disk, content).await.unwrap();
        assert_eq!(on_disk(&disk).await.unwrap().unwrap(), content);
    }
    let names = disk.list_dir(Path::new("/")).await.unwrap();
    assert_eq!(names.len(), 1, "no temporary file stays: {names:?}");
}

#[tokio::test]
async fn a_power_cut_leaves_the_old_content_or_the_new() {
    let mut seen_after_interruption = [false; 2];
    for seed in 0..500 {
        let disk = SimDisk::new(seed);
        put(&disk, b"old").await.unwrap();
        let interrupted = {
            let writing = put(&disk, &[b'n'; 3_000]);
            let cutting = async {
                for _ in 0..seed % 40 {
                    tokio::task::yield_now().await;
                }
                disk.power_cut(seed);
            };
            tokio::join!(writing, cutting).0
        };
        let found = on_disk(&disk.reopen()).await.unwrap().unwrap();
        match interrupted {
            Ok(()) => assert_eq!(found, [b'n'; 3_000][..], "seed {seed}"),
            Err(error) => {
                assert!(Crashed::caused(&error), "{error}");
                assert!(found == "old" || found == [b'n'; 3_000][..], "seed {seed}: {found:?}");
                seen_after_interruption[usize::from(found != "old")] = true;
            }
        }
    }
    assert_eq!(seen_after_interruption, [true, true], "the cuts came at different moments");
}

#[tokio::test]
async fn a_full_disk_keeps_the_old_content_and_no_temporary_file() {
    let disk = SimDisk::new(1);
    put(&disk, b"old").await.unwrap();
    disk.set_capacity(Some(8_192));
    let error = put(&disk, &[1; 20_000]).await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(on_disk(&disk).await.unwrap().unwrap(), "old");
    assert_eq!(disk.list_dir(Path::new("/")).await.unwrap().len(), 1);
    put(&disk, b"new").await.unwrap();
    assert_eq!(on_disk(&disk).await.unwrap().unwrap(), "new");
}

#[tokio::test]
async fn a_failed_flush_does_not_replace_the_old_content() {
    let disk = SimDisk::new(1);
    put(&disk, b"old").await.unwrap();
    disk.fail_next(Operation::Sync, libc::EIO, 1);
    assert!(put(&disk, b"new").await.is_err());
    assert_eq!(on_disk(&disk).await.unwrap().unwrap(), "old");
}

#[tokio::test]
async fn every_flipped_bit_is_found_and_named() {
    let content = b"what must not change unseen";
    for position in 0..(HEADER_LEN + content.len()) as u64 {
        for bit in 0..8 {
            let disk = SimDisk::new(1);
            put(&disk, content).await.unwrap();
            disk.flip_bit(Path::new(PATH), position, bit).unwrap();
            let error = on_disk(&disk).await.unwrap_err();
            assert!(matches!(error, AtomicReadError::Damaged { .. }), "{position}.{bit}: {error}");
            assert!(error.to_string().contains(PATH));
        }
    }
}

#[test]
fn a_newer_format_is_told_from_damage() {
    let mut file = BytesMut::new();
    file.put_u32(MAGIC);
    file.put_u32(FORMAT + 1);
    file.put_u64(3);
    let crc = checksum(&file, b"new");
    file.put_u32(crc);
    file.put_slice(b"new");
    assert!(matches!(parse(file.freeze()), Err(ParseError::NewerFormat(2))));
}

proptest! {
    #[test]
    fn no_other_length_is_accepted(
        content in prop::collection::vec(any::<u8>(), 0..200),
        more in 1usize..50
    ) {
        let whole = [&header(&content)[..], &content].concat();
        for len in 0..whole.len() {
            prop_assert!(parse(Bytes::copy_from_slice(&whole[..len])).is_err());
        }
        for filler in [0, 0xff] {
            let mut longer = whole.clone();
            longer.resize(whole.len() + more, filler);
            prop_assert!(parse(longer.into()).is_err());
        }
        prop_assert_eq!(parse(whole.into()).ok().unwrap(), content);
    }
}
