//! Batches built, read back, cut, flipped, and made by hand to be wrong.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::compression::{Codec, CompressionError, compress};

const CAP: usize = 1 << 20;

/// A record as a test writes it down: timestamp, key, value, headers.
type Written = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn headers_of(record: &Written) -> Vec<Header<'_>> {
    record.3.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect()
}

fn build(records: &[Written], options: &BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(0);
    for record in records {
        let headers = headers_of(record);
        let (timestamp, key, value, _) = record;
        let (key, value) = (key.as_deref(), value.as_deref());
        let grown = builder.size() + builder.record_size(*timestamp, key, value, &headers);
        assert_eq!(builder.append(*timestamp, key, value, &headers), Ok(grown));
        assert_eq!(builder.size(), grown);
    }
    builder.finish(options).unwrap()
}

fn written(record: &Record) -> Written {
    let headers = record.headers().iter();
    let headers = headers.map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)));
    let vec = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| bytes.to_vec());
    (record.timestamp, vec(&record.key), vec(&record.value), headers.collect())
}

fn read(batch: &BatchView) -> Result<Vec<Record>, RecordError> {
    batch.records(CAP)?.collect()
}

fn simple(timestamp: i64, key: &[u8], value: &[u8]) -> Written {
    (timestamp, Some(key.to_vec()), Some(value.to_vec()), vec![])
}

/// Three records with all that a record can have.
fn three_records() -> Vec<Written> {
    vec![
        (1_000, Some(b"key".to_vec()), Some(b"value".to_vec()), vec![]),
        (900, None, Some(vec![]), vec![(b"h".to_vec(), None), (b"h".to_vec(), Some(vec![7; 70]))]),
        (2_000, Some(vec![]), None, vec![(vec![], Some(vec![]))]),
    ]
}

/// A batch of `record_count` records whose body is given byte by byte.
fn handmade(record_count: i32, last_offset_delta: i32, body: &[u8]) -> BatchView {
    let bytes = build(&[simple(10, b"k", b"v")], &BatchOptions::default());
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.record_count = record_count;
    header.last_offset_delta = last_offset_delta;
    let bytes = [&[0; HEADER_LEN][..], body].concat();
    BatchView::parse(builder::seal(header, bytes).unwrap()).unwrap()
}

/// The one fault in a batch that holds the record `content` (after its length).
fn fault_of(content: &[u8]) -> RecordFault {
    let mut body = vec![u8::try_from(content.len() * 2).unwrap()];
    body.extend_from_slice(content);
    let batch = handmade(1, 0, &body);
    let shared = read(&batch).unwrap_err();
    assert_eq!(batch.scan(CAP, |_, _| {}).unwrap_err(), shared);
    match shared {
        RecordError::Malformed { index: 0, fault } => fault,
        other => panic!("unexpected {other:?}"),
    }
}

fn any_bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..len)
}

fn any_record() -> impl Strategy<Value = Written> {
    let headers = prop::collection::vec((any_bytes(9), prop::option::of(any_bytes(80))), 0..4);
    (any::<i64>(), prop::option::of(any_bytes(80)), prop::option::of(any_bytes(300)), headers)
}

