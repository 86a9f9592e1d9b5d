//! From a position as people write it to an offset in each partition.
//!
//! Shared by everything that is told where to begin, to go on, or to end.

use thalweg_client::admin::Admin;
use thalweg_client::{Isolation, OffsetAt, TopicPartition};

use super::failure::Failure;
use super::position::Position;

/// An offset in each partition, in their order; none where there is no such record.
pub(super) async fn find(
    admin: &Admin,
    partitions: &[TopicPartition],
    at: OffsetAt,
) -> Vec<Result<Option<i64>, Failure>> {
    let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), at)).collect();
    let found = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await.into_iter();
    found.map(|found| Ok(found?.map(|found| found.offset))).collect()
}

/// What `position` means in each partition: always an offset that can be read from, or the end.
pub(super) async fn place(
    admin: &Admin,
    partitions: &[TopicPartition],
    position: Position,
) -> Vec<Result<(TopicPartition, i64), Failure>> {
    let starts = find(admin, partitions, OffsetAt::Earliest).await;
    let ends = find(admin, partitions, OffsetAt::Latest).await;
    let found = match position {
        Position::Time(ms) => find(admin, partitions, OffsetAt::Timestamp(ms)).await,
        _ => partitions.iter().map(|_| Ok(None)).collect(),
    };
    let bounds = starts.into_iter().zip(ends).zip(found);
    let placed = partitions.iter().zip(bounds).map(|(partition, ((start, end), found))| {
        let start = start?.unwrap_or(0);
        let end = end?.unwrap_or(start).max(start);
        let wanted = match position {
            Position::Start => start,
            Position::End => end,
            Position::Offset(offset) => offset,
            Position::Last(count) => end.saturating_sub(count),
            // No record is late enough: whatever comes next is.
            Position::Time(_) => found?.unwrap_or(end),
        };
        Ok((partition.clone(), wanted.clamp(start, end)))
    });
    placed.collect()
}
