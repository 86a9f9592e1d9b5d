//! The simulated disk's own promises: what it may lose, what it must not, and its faults.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use thalweg_storage::disk::sim::{Crashed, Operation, SimDisk};
use thalweg_storage::disk::{Disk, DiskFile, OpenMode};

const SECTOR: usize = 512;
const PAGE: usize = 4_096;
const SEEDS: u64 = 400;

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

async fn create(disk: &SimDisk, name: &str) -> Rc<dyn DiskFile> {
    disk.open(Path::new(name), OpenMode::CreateNew).await.unwrap()
}

async fn open(disk: &SimDisk, name: &str) -> Rc<dyn DiskFile> {
    disk.open(Path::new(name), OpenMode::Existing).await.unwrap()
}

async fn content(disk: &SimDisk, name: &str) -> Bytes {
    let file = open(disk, name).await;
    let len = file.len().await.unwrap();
    file.read_at(0, usize::try_from(len).unwrap()).await.unwrap()
}

/// A file whose bytes and name are durable.
async fn create_durable(disk: &SimDisk, name: &str, bytes: Bytes) -> Rc<dyn DiskFile> {
    let file = create(disk, name).await;
    file.write_at(0, vec![bytes]).await.unwrap();
    file.sync_data().await.unwrap();
    sync_root(disk).await;
    file
}

async fn sync_root(disk: &SimDisk) {
    disk.sync_dir(Path::new("/")).await.unwrap();
}

async fn names(disk: &SimDisk) -> BTreeSet<String> {
    let entries = disk.list_dir(Path::new("/")).await.unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

fn filled(byte: u8, len: usize) -> Bytes {
    Bytes::from(vec![byte; len])
}

fn errno<T>(result: std::io::Result<T>) -> i32 {
    result.err().expect("a fault was planted").raw_os_error().expect("faults carry an errno")
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_tears_the_rest_by_sectors() {
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..SEEDS {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create_durable(&disk, "file", filled(b'o', 4 * PAGE)).await;
            file.write_at(PAGE as u64, vec![filled(b'n', 2 * PAGE)]).await.unwrap();
            disk.power_cut(seed);
            let found = content(&disk.reopen(), "file").await;

            assert_eq!(found.len(), 4 * PAGE);
            assert!(found[..PAGE].iter().chain(&found[3 * PAGE..]).all(|byte| *byte == b'o'));
            let sectors: Vec<u8> = found[PAGE..3 * PAGE].chunks(SECTOR).map(|s| s[0]).collect();
            for (sector, bytes) in sectors.iter().zip(found[PAGE..3 * PAGE].chunks(SECTOR)) {
                assert!(bytes.iter().all(|byte| byte == sector), "sectors are never torn");
            }
            let new = sectors.iter().filter(|byte| **byte == b'n').count();
            let torn_page =
                sectors.chunks(PAGE / SECTOR).any(|page| page.windows(2).any(|w| w[0] != w[1]));
            let outcome = match new {
                0 => "lost",
                16 => "kept",
                _ if torn_page => "torn within a page",
                _ => "torn between pages",
            };
            *outcomes.entry(outcome).or_default() += 1;
        });
    }
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
    assert!(outcomes.values().all(|count| *count >= 10), "{outcomes:?}");
}

#[test]
fn a_sector_written_twice_is_found_in_one_of_its_versions() {
    let mut found_versions = BTreeSet::new();
    for seed in 0..SEEDS {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create_durable(&disk, "file", filled(0, SECTOR)).await;
            file.write_at(0, vec![filled(1, 100)]).await.unwrap();
            file.write_at(100, vec![filled(2, 100)]).await.unwrap();
            disk.power_cut(seed);
            let found = content(&disk.reopen(), "file").await;
            found_versions.insert((found[0], found[100]));
        });
    }
    // Never the second write without the first: they share a page of the cache.
    assert_eq!(found_versions, BTreeSet::from([(0, 0), (1, 0), (1, 2)]));
}

#[test]
fn the_length_survives_or_not_apart_from_the_bytes() {
    let mut lens = BTreeSet::new();
    let mut zeroes_at_the_end = false;
    for seed in 0..SEEDS {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create_durable(&disk, "file", filled(b'o', 1_000)).await;
            file.write_at(1_000, vec![filled(b'n', 5_000)]).await.unwrap();
            file.write_at(6_000, vec![filled(b'n', 5_000)]).await.unwrap();
            disk.power_cut(seed);
            let found = content(&disk.reopen(), "file").await;
            assert!(found[..1_000].iter().all(|byte| *byte == b'o'));
            zeroes_at_the_end |= found[1_000..].contains(&0);
            lens.insert(found.len());
        });
    }
    assert!(lens.is_superset(&BTreeSet::from([1_000, 6_000, 11_000])), "{lens:?}");
    assert!(zeroes_at_the_end, "a length without its bytes reads as zeroes");
}

