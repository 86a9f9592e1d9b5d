//! Interceptors: seeing what a consumer gives to the application, and what it commits. Without any,
//! a record costs one look at an empty list.

use std::fmt::Debug;
use std::sync::Arc;

use super::record::{ConsumerRecord, RecordBatch};
use crate::committed_offset::CommittedOffset;
use crate::hook::{self, HookError};
use crate::topic_partition::TopicPartition;

/// Sees what a consumer reads and commits. All methods do nothing unless written.
///
/// A hook that fails or panics is logged and passed over: the application is given its records all
/// the same.
pub trait Interceptor: Debug + Send + Sync + 'static {
    /// The application is just being given this, in its own call for more.
    fn on_consume(&self, consumed: Consumed<'_>) -> Result<(), HookError> {
        let _ = consumed;
        Ok(())
    }

    /// These offsets have been committed, all of them. Called on whichever task committed, which
    /// may be the consumer's own, and must not be blocked.
    fn on_commit(
        &self,
        group: &str,
        offsets: &[(TopicPartition, CommittedOffset)],
    ) -> Result<(), HookError> {
        let _ = (group, offsets);
        Ok(())
    }
}

/// What an application is given: one record or a whole batch, whichever it asked for.
#[derive(Debug, Clone, Copy)]
pub enum Consumed<'a> {
    /// From `next` or the stream.
    Record(&'a ConsumerRecord),
    /// From `next_batch`. Its records are decompressed once, even if they are looked at here.
    Batch(&'a RecordBatch),
}

/// The interceptors of a consumer, in the order in which they were set.
#[derive(Debug, Clone, Default)]
pub(super) struct Interceptors(Vec<Arc<dyn Interceptor>>);

impl Interceptors {
    pub(super) fn add(&mut self, interceptor: impl Interceptor) {
        self.0.push(Arc::new(interceptor));
    }

    pub(super) fn on_consume(&self, consumed: Consumed<'_>) {
        for interceptor in &self.0 {
            hook::call("on_consume", interceptor, || interceptor.on_consume(consumed));
        }
    }

    pub(super) fn on_commit(&self, group: &str, offsets: &[(TopicPartition, CommittedOffset)]) {
        for interceptor in &self.0 {
            hook::call("on_commit", interceptor, || interceptor.on_commit(group, offsets));
        }
    }
}
