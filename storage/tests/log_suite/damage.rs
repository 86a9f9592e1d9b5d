//! Bits that flip and files that shrink: every record is intact, or it is reported; none is made
//! up.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use thalweg_protocol::batch::BatchView;
use thalweg_storage::disk::OpenMode;
use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::{LogConfig, ReadError};

use crate::harness::*;

/// A log of three segments and two terms with a log start, as its files.
pub(crate) async fn sample(close: bool) -> (Files, Model) {
    let mut rig = Rig::new(SimDisk::new(1));
    rig.config = LogConfig { segment_bytes_max: 700, ..small_config() };
    let OpenRig { log, .. } = rig.open().await;
    let mut model = Model::default();
    for (term, batches) in [(1, 4), (2, 5)] {
        let mut feed = Feed::of(&log, term);
        let mut entries = vec![feed.internal(b"leader")];
        entries.extend((0..batches).map(|n| feed.batch(&[n, n + 1], 20 + n as usize)));
        for entry in entries {
            model.append(std::slice::from_ref(&entry));
            log.append(vec![entry]).unwrap();
            log.flush().await.unwrap();
        }
    }
    log.applied_to(3);
    log.advance_log_start(1).await.unwrap();
    model.log_start_offset = 1;
    if close {
        log.close().await.unwrap();
    }
    (snapshot(&rig).await, model)
}