#[test]
fn truncated_bytes_may_come_back_and_never_as_anything_else() {
    let mut lens = BTreeSet::new();
    for seed in 0..SEEDS {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create_durable(&disk, "file", filled(b'o', 10_000)).await;
            file.truncate(3_000).await.unwrap();
            disk.power_cut(seed);
            let found = content(&disk.reopen(), "file").await;
            assert!(found[..3_000].iter().all(|byte| *byte == b'o'));
            assert!(found[3_000..].iter().all(|byte| matches!(byte, b'o' | 0)));
            lens.insert(found.len());
        });
    }
    assert_eq!(lens, BTreeSet::from([3_000, 10_000]));
}

#[test]
fn names_survive_once_their_directory_is_synced_and_by_chance_before() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        run(async {
            let disk = SimDisk::new(seed);
            create(&disk, "removed").await;
            create(&disk, "from").await;
            create(&disk, "durable").await;
            sync_root(&disk).await;
            create(&disk, "created").await;
            disk.remove_file(Path::new("removed")).await.unwrap();
            disk.rename(Path::new("from"), Path::new("to")).await.unwrap();
            disk.power_cut(seed);

            let found = names(&disk.reopen()).await;
            assert!(found.contains("durable"));
            assert!(found.contains("from") != found.contains("to"), "renames are atomic");
            outcomes.insert(["created", "removed", "to"].map(|name| found.contains(name)));
        });
    }
    assert_eq!(outcomes.len(), 8, "each change survives or not by itself: {outcomes:?}");
}

#[test]
fn a_name_brought_back_by_a_power_cut_has_its_content() {
    let mut came_back = false;
    for seed in 0..50 {
        run(async {
            let disk = SimDisk::new(seed);
            drop(create_durable(&disk, "file", filled(7, 9_000)).await);
            disk.remove_file(Path::new("file")).await.unwrap();
            assert!(names(&disk).await.is_empty());
            disk.power_cut(seed);
            let disk = disk.reopen();
            if names(&disk).await.contains("file") {
                came_back = true;
                assert_eq!(content(&disk, "file").await, filled(7, 9_000));
            }
        });
    }
    assert!(came_back);
}

#[test]
fn directories_are_durable_when_created_and_removed_when_synced() {
    for seed in 0..50 {
        run(async {
            let mut disk = SimDisk::new(seed);
            disk.create_dir_all(Path::new("a/b/c")).await.unwrap();
            disk.power_cut(seed);
            disk = disk.reopen();
            disk.list_dir(Path::new("a/b/c")).await.unwrap();
            create(&disk, "a/b/file").await;
            disk.sync_dir(Path::new("a/b")).await.unwrap();
            disk.remove_dir_all(Path::new("a")).await.unwrap();
            sync_root(&disk).await;
            disk.power_cut(seed);
            assert!(names(&disk.reopen()).await.is_empty());
        });
    }
}

#[test]
fn a_killed_process_leaves_everything_it_wrote() {
    for seed in 0..50 {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create(&disk, "file").await;
            file.write_at(0, vec![filled(1, 10_000)]).await.unwrap();
            disk.kill(seed);
            let disk = disk.reopen();
            assert_eq!(content(&disk, "file").await, filled(1, 10_000));
            // Written is not durable: the next power cut may still take it.
        });
    }
    let lost = (0..50).any(|seed| {
        run(async {
            let disk = SimDisk::new(seed);
            create(&disk, "file").await.write_at(0, vec![filled(1, 10_000)]).await.unwrap();
            disk.kill(seed);
            disk.power_cut(seed);
            names(&disk.reopen()).await.is_empty()
        })
    });
    assert!(lost);
}

#[test]
fn a_write_under_way_at_a_crash_may_have_happened_in_part() {
    let mut lens = BTreeSet::new();
    for seed in 0..SEEDS {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create_durable(&disk, "file", Bytes::new()).await;
            let writing = file.write_at(0, vec![filled(1, 10_000)]);
            disk.kill(seed);
            assert!(Crashed::caused(&writing.await.unwrap_err()));
            let found = content(&disk.reopen(), "file").await;
            assert!(found.iter().all(|byte| *byte == 1));
            lens.insert(found.len());
        });
    }
    assert!(lens.contains(&0) && lens.iter().any(|len| (1..10_000).contains(len)), "{lens:?}");
}

