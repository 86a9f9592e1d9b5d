//! What partitions take on the brokers' disks.

use std::sync::Arc;

use thalweg_protocol::messages::DescribeLogDirsRequest;
use thalweg_protocol::messages::describe_log_dirs::DescribeLogDirsResult;
use thalweg_protocol::{ErrorCode, NodeId};

use super::{Admin, AdminError, ItemError};
use crate::cluster::Target;
use crate::topic_partition::TopicPartition;

/// A data directory of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    /// Its path on the broker.
    pub path: Arc<str>,
    /// What is wrong with it, if anything.
    pub error: Option<ErrorCode>,
    /// The size of its volume in bytes, if the broker tells (KIP-827).
    pub total_bytes: Option<i64>,
    /// What is free on its volume in bytes, if the broker tells.
    pub usable_bytes: Option<i64>,
    /// The replicas in it.
    pub replicas: Vec<LogDirReplica>,
}

/// A replica in a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirReplica {
    /// The partition.
    pub partition: TopicPartition,
    /// What it takes.
    pub bytes: i64,
    /// How many offsets it is behind the high watermark.
    pub offset_lag: i64,
    /// Whether it is only moving in.
    pub is_future: bool,
}

impl Admin {
    /// The data directories of one broker, with all replicas in them.
    pub async fn describe_log_dirs(&self, broker: NodeId) -> Result<Vec<LogDir>, AdminError> {
        let build =
            |_| DescribeLogDirsRequest { topics: None, ..DescribeLogDirsRequest::default() };
        let response = self.call(Target::Broker(broker), build).await?;
        ItemError::check("log directories", response.error_code, None)?;
        Ok(response.results.into_iter().map(log_dir).collect())
    }
}

fn log_dir(result: DescribeLogDirsResult) -> LogDir {
    let mut replicas = Vec::new();
    for topic in result.topics {
        let name: Arc<str> = topic.name.as_str().into();
        replicas.extend(topic.partitions.into_iter().map(|partition| LogDirReplica {
            partition: TopicPartition::new(name.clone(), partition.partition_index),
            bytes: partition.partition_size,
            offset_lag: partition.offset_lag,
            is_future: partition.is_future_key,
        }));
    }
    let known = |bytes: i64| (bytes >= 0).then_some(bytes);
    LogDir {
        path: result.log_dir.as_str().into(),
        error: Some(ErrorCode::from(result.error_code)).filter(|error| !error.is_none()),
        total_bytes: known(result.total_bytes),
        usable_bytes: known(result.usable_bytes),
        replicas,
    }
}
