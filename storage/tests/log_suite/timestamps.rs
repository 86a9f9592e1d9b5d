//! Records by time, against the obvious answer.

use proptest::prelude::*;
use thalweg_storage::TimestampOffset;
use thalweg_storage::disk::sim::SimDisk;

use crate::harness::*;

fn by_hand(records: &[(i64, i64)], timestamp: i64, upper: i64) -> Option<i64> {
    // A consumer may see nothing from `upper` on, but the search goes by the first match of all.
    let found = records.iter().find(|(at, _)| *at >= timestamp);
    found.map(|(_, offset)| *offset).filter(|offset| *offset < upper)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_first_record_at_or_after_a_time(
        batches in prop::collection::vec(prop::collection::vec(0_i64..50, 1..4), 1..40),
        log_start in 0_i64..60,
        written: bool,
        upper_share in 0_i64..=100,
    ) {
        run(async {
            let rig = Rig::new(SimDisk::new(1)).without_tail_cache();
            let OpenRig { log, .. } = rig.open().await;
            let mut feed = Feed::of(&log, 1);
            let mut entries = vec![feed.internal(b"")];
            entries.extend(batches.iter().map(|timestamps| feed.batch(timestamps, 60)));
            let mut model = Model { entries: entries.clone(), ..Model::default() };
            log.append(entries).unwrap();
            if written {
                log.flush().await.unwrap();
                log.applied_to(log.last_index());
            }
            log.advance_log_start(log_start).await.unwrap();
            model.log_start_offset = log.log_start_offset();
            let upper = log.next_offset() * upper_share / 100;
            let records = model.records();
            for timestamp in -1..51 {
                let found = log.offset_for_timestamp(timestamp, upper).await.unwrap();
                let expected = by_hand(&records, timestamp, upper);
                assert_eq!(found.map(|found| found.offset), expected, "timestamp {timestamp}");
            }
            // Up to the end, where batches and records agree on what is below.
            let max = records.iter().map(|(at, _)| *at).max();
            let expected = max.map(|max| *records.iter().find(|(at, _)| *at == max).unwrap());
            let expected = expected
                .map(|(timestamp, offset)| TimestampOffset { timestamp, offset, leader_epoch: 1 });
            let found = log.max_timestamp_offset(log.next_offset()).await.unwrap();
            assert_eq!(found, expected);
        });
    }
}