#[test]
fn handles_of_an_earlier_life_are_dead() {
    run(async {
        let disk = SimDisk::new(1);
        let file = create_durable(&disk, "file", filled(1, 100)).await;
        let map = file.map(100).await.unwrap();
        let under_way = file.sync_data();
        disk.power_cut(1);
        assert!(Crashed::caused(&under_way.await.unwrap_err()));
        assert!(Crashed::caused(&file.read_at(0, 1).await.unwrap_err()));
        assert!(Crashed::caused(&file.write_at(0, vec![filled(9, 9)]).await.unwrap_err()));
        assert!(Crashed::caused(&map.make_resident(0..100).await.unwrap_err()));
        assert!(Crashed::caused(&disk.sync_dir(Path::new("/")).await.unwrap_err()));
        let opened = disk.open(Path::new("file"), OpenMode::Existing).await;
        assert!(Crashed::caused(&opened.err().unwrap()));
        assert_eq!(content(&disk.reopen(), "file").await, filled(1, 100));
    });
}

#[test]
fn a_flipped_bit_stays_flipped() {
    run(async {
        let disk = SimDisk::new(1);
        let file = create_durable(&disk, "file", filled(0, 5_000)).await;
        disk.flip_bit(Path::new("file"), 4_100, 3).unwrap();
        assert_eq!(file.read_at(4_100, 1).await.unwrap()[0], 1 << 3);
        file.write_at(0, vec![filled(0, 10)]).await.unwrap();
        file.sync_data().await.unwrap();
        disk.power_cut(1);
        let found = content(&disk.reopen(), "file").await;
        assert_eq!((found[4_099], found[4_100], found[4_101]), (0, 1 << 3, 0));
        assert!(disk.flip_bit(Path::new("file"), 5_000, 0).is_err(), "there is no such byte");
        assert!(disk.flip_bit(Path::new("missing"), 0, 0).is_err());
    });
}

#[test]
fn a_misdirected_write_lands_elsewhere_and_says_nothing() {
    run(async {
        let disk = SimDisk::new(1);
        let file = create_durable(&disk, "file", filled(b'o', 10_000)).await;
        disk.misdirect_next_write(PAGE as u64);
        file.write_at(0, vec![filled(b'n', 10)]).await.unwrap();
        file.write_at(50, vec![filled(b'n', 10)]).await.unwrap();
        let found = content(&disk, "file").await;
        assert_eq!((found[0], found[PAGE], found[50]), (b'o', b'n', b'n'));
    });
}

#[test]
fn operations_fail_as_often_as_asked_and_then_work() {
    run(async {
        let disk = SimDisk::new(1);
        let file = create_durable(&disk, "file", filled(1, 100)).await;
        let map = file.map(100).await.unwrap();
        disk.fail_next(Operation::Read, libc::EIO, 2);
        disk.fail_next(Operation::Allocate, libc::ENOSPC, 1);
        disk.fail_next(Operation::MakeResident, libc::EIO, 1);
        disk.fail_next(Operation::Rename, libc::EIO, 1);
        assert_eq!(errno(file.read_at(0, 1).await), libc::EIO);
        assert_eq!(errno(file.read_at(0, 1).await), libc::EIO);
        assert_eq!(file.read_at(0, 1).await.unwrap(), filled(1, 1));
        assert_eq!(errno(file.allocate(1).await), libc::ENOSPC);
        file.allocate(1).await.unwrap();
        assert_eq!(errno(map.make_resident(0..1).await), libc::EIO);
        map.make_resident(0..1).await.unwrap();
        let (from, to) = (Path::new("file"), Path::new("to"));
        assert_eq!(errno(disk.rename(from, to).await), libc::EIO);
        assert_eq!(names(&disk).await, BTreeSet::from(["file".to_owned()]));
        disk.fail_next(Operation::Rename, libc::EIO, 1);
        disk.clear_faults();
        disk.rename(from, to).await.unwrap();
    });
}

#[test]
fn a_failed_write_has_written_some_prefix() {
    let mut lens = BTreeSet::new();
    for seed in 0..50 {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create(&disk, "file").await;
            disk.fail_next(Operation::Write, libc::EIO, 1);
            assert_eq!(errno(file.write_at(0, vec![filled(1, 10_000)]).await), libc::EIO);
            lens.insert(content(&disk, "file").await.len());
        });
    }
    assert!(lens.len() > 10, "{lens:?}");
}

#[test]
fn a_failed_sync_drops_the_pages_for_good() {
    run(async {
        let disk = SimDisk::new(1);
        let file = create_durable(&disk, "file", filled(b'o', PAGE)).await;
        file.write_at(0, vec![filled(b'n', PAGE)]).await.unwrap();
        disk.fail_next(Operation::Sync, libc::EIO, 1);
        assert_eq!(errno(file.sync_data().await), libc::EIO);
        file.sync_data().await.unwrap();
        assert_eq!(content(&disk, "file").await, filled(b'n', PAGE), "programs still see it");
        disk.power_cut(1);
        assert_eq!(content(&disk.reopen(), "file").await, filled(b'o', PAGE));
    });
}

