//! Being told what a rebalance brings and takes.
//!
//! Callbacks run inside the consumer's own calls for records, one at a time, after everything that
//! was given before has been processed. So what they commit is exactly what has been read.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::GroupHandle;
use crate::observer::ObservedChange;
use crate::topic_partition::TopicPartition;

/// Is told of the partitions that a consumer gets and loses. All methods do nothing unless written.
///
/// A callback may take its time (heartbeats go on), but while it does no records are given, and the
/// whole group may be waiting for it.
pub trait RebalanceListener: Send + 'static {
    /// The consumer has got these partitions. Nothing of them has been read yet; where to begin can
    /// still be changed.
    fn on_assigned(
        &mut self,
        group: &GroupHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        let _ = (group, partitions);
        async {}
    }

    /// The consumer gives these partitions up. They are still its own, so committing works; if it
    /// commits by itself, it has just done so.
    fn on_revoked(
        &mut self,
        group: &GroupHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        let _ = (group, partitions);
        async {}
    }

    /// The consumer was away for too long: these partitions may be somebody else's already, and
    /// committing does not work. Some records will be given to them, or to this one, again.
    fn on_lost(
        &mut self,
        group: &GroupHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        let _ = (group, partitions);
        async {}
    }
}

/// What a listener is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Assigned,
    Revoked,
    Lost,
}

impl Change {
    pub(super) fn observed(self) -> ObservedChange {
        match self {
            Change::Assigned => ObservedChange::Assigned,
            Change::Revoked => ObservedChange::Revoked,
            Change::Lost => ObservedChange::Lost,
        }
    }
}

/// A listener of any type, lent to its own callback and given back by it: so a callback outlives
/// the call for records that began it, should that be cancelled.
pub(super) trait AnyListener: Send {
    fn tell(
        self: Box<Self>,
        change: Change,
        group: GroupHandle,
        partitions: Arc<[TopicPartition]>,
    ) -> BoxFuture<'static, Box<dyn AnyListener>>;
}

impl<L: RebalanceListener> AnyListener for L {
    fn tell(
        mut self: Box<Self>,
        change: Change,
        group: GroupHandle,
        partitions: Arc<[TopicPartition]>,
    ) -> BoxFuture<'static, Box<dyn AnyListener>> {
        Box::pin(async move {
            match change {
                Change::Assigned => self.on_assigned(&group, &partitions).await,
                Change::Revoked => self.on_revoked(&group, &partitions).await,
                Change::Lost => self.on_lost(&group, &partitions).await,
            }
            self as Box<dyn AnyListener>
        })
    }
}
