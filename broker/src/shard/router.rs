//! Crossing from one shard to another.
//!
//! A partition is touched by its own shard only. Work for a partition elsewhere travels as a
//! closure with `Bytes` and small structs over a bounded channel, and its answer comes back by a
//! oneshot. The closure itself runs in the order of sending; what it returns may wait.

use std::future::Future;
use std::rc::Rc;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Shard;

/// Which shard of this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ShardId(pub(crate) u16);

/// Work for another shard.
pub(crate) type Job = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// Requests that may wait in front of one shard before the senders have to.
const JOBS_WAITING_MAX: usize = 1024;

/// The shard has stopped; the broker is going down.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the broker is shutting down")]
pub(crate) struct ShardGone;

/// The way to every shard of this broker.
pub(crate) struct Router {
    jobs: Vec<mpsc::Sender<Job>>,
}

impl Router {
    /// A router to `shards` shards, and the receiving end of each.
    pub(crate) fn new(shards: u16) -> (Router, Vec<mpsc::Receiver<Job>>) {
        let (jobs, receivers) =
            (0..shards).map(|_| mpsc::channel(JOBS_WAITING_MAX)).unzip::<_, _, Vec<_>, Vec<_>>();
        (Router { jobs }, receivers)
    }

    /// Every shard, the first one leading the controller.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..u16::try_from(self.jobs.len()).unwrap_or(u16::MAX)).map(ShardId)
    }

    /// The shard that owns a partition: the same for the same number of shards, for ever.
    pub(crate) fn owner(&self, topic: Uuid, partition: i32) -> ShardId {
        let (high, low) = topic.as_u64_pair();
        // The finalizer of splitmix64 spreads ids that differ in few bits.
        let mut mixed = high ^ low.rotate_left(32) ^ u64::from(partition.cast_unsigned());
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let shards = u64::try_from(self.jobs.len()).unwrap_or(1).max(1);
        ShardId(u16::try_from(mixed % shards).unwrap_or(0))
    }

    /// Runs `work` on shard `to` and returns, once it is certain to run before any later work sent
    /// from here, the future of its result.
    pub(crate) async fn start<F, Fut, R>(
        &self,
        here: &Rc<Shard>,
        to: ShardId,
        work: F,
    ) -> Result<Crossing<Fut, R>, ShardGone>
    where
        F: FnOnce(&Rc<Shard>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
        R: Send + 'static,
    {
        if to == here.id {
            return Ok(Crossing::Here(Box::pin(work(here))));
        }
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |shard| {
            let result = work(shard);
            tokio::task::spawn_local(async move {
                // A receiver that went away no longer cares.
                let _ = answer.send(result.await);
            });
        });
        let jobs = self.jobs.get(usize::from(to.0)).ok_or(ShardGone)?;
        jobs.send(job).await.map_err(|_| ShardGone)?;
        Ok(Crossing::There(answered))
    }

    /// Runs `work` on shard `to` and waits for its result.
    pub(crate) async fn run<F, Fut, R>(
        &self,
        here: &Rc<Shard>,
        to: ShardId,
        work: F,
    ) -> Result<R, ShardGone>
    where
        F: FnOnce(&Rc<Shard>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
        R: Send + 'static,
    {
        self.start(here, to, work).await?.result().await
    }

    /// Sends work from a task that belongs to no shard.
    pub(crate) async fn tell(&self, to: ShardId, job: Job) -> Result<(), ShardGone> {
        let jobs = self.jobs.get(usize::from(to.0)).ok_or(ShardGone)?;
        jobs.send(job).await.map_err(|_| ShardGone)
    }

    /// Sends work from a thread that is no shard.
    pub(crate) fn tell_blocking(&self, to: ShardId, job: Job) -> Result<(), ShardGone> {
        let jobs = self.jobs.get(usize::from(to.0)).ok_or(ShardGone)?;
        jobs.blocking_send(job).map_err(|_| ShardGone)
    }
}

/// Work that has been accepted by its shard.
pub(crate) enum Crossing<Fut, R> {
    /// The shard was the caller's own: nothing crossed.
    Here(std::pin::Pin<Box<Fut>>),
    /// The answer comes from another thread.
    There(oneshot::Receiver<R>),
}

impl<Fut: Future<Output = R>, R> Crossing<Fut, R> {
    /// Waits for the result.
    pub(crate) async fn result(self) -> Result<R, ShardGone> {
        match self {
            Crossing::Here(work) => Ok(work.await),
            Crossing::There(answered) => answered.await.map_err(|_| ShardGone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_spread_over_shards_and_stay() {
        let (router, _receivers) = Router::new(4);
        let mut counts = [0_u32; 4];
        for topic in 0..50 {
            for partition in 0..20 {
                let topic = Uuid::from_u128(topic);
                let owner = router.owner(topic, partition);
                assert_eq!(owner, router.owner(topic, partition));
                counts[usize::from(owner.0)] += 1;
            }
        }
        assert!(counts.iter().all(|count| (150..350).contains(count)), "uneven: {counts:?}");
    }
}
