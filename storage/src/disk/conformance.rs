//! One suite for every backend: each line of the contract in `disk/mod.rs` as a test.
//!
//! A case is an async function of a disk and an empty directory on it; `conformance!` runs all of
//! them against one backend, inside the runtime that a shard would give it.

mod durability;
mod files;
mod maps;
mod names;
mod together;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Disk, DiskFile, DiskStats, OpenMode, StdDisk, UringDisk, sim::SimDisk};

/// Far beyond what any case takes; a case that waits this long waits for ever.
const DEADLINE: Duration = Duration::from_secs(20);

macro_rules! conformance {
    ($backend:ident, $($file:ident :: $case:ident),* $(,)?) => {
        mod $backend {
            $(#[test]
            fn $case() {
                super::$backend(super::$file::$case);
            })*
        }
    };
}

macro_rules! every_backend {
    ($($backend:ident),*; $cases:tt) => { $(every_backend!(@one $backend $cases);)* };
    (@one $backend:ident ($($cases:tt)*)) => { conformance!($backend, $($cases)*); };
}

every_backend!(std_disk, uring_disk, sim_disk; (
    names::open_modes_decide_about_missing_and_existing_files,
    names::directories_are_no_files,
    names::create_dir_all_makes_every_parent_and_may_be_repeated,
    names::create_dir_all_may_run_many_times_at_once,
    names::create_dir_all_stops_at_a_file,
    names::list_dir_names_files_and_directories,
    names::rename_replaces_the_target,
    names::rename_leaves_the_target_readable_at_every_moment,
    names::rename_moves_directories_whole,
    names::removed_names_are_gone_and_open_handles_stay_readable,
    names::remove_dir_all_removes_all_below,
    names::errors_carry_the_errno,
    names::space_is_reported,
    files::written_bytes_are_read_back_through_any_handle,
    files::writes_replace_what_they_cover_and_nothing_else,
    files::reads_are_short_only_at_the_end,
    files::a_write_beyond_the_end_leaves_zeroes_before_it,
    files::more_buffers_than_one_call_takes_are_all_written,
    files::empty_writes_change_nothing,
    files::a_large_write_arrives_whole,
    files::allocate_adds_zeroes_and_never_shortens,
    files::truncate_cuts_and_extends_with_zeroes,
    maps::a_map_shows_the_first_bytes,
    maps::a_map_ends_with_the_file,
    maps::a_map_taken_again_shows_later_writes,
    maps::slices_outlive_the_name_the_file_and_the_map,
    maps::any_range_can_be_made_resident,
    maps::pages_beyond_the_end_are_an_error,
    together::operations_start_when_called,
    together::dropped_futures_do_not_cancel,
    together::a_dropped_read_leaves_the_file_usable,
    together::a_thousand_operations_at_once,
    together::results_go_to_those_who_asked,
    durability::syncs_succeed_on_files_and_directories,
    durability::syncs_may_overlap_writes,
));

fn std_disk<F: Future<Output = ()>>(case: fn(Rc<dyn Disk>, PathBuf) -> F) {
    let dir = tempfile::tempdir().unwrap();
    on_a_shard(async {
        let disk = StdDisk::new(2, Arc::new(DiskStats::default())).unwrap();
        case(Rc::new(disk), dir.path().to_path_buf()).await;
    });
}

fn uring_disk<F: Future<Output = ()>>(case: fn(Rc<dyn Disk>, PathBuf) -> F) {
    let dir = tempfile::tempdir().unwrap();
    on_a_shard(async {
        // Few entries, so that cases with many operations overflow the ring.
        if let Some(disk) = uring_or_skip(8) {
            case(Rc::new(disk), dir.path().to_path_buf()).await;
        }
    });
}

/// A ring, or nothing where a sandbox or kernel has none to give.
pub(super) fn uring_or_skip(entries: u32) -> Option<UringDisk> {
    match UringDisk::new(entries, 2, Arc::new(DiskStats::default())) {
        Ok(disk) => Some(disk),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            eprintln!("skipped: no io_uring here ({error})");
            None
        }
        Err(error) => panic!("io_uring is here and does not work: {error}"),
    }
}

fn sim_disk<F: Future<Output = ()>>(case: fn(Rc<dyn Disk>, PathBuf) -> F) {
    for seed in 0..20 {
        on_a_shard(async {
            let disk = SimDisk::new(seed);
            disk.create_dir_all(Path::new("/data")).await.unwrap();
            case(Rc::new(disk), PathBuf::from("/data")).await;
        });
    }
}

/// Runs a case as a shard would: one thread, its tasks local.
pub(super) fn on_a_shard<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let case = async { tokio::time::timeout(DEADLINE, case).await };
    tasks.block_on(&runtime, case).expect("the case reached its end in time")
}

async fn create(disk: &Rc<dyn Disk>, path: &Path) -> Rc<dyn DiskFile> {
    disk.open(path, OpenMode::CreateNew).await.unwrap()
}

/// Bytes that differ from place to place, so that a shift or a swap shows.
pub(super) fn pattern(salt: u64, len: usize) -> Bytes {
    let byte = |at: u64| (at.wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (0..len as u64).map(byte).collect()
}
