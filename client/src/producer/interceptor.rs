//! Interceptors: seeing and changing each record before it is written, and learning what became of
//! it. Without any, a record costs one look at an empty list.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use thalweg_protocol::batch::Header;

use super::delivery::RecordMetadata;
use super::error::ProduceError;
use crate::hook::{self, HookError};
use crate::record::Record;

/// Sees each record of a producer on its way out, and what becomes of it. All methods do nothing
/// unless written.
///
/// A hook that fails or panics is logged and passed over: the record is sent as it was before.
///
/// ```
/// use thalweg_client::HookError;
/// use thalweg_client::producer::{Interceptor, OutgoingRecord};
///
/// #[derive(Debug)]
/// struct Stamp(String);
///
/// impl Interceptor for Stamp {
///     fn on_send(&self, record: &mut OutgoingRecord<'_>) -> Result<(), HookError> {
///         record.add_header("written-by", self.0.clone());
///         Ok(())
///     }
/// }
/// ```
pub trait Interceptor: Debug + Send + Sync + 'static {
    /// A record is about to be enqueued: before its partition is chosen, in the caller's task. What
    /// is changed here is what is written. With several interceptors, each sees what those before
    /// it have made of the record.
    fn on_send(&self, record: &mut OutgoingRecord<'_>) -> Result<(), HookError> {
        let _ = record;
        Ok(())
    }

    /// A record has been acknowledged, or has failed for good: once for each that `on_send` has
    /// seen, before whoever awaits it learns of it. A record whose caller gave up before it was
    /// enqueued is not sent, and not told of.
    ///
    /// It is called on the producer's own task, as a rule, which must not be blocked.
    fn on_acknowledgement(&self, topic: &str, outcome: Result<&RecordMetadata, &ProduceError>) {
        let _ = (topic, outcome);
    }
}

/// A record on its way out. Its parts are borrowed from the caller until they are replaced.
#[derive(Debug, Clone)]
pub struct OutgoingRecord<'a> {
    /// The topic.
    pub topic: Cow<'a, str>,
    /// The partition, if the caller has chosen it.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, if the caller has said so.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Cow<'a, [u8]>>,
    /// The value; none makes it a tombstone.
    pub value: Option<Cow<'a, [u8]>>,
    /// The headers, in order.
    pub headers: Vec<OutgoingHeader<'a>>,
}

/// The name of a header, and its value if that is not null.
pub type OutgoingHeader<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

impl<'a> OutgoingRecord<'a> {
    /// Adds a header behind those that there are.
    pub fn add_header(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        let name = name.into().into_bytes();
        self.headers.push((Cow::Owned(name), Some(Cow::Owned(value.into()))));
    }

    fn of(record: &'a Record<'_>) -> Self {
        let header = |header: &Header<'a>| (header.key.into(), header.value.map(Cow::from));
        OutgoingRecord {
            topic: record.topic.into(),
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(Cow::from),
            value: record.value.map(Cow::from),
            headers: record.headers.iter().map(header).collect(),
        }
    }

    /// The record as it is to be enqueued.
    pub(super) fn as_record(&self) -> Record<'_> {
        let headers = self.headers.iter();
        let headers = headers.map(|(key, value)| Header { key, value: value.as_deref() });
        Record {
            topic: &self.topic,
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: headers.collect(),
        }
    }
}

/// The interceptors of a producer, in the order in which they were set.
#[derive(Debug, Clone)]
pub(super) struct Interceptors(Vec<Arc<dyn Interceptor>>);

impl Interceptors {
    pub(super) const fn none() -> Self {
        Interceptors(Vec::new())
    }

    pub(super) fn add(&mut self, interceptor: impl Interceptor) {
        self.0.push(Arc::new(interceptor));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The record as the interceptors want it. One that fails has changed nothing.
    pub(super) fn on_send<'a>(&self, record: &'a Record<'_>) -> OutgoingRecord<'a> {
        let mut outgoing = OutgoingRecord::of(record);
        for interceptor in &self.0 {
            let mut changed = outgoing.clone();
            if hook::call("on_send", interceptor, || interceptor.on_send(&mut changed)) {
                outgoing = changed;
            }
        }
        outgoing
    }

    pub(super) fn on_acknowledgement(
        &self,
        topic: &str,
        outcome: Result<&RecordMetadata, &ProduceError>,
    ) {
        for interceptor in &self.0 {
            hook::call("on_acknowledgement", interceptor, || {
                interceptor.on_acknowledgement(topic, outcome);
                Ok(())
            });
        }
    }
}
