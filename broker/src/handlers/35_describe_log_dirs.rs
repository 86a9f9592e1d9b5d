//! DescribeLogDirs (key 35), versions 1–5: this broker's one data directory, its space, and the
//! sizes of the partitions asked for (null means all).

use std::collections::BTreeMap;
use std::rc::Rc;

use thalweg_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::server::connection::Connection;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let node = &connection.shard.node;
    let mut topics = BTreeMap::<String, Vec<DescribeLogDirsPartition>>::new();
    for shard in node.router.shards() {
        let sizes = node.router.run(&connection.shard, shard, |shard| {
            let partitions = shard.open_partitions().into_iter();
            let sizes = partitions.map(|p| (p.name.clone(), p.id.partition, p.size_bytes()));
            std::future::ready(sizes.collect::<Vec<_>>())
        });
        for (topic, partition_index, size) in sizes.await.unwrap_or_default() {
            let asked = request.topics.as_ref().is_none_or(|asked| {
                asked.iter().any(|asked| {
                    *asked.topic == *topic && asked.partitions.contains(&partition_index)
                })
            });
            if asked {
                topics.entry(topic).or_default().push(DescribeLogDirsPartition {
                    partition_index,
                    partition_size: i64::try_from(size).unwrap_or(i64::MAX),
                    ..DescribeLogDirsPartition::default()
                });
            }
        }
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic { name: name.into(), partitions, ..DescribeLogDirsTopic::default() }
    });
    let space = node.space.space();
    let result = DescribeLogDirsResult {
        log_dir: node.data_dir.display().to_string().into(),
        topics: topics.collect(),
        total_bytes: i64::try_from(space.total).unwrap_or(i64::MAX),
        usable_bytes: i64::try_from(space.available).unwrap_or(i64::MAX),
        ..DescribeLogDirsResult::default()
    };
    DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() }
}