/// What a reader finds, batch by batch: intact, or damaged.
pub(crate) async fn survey(rig: &Rig, model: &Model, what: &str) -> BTreeMap<i64, bool> {
    let open = rig.open().await;
    let log = &open.log;
    let mut found = BTreeMap::new();
    let expected: BTreeMap<i64, BatchView> =
        model.batches().map(|batch| (batch.header().base_offset, batch)).collect();
    let mut next = log.log_start_offset();
    while next < log.next_offset() {
        match log.read(next, 1, log.next_offset(), true).await {
            Ok(fetched) if fetched.bytes > 0 => {
                let batch = BatchView::parse(Bytes::from(fetched.records.concat())).expect(what);
                let base_offset = batch.header().base_offset;
                assert_eq!(expected.get(&base_offset), Some(&batch), "{what}: invented");
                found.insert(base_offset, true);
                next = fetched.next_offset;
            }
            Ok(_) => panic!("{what}: nothing at {next}"),
            Err(ReadError::Damaged(range)) => {
                assert!(range.offsets.contains(&next), "{what}: {next} {range}");
                assert!(log.damage().contains(&range), "{what}: {range} is not known as damage");
                let lost = expected.keys().filter(|base| range.offsets.contains(*base));
                found.extend(lost.map(|base| (*base, false)));
                next = range.offsets.end;
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
    let mut index = log.first_index();
    while index <= log.last_index() {
        match log.entries(index, index + 1, 1).await {
            Ok(entries) => assert_eq!(Some(&entries[0]), model.entry(index), "{what}: {index}"),
            Err(error) => assert!(matches!(error, ReadError::Damaged(_)), "{what}: {error}"),
        }
        index += 1;
    }
    found
}

/// A rig with these files.
pub(crate) async fn rig_with(files: &Files) -> Rig {
    let mut rig = Rig::new(disk_with(files, std::path::Path::new("topics/t/3")).await);
    rig.config = LogConfig { segment_bytes_max: 700, ..small_config() };
    rig.without_tail_cache()
}

/// Asserts that every batch of the model is there or reported.
async fn check(files: &Files, model: &Model, lost_max: usize, what: &str) -> BTreeMap<i64, bool> {
    let rig = rig_with(files).await;
    check_in(&rig, model, lost_max, what).await
}

async fn check_in(rig: &Rig, model: &Model, lost_max: usize, what: &str) -> BTreeMap<i64, bool> {
    let found = survey(rig, model, what).await;
    for batch in model.batches() {
        let header = batch.header();
        if header.next_offset() > model.log_start_offset {
            assert!(found.contains_key(&header.base_offset), "{what}: {header:?} is silently lost");
        }
    }
    let lost = found.values().filter(|intact| !**intact).count();
    assert!(lost <= lost_max, "{what}: {lost} batches are lost");
    found
}

/// Asserts in addition that the log can go on, and says the same after a restart.
async fn check_on(files: &Files, model: &Model, lost_max: usize, what: &str) {
    let rig = rig_with(files).await;
    let found = check_in(&rig, model, lost_max, what).await;
    let again = rig.open().await;
    let mut longer = model.clone();
    let mut feed = Feed::of(&again.log, again.log.last_term().max(2) + 1);
    let more = vec![feed.internal(b"next"), feed.batch(&[50], 10)];
    longer.entries.retain(|entry| entry.index < more[0].index);
    longer.append(&more);
    again.log.append(more).unwrap();
    again.log.close().await.unwrap();
    let later = survey(&rig, &longer, what).await;
    for (base_offset, intact) in &found {
        assert_eq!(later.get(base_offset), Some(intact), "{what}: {base_offset} after a restart");
    }
}

#[test]
fn every_byte_flipped() {
    run(async {
        let (files, model) = sample(true).await;
        assert!(files.keys().filter(|name| name.ends_with(".log")).count() >= 3, "{files:?}");
        check_on(&files, &model, 0, "nothing changed").await;
        for (name, bytes) in &files {
            for at in 0..bytes.len() {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << (at % 8);
                let mut files = files.clone();
                files.insert(name.clone(), flipped.into());
                // A flip hits one batch at most, and none in what can be rebuilt.
                let lost_max = usize::from(name.ends_with(".log"));
                let what = format!("{name} flipped at {at}");
                match at % 7 {
                    0 => check_on(&files, &model, lost_max, &what).await,
                    _ => drop(check(&files, &model, lost_max, &what).await),
                }
            }
        }
    });
}

#[test]
fn every_length_cut_to() {
    run(async {
        let (files, model) = sample(true).await;
        for (name, bytes) in &files {
            for len in 0..bytes.len() {
                let mut files = files.clone();
                files.insert(name.clone(), bytes.slice(..len));
                let lost_max = if name.ends_with(".log") { 9 } else { 0 };
                let what = format!("{name} cut to {len}");
                match len % 7 {
                    0 => check_on(&files, &model, lost_max, &what).await,
                    _ => drop(check(&files, &model, lost_max, &what).await),
                }
            }
        }
    });
}

#[test]
fn every_file_removed() {
    run(async {
        let (files, model) = sample(true).await;
        for name in files.keys() {
            let mut files = files.clone();
            files.remove(name);
            let lost_max = if name.ends_with(".log") { 9 } else { 0 };
            check_on(&files, &model, lost_max, &format!("{name} removed")).await;
        }
        // All of them, but for the log start, is for others to notice; a whole segment is not.
        let segment: Vec<_> =
            files.keys().filter(|name| name.starts_with("0000")).nth(2).into_iter().collect();
        let stem = segment[0].trim_end_matches(".idx").trim_end_matches(".log");
        let mut files = files.clone();
        files.retain(|name, _| !name.starts_with(stem));
        check_on(&files, &model, 9, "a segment removed").await;
    });
}

/// Without a clean close the last window may be torn, but nothing before it.
#[test]
fn every_byte_flipped_after_a_crash() {
    run(async {
        let (files, model) = sample(false).await;
        let last_log = files.keys().rfind(|name| name.ends_with(".log")).unwrap().clone();
        for (name, bytes) in &files {
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            for at in 0..used {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << (at % 8);
                let mut files = files.clone();
                files.insert(name.clone(), flipped.into());
                let what = format!("{name} flipped at {at}");
                let found = survey(&rig_with(&files).await, &model, &what).await;
                let last = model.batches().last().unwrap();
                for batch in model.batches() {
                    let base_offset = batch.header().base_offset;
                    let may_be_torn = *name == last_log && batch == last;
                    if batch.header().next_offset() > model.log_start_offset && !may_be_torn {
                        assert!(found.contains_key(&base_offset), "{what}: {base_offset}");
                    }
                }
            }
        }
    });
}

#[test]
fn damage_met_while_reading_is_reported_and_what_surrounds_it_is_served() {
    run(async {
        let disk = SimDisk::new(3);
        let rig = Rig::new(disk.clone()).without_tail_cache();
        let OpenRig { log, .. } = rig.open().await;
        let mut feed = Feed::of(&log, 1);
        let mut entries = vec![feed.internal(b"")];
        entries.extend((0..12).map(|n| feed.batch(&[n], 300)));
        let model = Model { entries: entries.clone(), ..Model::default() };
        log.append(entries).unwrap();
        log.flush().await.unwrap();
        let name = rig.names().await.into_iter().find(|name| name.ends_with(".log")).unwrap();
        // In the body of the second batch.
        disk.flip_bit(&rig.dir.join(name), 600, 3).unwrap();
        let before = log.read(0, 1 << 20, 12, true).await.unwrap();
        assert_eq!(before.next_offset, 1);
        let damaged = log.read(1, 1 << 20, 12, true).await.unwrap_err();
        let ReadError::Damaged(range) = damaged else { panic!("{damaged}") };
        assert_eq!((range.offsets.clone(), range.indexes.clone()), (1..2, 3..4));
        assert_eq!(log.damage(), [range]);
        assert_eq!(rig.shared.stats().damaged_ranges.get(), 1);
        let after = read_all(&log, 2, 1 << 20).await.unwrap();
        assert_eq!(after, model.batches().skip(2).collect::<Vec<_>>());
        assert!(matches!(log.entries(3, 4, 1).await, Err(ReadError::Damaged(_))));
        assert_eq!(log.entries(4, 5, 1).await.unwrap()[0], model.entries[3]);
    });
}

#[test]
fn a_damaged_ledger_of_a_sealed_segment_is_rebuilt_by_its_first_reader() {
    run(async {
        let (files, model) = sample(true).await;
        let name = files.keys().find(|name| name.ends_with(".idx")).unwrap();
        let mut flipped = files[name].to_vec();
        flipped[1024 + 60] ^= 1;
        let mut damaged = files.clone();
        damaged.insert(name.clone(), flipped.into());
        let mut rig = Rig::new(disk_with(&damaged, std::path::Path::new("topics/t/3")).await);
        rig.applied = u64::MAX;
        let rig = rig.without_tail_cache();
        let OpenRig { log, report, .. } = rig.open().await;
        assert!(report.segments[0].sealed && !report.is_damaged());
        assert_holds(&log, &model).await;
        assert_eq!(log.damage(), []);
        let rebuilt = rig.contents(name).await;
        assert_ne!(rebuilt, damaged[name]);
        let again = rig.open().await;
        assert_holds(&again.log, &model).await;
        assert_eq!(rig.contents(name).await, rebuilt, "once is enough");
    });
}

/// A disk says that flushes went well when they did not, then loses power. What is lost without a
/// trace no log can notice; but where anything later has survived, the loss is reported.
#[test]
fn a_lying_disk_is_found_out() {
    let mut noticed = 0;
    for seed in 0..100 {
        run(async {
            let disk = SimDisk::new(seed);
            let mut rig = Rig::new(disk.clone()).without_tail_cache();
            rig.config = LogConfig { segment_bytes_max: 1 << 20, ..small_config() };
            let OpenRig { log, .. } = rig.open().await;
            let mut feed = Feed::of(&log, 1);
            let mut model = Model::default();
            for n in 0..3 {
                let entry = if n == 0 { feed.internal(b"") } else { feed.batch(&[n], 5_000) };
                model.append(std::slice::from_ref(&entry));
                log.append(vec![entry]).unwrap();
                log.flush().await.unwrap();
                disk.lie_next_sync();
            }
            disk.power_cut(seed);
            disk.clear_faults();
            rig.disk = Rc::new(disk.reopen());
            noticed += usize::from(rig.open().await.report.is_damaged());
            survey(&rig, &model, &format!("seed {seed}")).await;
        });
    }
    assert!(noticed > 10, "{noticed}");
}

#[test]
fn a_misdirected_write_is_reported_not_served() {
    run(async {
        let disk = SimDisk::new(9);
        let mut rig = Rig::new(disk.clone()).without_tail_cache();
        rig.config = LogConfig { segment_bytes_max: 1 << 20, ..small_config() };
        let OpenRig { log, .. } = rig.open().await;
        let mut feed = Feed::of(&log, 1);
        let mut model = Model::default();
        for n in 0..6 {
            let mut entries = vec![feed.batch(&[n], 100)];
            if n == 0 {
                feed = Feed::of(&log, 1);
                entries = vec![feed.internal(b"")];
            }
            if n == 3 {
                disk.misdirect_next_write(10_000);
            }
            model.append(&entries);
            log.append(entries).unwrap();
            log.flush().await.unwrap();
        }
        drop(log);
        let files = snapshot(&rig).await;
        check_misdirected(&files, &model).await;
    });
}

async fn check_misdirected(files: &Files, model: &Model) {
    let mut rig = Rig::new(disk_with(files, std::path::Path::new("topics/t/3")).await);
    rig.config = LogConfig { segment_bytes_max: 1 << 20, ..small_config() };
    let rig = rig.without_tail_cache();
    let found = survey(&rig, model, "misdirected").await;
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(found.values().filter(|intact| !**intact).count(), 1, "{found:?}");
}

#[test]
fn garbage_in_place_of_files_is_no_reason_to_panic_or_delete() {
    run(async {
        let (files, _) = sample(true).await;
        for seed in 0..200 {
            let mut dice = Dice::new(seed);
            let mut garbled = files.clone();
            for (name, bytes) in &files {
                let mut bytes = bytes.to_vec();
                let (from, to) = (dice.below(bytes.len() as u64), dice.below(bytes.len() as u64));
                for byte in &mut bytes[from.min(to) as usize..from.max(to) as usize] {
                    *byte = dice.below(256) as u8;
                }
                garbled.insert(name.clone(), bytes.into());
            }
            let rig = Rig::new(disk_with(&garbled, std::path::Path::new("topics/t/3")).await);
            let Ok(open) = rig.try_open().await else { continue };
            let (log, upper) = (&open.log, open.log.next_offset());
            let mut next = log.log_start_offset();
            while next < upper {
                next = match log.read(next, 1 << 20, upper, true).await {
                    Ok(fetched) => fetched.next_offset.max(next + 1),
                    Err(_) => next + 1,
                };
            }
        }
    });
}

/// A file that is not the log's own stays where it is.
#[test]
fn other_files_are_left_alone() {
    run(async {
        let rig = Rig::new(SimDisk::new(4));
        rig.disk.create_dir_all(&rig.dir).await.unwrap();
        let path = rig.dir.join("producers.snap");
        let file = rig.disk.open(&path, OpenMode::CreateNew).await.unwrap();
        file.write_at(0, vec![Bytes::from_static(b"state")]).await.unwrap();
        rig.open().await.log.close().await.unwrap();
        assert_eq!(rig.contents("producers.snap").await, "state");
    });
}
