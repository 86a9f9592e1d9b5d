//! Record batches as producers and other brokers send them, and as a damaged disk returns them.
//!
//! The input is one blob of batches. The ways to read a batch must agree with each other, a
//! rewritten batch must hold the same records, and a patch must neither mend nor break a checksum.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use thalweg_protocol::batch::{
    BatchView, Batches, EndTxnMarker, HEADER_LEN, HeaderPatch, Record, RecordError, RecordRefs,
    RewriteError,
};
use thalweg_protocol::compression::{Codec, CompressionError};

/// Bytes a body may have after decompression.
const BODY_BYTES_MAX: usize = 1 << 18;

fuzz_target!(|input: &[u8]| {
    let blob = Bytes::copy_from_slice(input);
    let mut walked = 0;
    for batch in Batches::new(blob.clone()) {
        let Ok(batch) = batch else { return };
        let end = walked + batch.bytes().len();
        assert_eq!(batch.bytes(), &blob.slice(walked..end), "batches lie back to back");
        walked = end;
        examine(&batch);
    }
});

fn examine(batch: &BatchView) {
    let header = batch.header();
    assert_eq!(header.write(), batch.bytes()[..HEADER_LEN], "a header is written as it was read");
    patch(batch);
    let read = read(batch);
    let scan = batch.scan(BODY_BYTES_MAX, |_, _| {});
    if let Ok(scan) = scan {
        let records = read.as_ref().expect("what a scan approves of can be read");
        assert_eq!(records.len(), usize::try_from(header.record_count).expect("not negative"));
        let newest = records.iter().map(|record| record.timestamp).fold(-1, i64::max);
        assert_eq!(scan.max_timestamp, newest);
    }
    if let Ok(records) = read {
        rewrite(batch, &records);
    }
}

/// Reads the records in both ways there are.
fn read(batch: &BatchView) -> Result<Vec<Record>, RecordError> {
    let shared: Result<Vec<Record>, _> = batch.records(BODY_BYTES_MAX)?.collect();
    let body = batch.decompress(BODY_BYTES_MAX)?;
    assert!(body.len() <= BODY_BYTES_MAX, "{} bytes in spite of the cap", body.len());
    let borrowed: Result<Vec<_>, _> = RecordRefs::new(batch.header(), &body).collect();
    match (&shared, &borrowed) {
        (Ok(shared), Ok(borrowed)) => {
            assert_eq!(shared.len(), borrowed.len());
            for (shared, borrowed) in shared.iter().zip(borrowed) {
                assert_eq!(shared.offset, borrowed.offset);
                assert_eq!(shared.timestamp, borrowed.timestamp);
                assert_eq!(shared.key.as_deref(), borrowed.key);
                assert_eq!(shared.value.as_deref(), borrowed.value);
                assert!(shared.headers().iter().eq(borrowed.headers.iter()));
                let _ = EndTxnMarker::parse(borrowed.key, borrowed.value);
            }
        }
        _ => assert_eq!(shared.as_ref().err(), borrowed.as_ref().err()),
    }
    shared
}

fn rewrite(batch: &BatchView, records: &[Record]) {
    let Ok(codec) = batch.attributes().codec() else { return };
    let kept = batch.retain(None, BODY_BYTES_MAX, |_| true).expect("readable");
    let kept = BatchView::parse(kept).expect("one whole batch");
    assert_eq!(kept.verify_crc(), Ok(()));
    assert_eq!(read(&kept).expect("just written"), records);
    assert_eq!(kept.header().next_offset(), batch.header().next_offset());

    let other = if codec == Codec::Lz4 { Codec::None } else { Codec::Lz4 };
    let other = batch.recompress(other, None, BODY_BYTES_MAX).expect("readable");
    let other = BatchView::parse(other).expect("one whole batch");
    assert_eq!(other.verify_crc(), Ok(()));
    assert_eq!(read(&other).expect("just written"), records);

    let emptied = batch.retain(None, BODY_BYTES_MAX, |_| false).expect("readable");
    let emptied = BatchView::parse(emptied).expect("one whole batch");
    assert_eq!(emptied.header().next_offset(), batch.header().next_offset());
    assert_eq!(read(&emptied), Ok(Vec::new()));
    let too_small = batch.decompress(BODY_BYTES_MAX).map_or(0, |body| body.len()).checked_sub(1);
    if let Some(cap) = too_small {
        let refused = RewriteError::Read(CompressionError::TooLarge { cap }.into());
        assert_eq!(batch.recompress(codec, None, cap), Err(refused));
    }
}

fn patch(batch: &BatchView) {
    let patch = HeaderPatch { base_offset: 1 << 40, leader_epoch: 7, log_append_time_ms: Some(5) };
    let patched = [&patch.apply(batch.header()).write()[..], &batch.body()].concat();
    let patched = BatchView::parse(patched.into()).expect("still consistent");
    assert_eq!(patched.verify_crc().is_ok(), batch.verify_crc().is_ok());
    assert_eq!(patched.header().base_offset, 1 << 40);
}
