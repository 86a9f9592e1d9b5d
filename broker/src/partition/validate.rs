//! What a producer's bytes must be before they may enter the log.
//!
//! Everything is checked before anything changes. Structure and CRC always; the records themselves
//! are walked when they are not compressed, or when the topic asks something of them that only
//! they can answer (a key on a compacted topic, another codec).

use bytes::Bytes;
use thalweg_protocol::batch::{BatchError, BatchView, TimestampType};
use thalweg_protocol::compression::Codec;

use super::error::PartitionError;
use crate::topic_config::{TopicCompression, TopicSettings};

/// The one batch in `records`, checked against the topic's settings and recompressed if they say
/// so.
pub(super) fn batch(
    records: Bytes,
    settings: &TopicSettings,
    now_ms: i64,
) -> Result<BatchView, PartitionError> {
    let size = records.len();
    let max = settings.max_message_bytes;
    if size > max {
        return Err(PartitionError::TooLarge { size, max });
    }
    let (view, rest) = BatchView::split_first(records).map_err(refuse_batch)?;
    if !rest.is_empty() {
        return Err(invalid("a partition takes exactly one record batch per request".to_owned()));
    }
    view.verify_crc().map_err(PartitionError::Corrupt)?;
    view.header().check_produced().map_err(|error| invalid(error.to_string()))?;
    check_header(&view, settings, now_ms)?;
    check_records(&view, settings)?;
    recompressed(view, settings)
}

fn invalid(message: String) -> PartitionError {
    PartitionError::InvalidRecord { message, records: Vec::new() }
}

fn refuse_batch(error: BatchError) -> PartitionError {
    match error {
        BatchError::BadMagic(magic) => invalid(format!(
            "message format {magic} is not supported; send record batches (magic 2)"
        )),
        error => PartitionError::Corrupt(error),
    }
}

fn check_header(
    view: &BatchView,
    settings: &TopicSettings,
    now_ms: i64,
) -> Result<(), PartitionError> {
    let header = view.header();
    let attributes = header.attributes;
    if attributes.is_internal() || attributes.is_control() {
        return Err(invalid("clients may not write control batches".to_owned()));
    }
    if attributes.is_transactional() {
        return Err(PartitionError::Transactional);
    }
    if header.has_producer_id() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(invalid("a producer id needs an epoch and a sequence".to_owned()));
    }
    if settings.timestamp_type == TimestampType::CreateTime {
        if attributes.timestamp_type() == TimestampType::LogAppendTime {
            return Err(PartitionError::InvalidTimestamp(
                "the topic takes the producer's timestamps (message.timestamp.type=CreateTime)"
                    .to_owned(),
            ));
        }
        check_timestamp(header.max_timestamp, settings, now_ms)?;
    }
    Ok(())
}

/// KIP-937: how far a record's own time may be from the broker's.
fn check_timestamp(
    timestamp: i64,
    settings: &TopicSettings,
    now_ms: i64,
) -> Result<(), PartitionError> {
    let early = now_ms.saturating_sub(timestamp) > settings.timestamp_before_max_ms;
    let late = timestamp.saturating_sub(now_ms) > settings.timestamp_after_max_ms;
    if timestamp >= 0 && (early || late) {
        return Err(PartitionError::InvalidTimestamp(format!(
            "timestamp {timestamp} is {} ms {} the broker's clock, more than the topic allows",
            timestamp.abs_diff(now_ms),
            if early { "behind" } else { "ahead of" },
        )));
    }
    Ok(())
}

fn check_records(view: &BatchView, settings: &TopicSettings) -> Result<(), PartitionError> {
    let compressed = view.attributes().codec().map_err(|error| invalid(error.to_string()))?;
    if compressed != Codec::None && !settings.compact {
        return Ok(());
    }
    let mut without_key = Vec::new();
    let scan = view.scan(settings.decompressed_bytes_max(), |index, record| {
        if settings.compact && record.key.is_none() {
            without_key.push((index, "a compacted topic takes no record without a key".to_owned()));
        }
    });
    match scan {
        Err(error) => Err(invalid(error.to_string())),
        Ok(_) if without_key.is_empty() => Ok(()),
        Ok(_) => Err(PartitionError::InvalidRecord {
            message: "one or more records were refused".to_owned(),
            records: without_key,
        }),
    }
}

fn recompressed(view: BatchView, settings: &TopicSettings) -> Result<BatchView, PartitionError> {
    let TopicCompression::Codec { codec, level } = settings.compression else { return Ok(view) };
    if view.attributes().codec() == Ok(codec) {
        return Ok(view);
    }
    let max = settings.decompressed_bytes_max();
    let bytes = view.recompress(codec, level, max).map_err(|error| invalid(error.to_string()))?;
    let (size, max) = (bytes.len(), settings.max_message_bytes);
    if size > max {
        return Err(PartitionError::TooLarge { size, max });
    }
    BatchView::parse(bytes).map_err(PartitionError::Corrupt)
}
