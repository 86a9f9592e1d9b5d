//! How far a group has read, beside how far the partitions reach.

use std::collections::BTreeMap;

use serde::Serialize;
use thalweg_client::admin::Admin;
use thalweg_client::{CommittedOffset, OffsetAt, TopicPartition};

use crate::cli::failure::Failure;
use crate::cli::offsets::find;

/// A partition as a group sees it. What is not known is `None`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PartitionLag {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The offset of the next record to process.
    pub(super) committed: Option<i64>,
    pub(super) end: Option<i64>,
    /// Records between the two.
    pub(super) lag: Option<i64>,
    /// The member that reads it.
    pub(super) member: Option<String>,
    /// What the application noted beside the offset.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) metadata: String,
}

/// Everything a group has committed, and `assigned`: partitions its members read, committed or not.
pub(super) async fn lags(
    admin: &Admin,
    group: &str,
    assigned: &BTreeMap<TopicPartition, String>,
) -> Result<Vec<PartitionLag>, Failure> {
    let mut offsets = committed(admin, group).await?;
    for partition in assigned.keys() {
        offsets.entry(partition.clone()).or_insert(None);
    }
    let partitions: Vec<TopicPartition> = offsets.keys().cloned().collect();
    let ends = find(admin, &partitions, OffsetAt::Latest).await;
    let lags = offsets.into_iter().zip(ends).map(|((partition, committed), end)| {
        let (offset, end) = (committed.as_ref().map(|it| it.offset), end.ok().flatten());
        // An offset above the end is that of a topic that was made anew.
        let lag = offset.zip(end).map(|(offset, end)| (end - offset).max(0));
        PartitionLag {
            committed: offset,
            end,
            lag,
            member: assigned.get(&partition).cloned(),
            metadata: committed.map(|it| it.metadata.to_string()).unwrap_or_default(),
            topic: partition.topic.to_string(),
            partition: partition.partition,
        }
    });
    Ok(lags.collect())
}

/// The offsets that a group has committed anywhere.
pub(super) async fn committed(
    admin: &Admin,
    group: &str,
) -> Result<BTreeMap<TopicPartition, Option<CommittedOffset>>, Failure> {
    let mut offsets = BTreeMap::new();
    for (partition, outcome) in admin.list_group_offsets(group, None).await? {
        offsets.insert(partition, outcome?);
    }
    Ok(offsets)
}
