//! Where records go: the topics that this producer writes to, with their partitions.
//!
//! Every record passes here, so the usual case is one look into a map. A route is as good as the
//! metadata it was made from; when that has changed, the route is made anew before it is used.

use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use super::accumulator::Accumulator;
use super::builder::Settings;
use super::partitioner::Choice;
use crate::backoff::Jitter;
use crate::cluster::Topic;
use crate::record::Record;

#[derive(Debug, Default)]
pub(super) struct Routes {
    topics: RwLock<HashMap<Arc<str>, Route>>,
}

/// A topic and its partitions.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) topic: Arc<Topic>,
    /// The version of the cluster's metadata that it was made from.
    version: u64,
    choice: Choice,
    /// By partition; at least one for each that `topic` has.
    accumulators: Vec<Arc<Accumulator>>,
}

impl Routes {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, HashMap<Arc<str>, Route>> {
        self.topics.read().expect(UNPOISONED)
    }

    /// Makes the route to `topic` anew. `accumulator` makes those that there are not yet.
    pub(super) fn learn(
        &self,
        topic: Arc<Topic>,
        version: u64,
        accumulator: impl Fn(&Arc<str>, i32) -> Arc<Accumulator>,
    ) {
        let mut topics = self.topics.write().expect(UNPOISONED);
        let route = topics.entry(topic.name.clone()).or_insert_with(|| Route {
            topic: topic.clone(),
            version,
            choice: Choice::default(),
            accumulators: Vec::new(),
        });
        for partition in route.accumulators.len()..topic.partitions.len() {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            route.accumulators.push(accumulator(&topic.name, partition));
        }
        route.topic = topic;
        route.version = version;
    }
}

const UNPOISONED: &str = "no one panics while holding this lock";

impl Route {
    pub(super) fn is_of(&self, version: u64) -> bool {
        self.version == version
    }

    pub(super) fn partition_count(&self) -> i32 {
        i32::try_from(self.topic.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The partition that a record goes to.
    pub(super) fn partition(
        &self,
        record: &Record<'_>,
        settings: &Settings,
        jitter: &Jitter,
    ) -> i32 {
        if let Some(partition) = record.partition {
            return partition;
        }
        let has_leader = |partition: i32| {
            let partition = usize::try_from(partition).ok();
            let partition = partition.and_then(|at| self.topic.partitions.get(at));
            partition.is_some_and(|partition| partition.leader.is_some())
        };
        let (count, batch_bytes) = (self.partition_count().max(1), settings.batch_bytes);
        let rule = &settings.partitioner;
        self.choice.partition(rule, record, count, batch_bytes, has_leader, jitter)
    }

    /// Where the records of a partition are gathered, if the topic has it.
    pub(super) fn accumulator(&self, partition: i32) -> Option<&Arc<Accumulator>> {
        let at = usize::try_from(partition).ok().filter(|at| *at < self.topic.partitions.len())?;
        self.accumulators.get(at)
    }
}
