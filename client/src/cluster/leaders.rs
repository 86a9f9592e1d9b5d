//! Asking about many partitions: each one's leader is asked, those of the same leader in one
//! request, and whoever was the wrong one to ask is corrected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use thalweg_protocol::{ErrorCode, Request};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::{Cluster, TopicFault};
use crate::address::BrokerAddress;
use crate::error::RequestError;
use crate::topic_partition::TopicPartition;

/// A question about a partition got no useful answer.
#[derive(Debug, Clone, Error)]
#[error("{partition}{at}: {fault}", at = at(.broker))]
pub struct PartitionError {
    /// The partition.
    pub partition: TopicPartition,
    /// The broker asked last, if any was.
    pub broker: Option<BrokerAddress>,
    /// What went wrong.
    #[source]
    pub fault: PartitionFault,
}

/// Why a question about a partition got no useful answer.
#[derive(Debug, Clone, Error)]
pub enum PartitionFault {
    /// The topic's partitions could not be found out.
    #[error("{0}")]
    Topic(#[source] Box<TopicFault>),
    /// The topic has fewer partitions.
    #[error("there is no such partition: the topic has {partition_count}")]
    NoSuchPartition {
        /// How many partitions it has.
        partition_count: usize,
    },
    /// The partition has no leader, or none that the cluster knows.
    #[error("it has no leader now; its replicas may be down")]
    NoLeader,
    /// Its leader did not answer.
    #[error("{0}")]
    Unanswered(#[source] Arc<RequestError>),
    /// Its leader answered with an error.
    #[error("refused with {0}")]
    Refused(ErrorCode),
    /// Its leader's answer did not mention it.
    #[error("the broker's answer left the partition out")]
    LeftOut,
}

fn at(broker: &Option<BrokerAddress>) -> String {
    broker.as_ref().map(|broker| format!(", {broker}")).unwrap_or_default()
}

impl PartitionError {
    /// Whether another attempt may succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match &self.fault {
            PartitionFault::Topic(fault) => fault.is_retriable(),
            PartitionFault::NoSuchPartition { .. } => false,
            PartitionFault::NoLeader | PartitionFault::LeftOut => true,
            PartitionFault::Unanswered(error) => error.is_retriable(),
            PartitionFault::Refused(error) => error.is_retriable(),
        }
    }

    /// Whether the cluster knows of no such topic.
    pub(crate) fn is_unknown_topic(&self) -> bool {
        let unknown = ErrorCode::UnknownTopicOrPartition;
        match &self.fault {
            PartitionFault::Topic(fault) => {
                matches!(**fault, TopicFault::Refused(error) if error == unknown)
            }
            PartitionFault::Refused(error) => *error == unknown,
            _ => false,
        }
    }
}

/// What is said of each of the partitions asked about, by their places in the question.
type Outcomes<T> = Vec<Option<Result<T, PartitionError>>>;

/// A partition's answer, as a response has it.
pub(crate) type PartitionOutcome<T> = (TopicPartition, Result<T, ErrorCode>);

impl Cluster {
    /// Asks the leaders of `partitions`, with the request that `build` makes for those of one
    /// leader, until each has answered or the operation timeout is over. `read` takes the responses
    /// apart.
    ///
    /// Cancel-safe, in that nothing is left behind.
    pub(crate) async fn ask_leaders<R: Request, T>(
        self: &Arc<Self>,
        partitions: &[TopicPartition],
        build: impl Fn(&[&TopicPartition]) -> R,
        read: impl Fn(R::Response) -> Vec<PartitionOutcome<T>>,
    ) -> Vec<Result<T, PartitionError>> {
        let deadline = Instant::now() + self.options.operation_timeout;
        let mut outcomes: Outcomes<T> = partitions.iter().map(|_| None).collect();
        let mut failures = 0;
        loop {
            let open: Vec<usize> = open(&outcomes);
            self.round(partitions, &open, &build, &read, &mut outcomes, deadline).await;
            failures += 1;
            let delay = self.options.retry_backoff.delay(failures, &self.jitter);
            let is_done = outcomes.iter().all(|outcome| !is_retriable(outcome));
            if is_done || Instant::now() + delay >= deadline {
                break;
            }
            sleep(delay).await;
            // If nobody can say who leads now, the next round will tell.
            let _ = self.refresh().await;
        }
        let left_out =
            partitions.iter().map(|partition| failed(partition, None, PartitionFault::LeftOut));
        outcomes
            .into_iter()
            .zip(left_out)
            .map(|(outcome, none)| outcome.unwrap_or(Err(none)))
            .collect()
    }

