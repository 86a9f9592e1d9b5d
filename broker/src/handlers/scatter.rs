//! Asking many partitions, each on the shard that owns it, and gathering answers in request order.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::join_all;
use thalweg_protocol::ErrorCode;
use uuid::Uuid;

use super::error_map::of_partition;
use crate::controller::image::Topic;
use crate::partition::Partition;
use crate::partition::error::PartitionError;
use crate::shard::Shard;
use crate::shard::router::ShardId;

/// A question to one partition.
pub(super) struct Ask<T> {
    pub(super) topic: Uuid,
    pub(super) partition: i32,
    pub(super) question: T,
}

/// The positions and questions that go to each shard.
pub(super) fn by_shard<T>(
    shard: &Shard,
    asks: Vec<Ask<T>>,
) -> BTreeMap<ShardId, Vec<(usize, Ask<T>)>> {
    let mut shards = BTreeMap::<_, Vec<_>>::new();
    for (position, ask) in asks.into_iter().enumerate() {
        let owner = shard.node.router.owner(ask.topic, ask.partition);
        shards.entry(owner).or_default().push((position, ask));
    }
    shards
}

/// The partition a client names, if there is one.
pub(super) fn locate<T>(
    topic: Option<&Arc<Topic>>,
    partition: i32,
    question: T,
) -> Result<Ask<T>, ErrorCode> {
    match topic.filter(|topic| topic.partition(partition).is_some()) {
        Some(topic) => Ok(Ask { topic: topic.id, partition, question }),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

/// Runs `answer` on every partition asked, all at once, and returns the results in the order of
/// the questions. A question that is an error already is its own answer.
pub(super) async fn scatter<T, R, F, Fut>(
    here: &Rc<Shard>,
    questions: Vec<Result<Ask<T>, ErrorCode>>,
    answer: F,
) -> Vec<Result<R, ErrorCode>>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(Rc<Partition>, T) -> Fut + Copy + Send + 'static,
    Fut: Future<Output = Result<R, PartitionError>> + 'static,
{
    let mut results = Vec::with_capacity(questions.len());
    let (mut asks, mut asked) = (Vec::new(), Vec::new());
    for question in questions {
        match question {
            Ok(ask) => {
                asked.push(results.len());
                asks.push(ask);
                // What a shard that is gone leaves behind: the client asks again elsewhere.
                results.push(Err(ErrorCode::NotLeaderOrFollower));
            }
            Err(code) => results.push(Err(code)),
        }
    }
    let crossings = by_shard(here, asks).into_iter().map(|(owner, asks)| async move {
        let work = move |shard: &Rc<Shard>| {
            let shard = Rc::clone(shard);
            async move {
                join_all(asks.into_iter().map(|(position, ask)| {
                    let partition = shard.partition(ask.topic, ask.partition);
                    async move {
                        match partition {
                            Ok(partition) => (position, answer(partition, ask.question).await),
                            Err(error) => (position, Err(error)),
                        }
                    }
                }))
                .await
            }
        };
        here.node.router.run(here, owner, work).await.unwrap_or_default()
    });
    for (position, result) in join_all(crossings).await.into_iter().flatten() {
        if let Some(slot) = asked.get(position).and_then(|at| results.get_mut(*at)) {
            *slot = result.map_err(|error| of_partition(&error));
        }
    }
    results
}
