//! Verifying and dumping the files of a log without opening it.

use std::sync::Arc;

use thalweg_storage::disk::{DiskStats, StdDisk};
use thalweg_storage::offline::{FrameKind, dump, verify};

use crate::harness::*;

/// A closed log on a real disk: an internal entry, then thirty batches.
async fn sample(dir: &std::path::Path) -> (Rig, Model) {
    let mut rig = Rig::new(thalweg_storage::disk::sim::SimDisk::new(0));
    rig.disk = std::rc::Rc::new(StdDisk::new(1, Arc::new(DiskStats::default())).unwrap());
    rig.dir = dir.to_path_buf();
    let OpenRig { log, .. } = rig.open().await;
    let mut feed = Feed::of(&log, 1);
    let mut entries = vec![feed.internal(b"leader")];
    entries.extend((0..30).map(|n| feed.batch(&[n], 300)));
    let model = Model { entries: entries.clone(), ..Model::default() };
    log.append(entries).unwrap();
    log.close().await.unwrap();
    (rig, model)
}

#[test]
fn a_sound_log_is_described_frame_by_frame() {
    run_in_real_time(async {
        let dir = tempfile::tempdir().unwrap();
        let (rig, model) = sample(dir.path()).await;
        let before = snapshot(&rig).await;
        let report = verify(dir.path()).unwrap();
        assert_eq!(report.damaged, []);
        let last = report.segments.last().unwrap();
        assert_eq!((last.indexes.end, last.offsets.end, last.sealed), (32, 30, false));
        assert!(report.segments.iter().all(|segment| segment.ledger_intact));
        assert_eq!(report.segments.iter().map(|segment| segment.bytes_torn).sum::<u64>(), 0);

        let mut batches = Vec::new();
        for segment in &report.segments {
            for frame in dump(&segment.path).unwrap() {
                match frame.unwrap().kind {
                    FrameKind::Batch(header) => batches.push(header),
                    FrameKind::Internal { index, term, .. } => assert_eq!((index, term), (1, 1)),
                    FrameKind::FlushMark { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        let expected: Vec<_> = model.batches().map(|batch| *batch.header()).collect();
        assert_eq!(batches, expected);
        assert_eq!(snapshot(&rig).await, before, "nothing was changed");
    });
}

#[test]
fn damage_is_located_and_left_alone() {
    run_in_real_time(async {
        let dir = tempfile::tempdir().unwrap();
        let (rig, _) = sample(dir.path()).await;
        let segments = verify(dir.path()).unwrap().segments;
        let path = &segments[1].path;
        let mut bytes = std::fs::read(path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(path, &bytes).unwrap();
        std::fs::remove_file(segments[2].path.with_extension("idx")).unwrap();
        let before = snapshot(&rig).await;

        let report = verify(dir.path()).unwrap();
        let [damaged] = &report.damaged[..] else { panic!("{:?}", report.damaged) };
        assert_eq!(damaged.path, *path);
        assert_eq!(damaged.positions.start, 0);
        assert_eq!(damaged.offsets, segments[1].offsets.start..segments[1].offsets.start + 1);
        let intact: Vec<_> = report.segments.iter().map(|segment| segment.ledger_intact).collect();
        assert_eq!(intact[..4], [true, false, false, true], "what they say is not what is there");
        let first = dump(path).unwrap().next().unwrap().unwrap();
        assert!(matches!(first.kind, FrameKind::Invalid(_)), "{first:?}");

        std::fs::remove_file(&segments[3].path).unwrap();
        std::fs::remove_file(segments[3].path.with_extension("idx")).unwrap();
        let report = verify(dir.path()).unwrap();
        assert_eq!(report.damaged.last().unwrap().offsets, segments[3].offsets);
        assert_eq!(snapshot(&rig).await.len(), before.len() - 2);
        // The broker finds the same, and serves the rest.
        let OpenRig { log, .. } = rig.open().await;
        let after = segments[1].offsets.start + 1;
        let fetched = log.read(after, 1, 30, true).await.unwrap();
        assert_eq!(fetched.next_offset, after + 1);
        log.close().await.unwrap();
    });
}