    async fn round<R: Request, T>(
        self: &Arc<Self>,
        partitions: &[TopicPartition],
        open: &[usize],
        build: &impl Fn(&[&TopicPartition]) -> R,
        read: &impl Fn(R::Response) -> Vec<PartitionOutcome<T>>,
        outcomes: &mut Outcomes<T>,
        deadline: Instant,
    ) {
        let by_leader = self.by_leader(partitions, open, outcomes, deadline).await;
        let asked = by_leader.into_values().map(async |(broker, places)| {
            let subset: Vec<&TopicPartition> =
                places.iter().filter_map(|place| partitions.get(*place)).collect();
            let answer = self.ask_one(&broker, &build(&subset)).await;
            (broker, places, answer)
        });
        for (broker, places, answer) in join_all(asked).await {
            match answer {
                Ok(response) => {
                    let mut answers: BTreeMap<_, _> = read(response).into_iter().collect();
                    for place in places {
                        let partition = &partitions[place];
                        let fault = match answers.remove(partition) {
                            Some(Ok(answer)) => {
                                outcomes[place] = Some(Ok(answer));
                                continue;
                            }
                            Some(Err(error)) => PartitionFault::Refused(error),
                            None => PartitionFault::LeftOut,
                        };
                        let error = failed(partition, Some(broker.clone()), fault);
                        outcomes[place] = Some(Err(error));
                    }
                }
                Err(error) => {
                    let error = Arc::new(error);
                    for place in places {
                        let fault = PartitionFault::Unanswered(error.clone());
                        let broker = Some(broker.clone());
                        outcomes[place] = Some(Err(failed(&partitions[place], broker, fault)));
                    }
                }
            }
        }
    }

    async fn ask_one<R: Request>(
        &self,
        broker: &BrokerAddress,
        request: &R,
    ) -> Result<R::Response, RequestError> {
        let connection = self.connection::<R>(broker).await?;
        let version = connection.version_of::<R>()?;
        connection.call(request, version, self.options.request_timeout).await
    }

    /// The places of the open partitions, by the broker that leads them. Those that none leads get
    /// their outcome here.
    async fn by_leader<T>(
        self: &Arc<Self>,
        partitions: &[TopicPartition],
        open: &[usize],
        outcomes: &mut Outcomes<T>,
        deadline: Instant,
    ) -> BTreeMap<i32, (BrokerAddress, Vec<usize>)> {
        let topics: BTreeSet<&Arc<str>> =
            open.iter().map(|place| &partitions[*place].topic).collect();
        let mut unknown = BTreeMap::new();
        for topic in topics {
            if let Err(error) = self.topic(topic, false, deadline).await {
                unknown.insert(topic.clone(), error.fault);
            }
        }
        let metadata = self.metadata();
        let mut by_leader: BTreeMap<i32, (BrokerAddress, Vec<usize>)> = BTreeMap::new();
        for &place in open {
            let partition = &partitions[place];
            let known = metadata.topic(&partition.topic);
            let partition_count = known.map_or(0, |topic| topic.partitions.len());
            let index = usize::try_from(partition.partition).unwrap_or(usize::MAX);
            let leader = metadata.leader(&partition.topic, partition.partition);
            let fault = match (unknown.get(&partition.topic), leader) {
                (Some(fault), _) => PartitionFault::Topic(Box::new(fault.clone())),
                (None, _) if index >= partition_count => {
                    PartitionFault::NoSuchPartition { partition_count }
                }
                (None, None) => PartitionFault::NoLeader,
                (None, Some(leader)) => {
                    let group = by_leader.entry(leader.id.get());
                    let group = group.or_insert_with(|| (leader.address.clone(), Vec::new()));
                    group.1.push(place);
                    continue;
                }
            };
            outcomes[place] = Some(Err(failed(partition, None, fault)));
        }
        by_leader
    }
}

fn failed(
    partition: &TopicPartition,
    broker: Option<BrokerAddress>,
    fault: PartitionFault,
) -> PartitionError {
    PartitionError { partition: partition.clone(), broker, fault }
}

fn is_retriable<T>(outcome: &Option<Result<T, PartitionError>>) -> bool {
    match outcome {
        None => true,
        // The wait for an unknown topic is over when that comes.
        Some(Err(PartitionError { fault: PartitionFault::Topic(_), .. })) | Some(Ok(_)) => false,
        Some(Err(error)) => error.is_retriable(),
    }
}

fn open<T>(outcomes: &Outcomes<T>) -> Vec<usize> {
    let open = outcomes.iter().enumerate().filter(|(_, outcome)| is_retriable(outcome));
    open.map(|(place, _)| place).collect()
}