proptest! {
    #[test]
    fn records_come_back(
        records in prop::collection::vec(any_record(), 1..20),
        codec in prop::sample::select(&Codec::ALL[..]),
        base_offset in 0_i64..1 << 62,
    ) {
        let options = BatchOptions {
            codec,
            producer_id: 77,
            producer_epoch: 3,
            base_sequence: i32::MAX - 1,
            transactional: true,
            base_offset,
            leader_epoch: 5,
            ..BatchOptions::default()
        };
        let bytes = build(&records, &options);
        let batch = BatchView::parse(bytes.clone()).unwrap();
        prop_assert_eq!(batch.verify_crc(), Ok(()));

        let header = batch.header();
        let count = i64::try_from(records.len()).unwrap();
        prop_assert_eq!(header.size(), bytes.len());
        prop_assert_eq!(header.next_offset(), base_offset + count);
        prop_assert_eq!(header.last_offset(), base_offset + count - 1);
        prop_assert_eq!(header.base_timestamp, records[0].0);
        prop_assert_eq!(header.max_timestamp, records.iter().map(|r| r.0).max().unwrap());
        prop_assert_eq!((header.producer_id, header.producer_epoch), (77, 3));
        prop_assert!(header.has_producer_id() && batch.attributes().is_transactional());
        prop_assert_eq!(batch.attributes().codec(), Ok(codec));
        prop_assert_eq!(&header.write()[..], &bytes[..HEADER_LEN]);

        let back = read(&batch).unwrap();
        let offsets: Vec<_> = back.iter().map(|record| record.offset).collect();
        prop_assert_eq!(offsets, (base_offset..base_offset + count).collect::<Vec<_>>());
        prop_assert_eq!(back.iter().map(written).collect::<Vec<_>>(), records);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(mut bytes in any_bytes(200), plausible: bool) {
        if plausible && bytes.len() >= HEADER_LEN {
            let length = u32::try_from(bytes.len() - LENGTH_OVERHEAD).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = MAGIC;
            bytes[0] &= 0x7f;
            bytes[23..26].fill(0);
            bytes[57..60].fill(0);
            bytes[60] = bytes[60].min(bytes[26]);
            bytes[22] &= !7;
        }
        for batch in Batches::new(bytes.into()).flatten() {
            let _ = batch.verify_crc();
            let _ = read(&batch);
            let _ = batch.scan(CAP, |_, record| assert!(record.headers.iter().count() <= 200));
        }
    }
}

#[test]
fn null_and_empty_stay_apart() {
    let records = three_records();
    let batch = BatchView::parse(build(&records, &BatchOptions::default())).unwrap();
    let back = read(&batch).unwrap();
    assert_eq!(back[1].key, None);
    assert_eq!(back[2].key, Some(Bytes::new()));
    assert_eq!(back[1].value, Some(Bytes::new()));
    assert_eq!(back[2].value, None);
    assert_eq!(back[1].headers().get(b"h").unwrap().value, Some(&[7; 70][..]), "the last counts");
    assert_eq!(back[1].headers().get(b"other"), None);
    assert!(back[0].headers().is_empty());
}

#[test]
fn uncompressed_keys_and_values_are_not_copied() {
    let batch = BatchView::parse(build(&three_records(), &BatchOptions::default())).unwrap();
    let value = read(&batch).unwrap()[0].value.clone().unwrap();
    assert!(batch.bytes().as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn a_cut_batch_is_too_short_at_every_byte() {
    let whole = build(&three_records(), &BatchOptions::default());
    for len in 0..whole.len() {
        let needed = if len < HEADER_LEN { HEADER_LEN } else { whole.len() };
        let error = BatchError::TooShort { needed, available: len };
        assert_eq!(BatchView::parse(whole.slice(..len)), Err(error));
    }
    let longer = Bytes::from([&whole[..], b"x"].concat());
    assert_eq!(BatchView::parse(longer), Err(BatchError::TrailingBytes(1)));
}

#[test]
fn a_cut_body_is_an_error_at_every_byte_even_if_the_checksum_is_right() {
    for codec in Codec::ALL {
        let options = BatchOptions { codec, ..BatchOptions::default() };
        let whole = build(&three_records(), &options);
        let header = BatchHeader::parse(&whole).unwrap();
        for len in HEADER_LEN..whole.len() {
            let cut = builder::seal(header, whole[..len].to_vec()).unwrap();
            let cut = BatchView::parse(cut).unwrap();
            assert_eq!(cut.verify_crc(), Ok(()));
            assert!(read(&cut).is_err(), "{codec} cut at {len}");
            assert!(cut.scan(CAP, |_, _| {}).is_err(), "{codec} cut at {len}");
        }
    }
}

#[test]
fn a_flip_is_noticed_at_every_bit_from_the_magic_on() {
    for codec in Codec::ALL {
        let options = BatchOptions { codec, ..BatchOptions::default() };
        let whole = build(&three_records(), &options);
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[position] ^= 1 << bit;
                let batch = BatchView::parse(damaged.into());
                let accepted = batch.as_ref().is_ok_and(|batch| batch.verify_crc().is_ok());
                // The base offset and the leader epoch are nobody's to check but the log's.
                let unprotected = position < 8 || (12..16).contains(&position);
                assert_eq!(accepted, unprotected && batch.is_ok(), "bit {bit} of byte {position}");
                if let Ok(batch) = batch {
                    // Read in spite of the checksum: any result will do, as long as it is one.
                    let _ = read(&batch);
                    let _ = batch.scan(CAP, |_, _| {});
                }
            }
        }
    }
}

#[test]
fn zeroes_are_no_batch() {
    assert_eq!(BatchHeader::parse(&[0; 200]), Err(BatchError::BadMagic(0)));
}

#[test]
fn old_formats_are_named_even_if_shorter_than_our_header() {
    let mut message = vec![0; 26];
    message[16] = 1;
    assert_eq!(BatchView::parse(message.into()), Err(BatchError::BadMagic(1)));
}

#[test]
fn contradictory_headers_are_refused() {
    let good = BatchHeader::parse(&build(&three_records(), &BatchOptions::default())).unwrap();
    let parse = |header: BatchHeader| BatchHeader::parse(&header.write());
    assert_eq!(parse(good), Ok(good));
    for batch_length in [48, 0, -1, i32::MIN] {
        let header = BatchHeader { batch_length, ..good };
        assert_eq!(parse(header), Err(BatchError::LengthOutOfRange(batch_length)));
    }
    for (record_count, last_offset_delta) in [(4, 2), (-1, 2), (0, -1), (1, i32::MIN)] {
        let header = BatchHeader { record_count, last_offset_delta, ..good };
        let error = BatchError::InconsistentCounts { record_count, last_offset_delta };
        assert_eq!(parse(header), Err(error));
    }
    for base_offset in [-1, i64::MIN, i64::MAX - 2] {
        let header = BatchHeader { base_offset, ..good };
        assert_eq!(parse(header), Err(BatchError::OffsetOutOfRange { base_offset }));
    }
    // As compaction leaves them: fewer records than offsets, down to none.
    assert!(parse(BatchHeader { record_count: 0, ..good }).is_ok());
    let last = BatchHeader { base_offset: i64::MAX - 3, ..good };
    assert_eq!(parse(last).unwrap().next_offset(), i64::MAX);
}

#[test]
fn producers_may_not_send_all_that_a_log_may_hold() {
    let good = BatchHeader::parse(&build(&three_records(), &BatchOptions::default())).unwrap();
    assert_eq!(good.check_produced(), Ok(()));
    for (record_count, last_offset_delta) in [(0, 0), (2, 2), (3, 3)] {
        let header = BatchHeader { record_count, last_offset_delta, ..good };
        let error = BatchError::InconsistentCounts { record_count, last_offset_delta };
        assert_eq!(header.check_produced(), Err(error));
    }
    for attributes in [good.attributes.with_control(true), good.attributes.with_internal(true)] {
        let header = BatchHeader { attributes, ..good };
        assert_eq!(header.check_produced(), Err(BatchError::ReservedForBrokers));
    }
    let header = BatchHeader { producer_id: 5, ..good };
    assert_eq!(header.check_produced(), Err(BatchError::BadSequence(-1)));
    let header = BatchHeader { base_sequence: 0, ..header };
    assert_eq!(header.check_produced(), Ok(()));
}

#[test]
fn internal_entries_own_no_offset() {
    let mut header =
        BatchHeader::parse(&build(&three_records(), &BatchOptions::default())).unwrap();
    header.base_offset = 40;
    assert_eq!((header.offset_count(), header.next_offset()), (3, 43));
    header.attributes = header.attributes.with_internal(true);
    assert_eq!((header.offset_count(), header.next_offset()), (0, 40));
}

#[test]
fn sequence_numbers_go_back_to_zero_after_the_largest() {
    let mut header =
        BatchHeader::parse(&build(&three_records(), &BatchOptions::default())).unwrap();
    assert_eq!(header.last_sequence(), -1);
    header.base_sequence = 10;
    assert_eq!(header.last_sequence(), 12);
    header.base_sequence = i32::MAX - 1;
    assert_eq!(header.last_sequence(), 0);
}

#[test]
fn a_blob_is_walked_up_to_the_batch_that_was_cut_off() {
    let batches: Vec<_> = (0..3_u8)
        .map(|n| build(&[simple(i64::from(n), b"k", &[n; 30])], &BatchOptions::default()))
        .collect();
    let blob = Bytes::from(batches.concat());
    let size = batches[0].len();
    for len in 0..=blob.len() {
        let mut walk = Batches::new(blob.slice(..len));
        let found: Vec<_> = walk.by_ref().map(|batch| batch.unwrap().into_bytes()).collect();
        assert_eq!(found, batches[..len / size]);
        assert_eq!(walk.rest().len(), len % size);
        assert!(walk.next().is_none());
    }
}

#[test]
fn damage_within_a_blob_ends_the_walk_with_an_error() {
    let batch = build(&[simple(1, b"k", b"v")], &BatchOptions::default());
    let mut blob = batch.repeat(3);
    blob[batch.len() + 16] = 9;
    let mut walk = Batches::new(blob.into());
    assert!(walk.next().unwrap().is_ok());
    assert_eq!(walk.next(), Some(Err(BatchError::BadMagic(9))));
    assert_eq!(walk.next(), None);
}

#[test]
fn every_fault_of_a_record_is_named() {
    // Attributes, timestamp delta, offset delta, null key, null value, no headers.
    let good = [0, 0, 0, 1, 1, 0];
    assert_eq!(read(&handmade(1, 0, &[&[12], &good[..]].concat())).unwrap().len(), 1);

    assert_eq!(fault_of(&[]), RecordFault::Truncated);
    assert_eq!(fault_of(&good[..5]), RecordFault::Truncated);
    assert_eq!(fault_of(&[0, 0, 0, 1, 1, 0, 0, 0]), RecordFault::TrailingBytes(2));
    assert_eq!(fault_of(&[0, 0, 0, 3, 1, 0]), RecordFault::BadLength(-2));
    assert_eq!(fault_of(&[0, 0, 0, 8, 1, 0]), RecordFault::Truncated);
    assert_eq!(fault_of(&[0, 0, 2, 1, 1, 0]), RecordFault::BadOffsetDelta(1));
    assert_eq!(fault_of(&[0, 0, 1, 1, 1, 0]), RecordFault::BadOffsetDelta(-1));
    assert_eq!(fault_of(&[0, 0, 0, 1, 1, 1]), RecordFault::BadHeaderCount(-1));
    assert_eq!(fault_of(&[0, 0, 0, 1, 1, 4, 0, 0]), RecordFault::BadHeaderCount(2));
    let many = [0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(fault_of(&many), RecordFault::BadHeaderCount(i32::MAX));
    // A header's key cannot be null.
    assert_eq!(fault_of(&[0, 0, 0, 1, 1, 2, 1, 1]), RecordFault::BadLength(-1));
    let beyond_i32 = [0, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1, 0];
    assert_eq!(fault_of(&beyond_i32), RecordFault::BadVarint);
    // The length of the record itself.
    let negative = read(&handmade(1, 0, &[1])).unwrap_err();
    let fault = RecordFault::BadLength(-1);
    assert_eq!(negative, RecordError::Malformed { index: 0, fault });
}

#[test]
fn the_record_count_must_be_met_exactly() {
    let body = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(read(&handmade(0, 0, &body)).unwrap_err(), RecordError::TrailingBytes(7));
    let fault = RecordFault::Truncated;
    let error = read(&handmade(2, 1, &body)).unwrap_err();
    assert_eq!(error, RecordError::Malformed { index: 1, fault });
    assert_eq!(read(&handmade(0, 0, &[])).unwrap(), []);
}

#[test]
fn a_walk_ends_after_its_first_error() {
    let mut walk = handmade(2, 1, &[12, 0, 0, 0, 1, 1, 0]).records(CAP).unwrap();
    assert!(walk.next().unwrap().is_ok());
    assert!(walk.next().unwrap().is_err());
    assert!(walk.next().is_none());
}

#[test]
fn offsets_may_have_holes_for_readers_but_not_from_producers() {
    let body = [12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 8, 1, 1, 0];
    let compacted = handmade(2, 5, &body);
    let offsets: Vec<_> = read(&compacted).unwrap().iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [1, 4]);
    let fault = RecordFault::BadOffsetDelta(1);
    let error = compacted.scan(CAP, |_, _| {}).unwrap_err();
    assert_eq!(error, RecordError::Malformed { index: 0, fault });
    // The same offset twice is wrong for everybody.
    let twice = [12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0];
    let error = read(&handmade(2, 5, &twice)).unwrap_err();
    assert_eq!(error, RecordError::Malformed { index: 1, fault });
}

#[test]
fn a_scan_shows_every_record_and_finds_the_latest() {
    let mut records = three_records();
    records.push(simple(2_000, b"k", b"v"));
    for codec in Codec::ALL {
        let options = BatchOptions { codec, base_offset: 50, ..BatchOptions::default() };
        let batch = BatchView::parse(build(&records, &options)).unwrap();
        let mut without_key = Vec::new();
        let scan = batch
            .scan(CAP, |index, record| {
                if record.key.is_none() {
                    without_key.push(index);
                }
            })
            .unwrap();
        assert_eq!(without_key, [1]);
        assert_eq!((scan.max_timestamp, scan.offset_of_max_timestamp), (2_000, 52));
        assert_eq!(scan.body_len, batch.decompress(CAP).unwrap().len());
    }
}

#[test]
fn records_of_a_stamped_batch_have_the_time_of_the_stamp() {
    let original = BatchView::parse(build(&three_records(), &BatchOptions::default())).unwrap();
    let patch = HeaderPatch { base_offset: 7, leader_epoch: 2, log_append_time_ms: Some(5_555) };
    let header = patch.apply(original.header());
    let stamped = [&header.write()[..], &original.body()].concat();
    let stamped = BatchView::parse(stamped.into()).unwrap();
    assert_eq!(stamped.verify_crc(), Ok(()));
    let times: Vec<_> = read(&stamped).unwrap().iter().map(|r| (r.offset, r.timestamp)).collect();
    assert_eq!(times, [(7, 5_555), (8, 5_555), (9, 5_555)]);
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    for codec in Codec::ALL {
        let options = BatchOptions { codec, ..BatchOptions::default() };
        let batch = build(&[simple(1, b"", &vec![0; 100_000])], &options);
        let batch = BatchView::parse(batch).unwrap();
        let error = RecordError::Compression(CompressionError::TooLarge { cap: 100_000 });
        assert_eq!(batch.records(100_000).unwrap_err(), error, "{codec}");
        assert_eq!(batch.records(100_100).unwrap().count(), 1, "{codec}");
    }
}

#[test]
fn an_unknown_codec_is_an_error() {
    let bytes = build(&three_records(), &BatchOptions::default());
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.attributes = Attributes::from_bits(6);
    let batch = BatchView::parse(builder::seal(header, bytes.to_vec()).unwrap()).unwrap();
    assert!(matches!(batch.records(CAP), Err(RecordError::UnknownCodec(_))));
}

#[test]
fn recompression_changes_nothing_but_the_codec() {
    let options =
        BatchOptions { producer_id: 4, producer_epoch: 0, base_sequence: 9, ..Default::default() };
    let original = BatchView::parse(build(&three_records(), &options)).unwrap();
    for from in Codec::ALL {
        let batch = original.recompress(from, None, CAP).unwrap();
        let batch = BatchView::parse(batch).unwrap();
        assert_eq!(batch.verify_crc(), Ok(()));
        assert_eq!(batch.attributes().codec(), Ok(from));
        assert_eq!(read(&batch).unwrap(), read(&original).unwrap());
        assert_eq!(batch.header().base_sequence, 9);
        let back = batch.recompress(Codec::None, None, CAP).unwrap();
        assert_eq!(&back, original.bytes());
    }
}

#[test]
fn compaction_keeps_offsets_and_drops_records() {
    for codec in Codec::ALL {
        let options = BatchOptions { codec, base_offset: 20, ..Default::default() };
        let original = BatchView::parse(build(&three_records(), &options)).unwrap();
        let kept = original.retain(None, CAP, |record| record.offset == 21).unwrap();
        let kept = BatchView::parse(kept).unwrap();
        assert_eq!(kept.verify_crc(), Ok(()));
        assert_eq!(read(&kept).unwrap(), read(&original).unwrap()[1..2]);
        assert_eq!(kept.header().next_offset(), 23);
        assert_eq!(kept.header().max_timestamp, 900);

        let empty = original.retain(None, CAP, |_| false).unwrap();
        let empty = BatchView::parse(empty).unwrap();
        assert_eq!(empty.header().size(), HEADER_LEN);
        assert_eq!(empty.header().next_offset(), 23);
        assert_eq!(read(&empty).unwrap(), []);
    }
}

#[test]
fn a_batch_for_a_marker_reads_back_as_one() {
    let marker = EndTxnMarker { result: TransactionResult::Abort, coordinator_epoch: 3 };
    let mut builder = BatchBuilder::with_capacity(100);
    builder.append(5, Some(&marker.key()), Some(&marker.value()), &[]).unwrap();
    let options = BatchOptions {
        producer_id: 1,
        producer_epoch: 0,
        transactional: true,
        control: true,
        ..Default::default()
    };
    let batch = BatchView::parse(builder.finish(&options).unwrap()).unwrap();
    assert!(batch.attributes().is_control());
    let record = read(&batch).unwrap().remove(0);
    assert_eq!(EndTxnMarker::parse(record.key.as_deref(), record.value.as_deref()), Ok(marker));
}

#[test]
fn a_bomb_in_a_batch_stops_at_the_limit() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut bytes = vec![0; HEADER_LEN];
        compress(codec, None, &vec![0; 32 << 20], &mut bytes).unwrap();
        let mut header = *handmade(1, 0, &[]).header();
        header.attributes = header.attributes.with_codec(codec);
        let batch = BatchView::parse(builder::seal(header, bytes).unwrap()).unwrap();
        let error = RecordError::Compression(CompressionError::TooLarge { cap: CAP });
        assert_eq!(batch.scan(CAP, |_, _| {}).unwrap_err(), error, "{codec}");
    }
}
