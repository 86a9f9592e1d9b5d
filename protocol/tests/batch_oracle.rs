//! Batches exchanged with `kafka-protocol`, which is an independent implementation of the format
//! and brings the reference C libraries for LZ4 and Zstandard.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, Record as TheirRecord, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};
use proptest::prelude::*;
use thalweg_protocol::{
    batch::{BatchBuilder, BatchOptions, BatchView, Header, Record},
    compression::Codec,
};

const BODY_BYTES_MAX: usize = 1 << 24;

fn their_codec(codec: Codec) -> Compression {
    match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    }
}

fn optional_bytes(len: usize) -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..len).prop_map(Bytes::from))
}

/// Records of one idempotent producer. Timestamps ascend because they take the least as the base.
fn any_records() -> impl Strategy<Value = Vec<TheirRecord>> {
    let headers = prop::collection::vec(("[a-z]{1,9}", optional_bytes(40)), 0..4);
    let record = (0_i64..1 << 40, optional_bytes(80), optional_bytes(3000), headers);
    prop::collection::vec(record, 1..30).prop_map(|drawn| {
        let mut timestamp = 1_700_000_000_000;
        let records = drawn.into_iter().zip(0..).map(|((gap, key, value, headers), index)| {
            timestamp += gap;
            TheirRecord {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: 3,
                producer_id: 9,
                producer_epoch: 1,
                timestamp_type: TimestampType::Creation,
                offset: i64::from(index) + 1000,
                sequence: index + 50,
                timestamp,
                key,
                value,
                headers: headers.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            }
        });
        records.collect()
    })
}

fn encode_theirs(records: &[TheirRecord], codec: Codec) -> Bytes {
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: their_codec(codec) };
    RecordBatchEncoder::encode(&mut bytes, records, &options).unwrap();
    bytes.freeze()
}

fn encode_ours(records: &[TheirRecord], codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(4096);
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| Header { key: key.as_bytes(), value: value.as_deref() })
            .collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.append(record.timestamp, key, value, &headers).unwrap();
    }
    let first = &records[0];
    let options = BatchOptions {
        codec,
        producer_id: first.producer_id,
        producer_epoch: first.producer_epoch,
        base_sequence: first.sequence,
        base_offset: first.offset,
        leader_epoch: first.partition_leader_epoch,
        ..BatchOptions::default()
    };
    builder.finish(&options).unwrap()
}

fn assert_same(ours: &Record, theirs: &TheirRecord) {
    assert_eq!(ours.offset, theirs.offset);
    assert_eq!(ours.timestamp, theirs.timestamp);
    assert_eq!(ours.key, theirs.key);
    assert_eq!(ours.value, theirs.value);
    let headers: Vec<_> = theirs
        .headers
        .iter()
        .map(|(key, value)| Header { key: key.as_bytes(), value: value.as_deref() })
        .collect();
    assert_eq!(ours.headers().iter().collect::<Vec<_>>(), headers);
}

proptest! {
    #[test]
    fn we_read_what_they_write(records in any_records()) {
        for codec in Codec::ALL {
            let batch = BatchView::parse(encode_theirs(&records, codec)).unwrap();
            prop_assert_eq!(batch.verify_crc(), Ok(()));
            let header = batch.header();
            prop_assert_eq!(header.partition_leader_epoch, 3);
            prop_assert_eq!((header.producer_id, header.producer_epoch), (9, 1));
            prop_assert_eq!(header.base_sequence, 50);
            let back = batch.records(BODY_BYTES_MAX).unwrap();
            let back: Vec<_> = back.collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(back.len(), records.len());
            for (ours, theirs) in back.iter().zip(&records) {
                assert_same(ours, theirs);
            }
        }
    }

    #[test]
    fn they_read_what_we_write(records in any_records()) {
        for codec in Codec::ALL {
            let mut bytes = encode_ours(&records, codec);
            let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
            prop_assert_eq!(set.compression, their_codec(codec));
            prop_assert_eq!(&set.records, &records);
        }
    }

    #[test]
    fn uncompressed_batches_are_the_same_bytes(records in any_records()) {
        prop_assert_eq!(encode_ours(&records, Codec::None), encode_theirs(&records, Codec::None));
    }
}