#[test]
fn a_sync_that_lies_makes_nothing_durable_and_the_next_one_does() {
    let lost = (0..50).any(|seed| {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create_durable(&disk, "file", filled(b'o', 10)).await;
            file.write_at(0, vec![filled(b'n', 10)]).await.unwrap();
            disk.lie_next_sync();
            file.sync_data().await.unwrap();
            disk.power_cut(seed);
            content(&disk.reopen(), "file").await == filled(b'o', 10)
        })
    });
    assert!(lost, "the lie came out at least once");
    for seed in 0..50 {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create(&disk, "file").await;
            file.write_at(0, vec![filled(b'n', 10)]).await.unwrap();
            disk.lie_next_sync();
            file.sync_data().await.unwrap();
            file.sync_data().await.unwrap();
            disk.lie_next_sync();
            sync_root(&disk).await;
            sync_root(&disk).await;
            disk.power_cut(seed);
            assert_eq!(content(&disk.reopen(), "file").await, filled(b'n', 10));
        });
    }
}

#[test]
fn a_sync_covers_the_writes_completed_before_it_began() {
    let lost = (0..SEEDS).any(|seed| {
        run(async {
            let disk = SimDisk::new(seed);
            let file = create_durable(&disk, "file", filled(b'o', 2 * PAGE)).await;
            file.write_at(0, vec![filled(b'n', PAGE)]).await.unwrap();
            let sync = file.sync_data();
            file.write_at(PAGE as u64, vec![filled(b'n', PAGE)]).await.unwrap();
            sync.await.unwrap();
            disk.power_cut(seed);
            let found = content(&disk.reopen(), "file").await;
            assert_eq!(found[..PAGE], filled(b'n', PAGE), "written before the sync");
            found[PAGE..] == filled(b'o', PAGE)
        })
    });
    assert!(lost, "a write that came after the sync began is not covered");
}

#[test]
fn a_full_disk_refuses_and_removals_make_room() {
    run(async {
        let disk = SimDisk::new(1);
        disk.set_capacity(Some(10 * PAGE as u64));
        let big = create(&disk, "big").await;
        big.write_at(0, vec![filled(1, 6 * PAGE)]).await.unwrap();
        let other = create(&disk, "other").await;
        other.allocate(2 * PAGE as u64).await.unwrap();
        assert_eq!(errno(other.allocate(5 * PAGE as u64).await), libc::ENOSPC);
        assert_eq!(other.len().await.unwrap(), 2 * PAGE as u64);
        let space = disk.space(Path::new("/")).await.unwrap();
        assert_eq!((space.available, space.total), (2 * PAGE as u64, 10 * PAGE as u64));

        // What is allocated can be written although nothing else can.
        other.write_at(0, vec![filled(2, 2 * PAGE)]).await.unwrap();
        let error = other.write_at(2 * PAGE as u64, vec![filled(2, 5 * PAGE)]).await;
        assert_eq!(errno(error), libc::ENOSPC);
        assert_eq!(other.len().await.unwrap(), 4 * PAGE as u64, "what fitted was written");

        disk.remove_file(Path::new("big")).await.unwrap();
        assert_eq!(disk.space(Path::new("/")).await.unwrap().available, 0, "it is still open");
        drop(big);
        assert_eq!(disk.space(Path::new("/")).await.unwrap().available, 6 * PAGE as u64);
        other.truncate(PAGE as u64).await.unwrap();
        assert_eq!(disk.space(Path::new("/")).await.unwrap().available, 9 * PAGE as u64);
    });
}

/// The order in which twenty operations complete, and when.
fn trace(seed: u64, latency: bool) -> Vec<(usize, Duration)> {
    run(async {
        let disk = SimDisk::new(seed);
        if latency {
            disk.set_latency(Some(Duration::from_millis(1)..=Duration::from_millis(9)));
        }
        let began = tokio::time::Instant::now();
        let file = create(&disk, "file").await;
        let trace = std::cell::RefCell::new(Vec::new());
        let operations = (0..20usize).map(|index| {
            let write = file.write_at(index as u64, vec![filled(1, 1)]);
            let trace = &trace;
            async move {
                write.await.unwrap();
                trace.borrow_mut().push((index, began.elapsed()));
            }
        });
        join_all(operations).await;
        trace.into_inner()
    })
}

#[test]
fn one_seed_decides_the_order_of_completion() {
    for latency in [false, true] {
        let traces: BTreeSet<_> = (0..10).map(|seed| trace(seed, latency)).collect();
        assert!(traces.len() >= 9, "different seeds, different orders");
        for seed in 0..10 {
            assert_eq!(trace(seed, latency), trace(seed, latency));
        }
    }
    let took: Vec<Duration> = trace(3, true).into_iter().map(|(_, at)| at).collect();
    assert!(took.is_sorted() && took.last().unwrap() > &Duration::from_millis(5), "{took:?}");
}
