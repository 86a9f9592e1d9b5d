//! `thalweg topic describe`: what a topic is, gathered from everybody who knows a part of it.
//!
//! Metadata gives leaders and replicas, ListOffsets both ends, DescribeLogDirs the size on disk and
//! DescribeConfigs the settings. A part that cannot be had is a dash, not a failure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use thalweg_client::admin::{Admin, Config, ConfigResource, ConfigSource, TopicDescription};
use thalweg_client::{Isolation, OffsetAt, TopicPartition};

use crate::cli::failure::{Failure, settle};
use crate::cli::output::{Printer, or_dash, size_or_dash, table};

#[derive(Serialize)]
struct DescribedTopic {
    topic: String,
    id: Option<String>,
    internal: bool,
    partitions: Vec<DescribedPartition>,
    /// Those that differ from the defaults.
    configs: BTreeMap<String, Option<String>>,
}

#[derive(Serialize)]
struct DescribedPartition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
    /// On the leader's disk.
    bytes: Option<i64>,
    error: Option<String>,
}

pub(super) async fn run(
    admin: &Admin,
    names: &[String],
    printer: &mut Printer,
) -> Result<(), Failure> {
    let (found, outcome) = settle(admin.describe_topics(names).await?);
    let sizes = sizes(admin, &found).await;
    let mut described = Vec::new();
    for topic in found {
        let configs = configs(admin, &topic.name).await;
        let partitions = partitions(admin, &topic, &sizes).await;
        described.push(DescribedTopic {
            topic: topic.name.to_string(),
            id: topic.id.map(|id| id.to_string()),
            internal: topic.is_internal,
            partitions,
            configs,
        });
    }
    if !described.is_empty() {
        printer.print(&described, |topics| {
            topics.iter().map(for_people).collect::<Vec<_>>().join("\n")
        })?;
    }
    outcome
}

/// The size of each partition on its leader's disk.
async fn sizes(admin: &Admin, topics: &[TopicDescription]) -> BTreeMap<(TopicPartition, i32), i64> {
    let leaders = topics.iter().flat_map(|topic| &topic.partitions).filter_map(|it| it.leader);
    let mut sizes = BTreeMap::new();
    for broker in leaders.collect::<BTreeSet<_>>() {
        let dirs = admin.describe_log_dirs(broker).await.unwrap_or_default();
        for replica in dirs.into_iter().flat_map(|dir| dir.replicas) {
            sizes.insert((replica.partition, broker.0), replica.bytes);
        }
    }
    sizes
}

async fn configs(admin: &Admin, topic: &str) -> BTreeMap<String, Option<String>> {
    let answer = admin.describe_configs(&[ConfigResource::topic(topic)]).await;
    let configs = answer.unwrap_or_default().into_iter().flatten().flatten();
    configs
        .filter(is_set)
        .map(|config| (config.name.to_string(), config.value.map(|value| value.to_string())))
        .collect()
}

/// Whether somebody set it, here or for all topics.
pub(in crate::cli) fn is_set(config: &Config) -> bool {
    config.source != ConfigSource::Default
}

async fn partitions(
    admin: &Admin,
    topic: &TopicDescription,
    sizes: &BTreeMap<(TopicPartition, i32), i64>,
) -> Vec<DescribedPartition> {
    let ends = async |at| {
        let wanted: Vec<_> = topic
            .partitions
            .iter()
            .map(|partition| (TopicPartition::new(topic.name.clone(), partition.index), at))
            .collect();
        let found = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await;
        found.into_iter().map(|found| found.ok().flatten().map(|found| found.offset))
    };
    let starts = ends(OffsetAt::Earliest).await;
    let ends = ends(OffsetAt::Latest).await;
    topic
        .partitions
        .iter()
        .zip(starts.zip(ends))
        .map(|(partition, (start_offset, end_offset))| {
            let name = TopicPartition::new(topic.name.clone(), partition.index);
            let leader = partition.leader.map(|leader| leader.0);
            let size = leader.and_then(|leader| sizes.get(&(name, leader)).copied());
            DescribedPartition {
                partition: partition.index,
                leader,
                leader_epoch: partition.leader_epoch,
                replicas: partition.replicas.iter().map(|node| node.0).collect(),
                in_sync: partition.in_sync.iter().map(|node| node.0).collect(),
                start_offset,
                end_offset,
                bytes: size,
                error: partition.error.map(|error| error.to_string()),
            }
        })
        .collect()
}

fn for_people(topic: &DescribedTopic) -> String {
    let count = topic.partitions.len();
    let plural = if count == 1 { "" } else { "s" };
    let mut text = format!("{}: {count} partition{plural}", topic.topic);
    if let Some(id) = &topic.id {
        text += &format!(", id {id}");
    }
    if topic.internal {
        text += ", internal";
    }
    text += "\n";
    for (name, value) in &topic.configs {
        text += &format!("  {name} = {}\n", or_dash(value.as_ref()));
    }
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let header =
        [">PARTITION", ">LEADER", ">EPOCH", "REPLICAS", "IN SYNC", ">START", ">END", ">SIZE"];
    let row = |partition: &DescribedPartition| {
        [
            partition.partition.to_string(),
            or_dash(partition.leader),
            or_dash(partition.leader_epoch),
            ids(&partition.replicas),
            ids(&partition.in_sync),
            or_dash(partition.start_offset),
            or_dash(partition.end_offset),
            size_or_dash(partition.bytes),
        ]
    };
    text += &table(header, topic.partitions.iter().map(row));
    for partition in topic.partitions.iter().filter(|partition| partition.error.is_some()) {
        let error = or_dash(partition.error.as_ref());
        text += &format!("partition {}: {error}\n", partition.partition);
    }
    text
}
