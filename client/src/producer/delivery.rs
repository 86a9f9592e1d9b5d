//! The promise of an acknowledgement: one for a whole batch, shared by the futures of its records.
//!
//! So a record costs a count of references and a few words, and no allocation of its own.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::error::ProduceError;
use super::interceptor::Interceptors;

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The partition.
    pub partition: i32,
    /// The offset, unless the broker did not say it: with [`Acks::None`](super::Acks), or when a
    /// repeated batch is so old that the broker no longer knows where it wrote it.
    pub offset: Option<i64>,
    /// The record's timestamp in milliseconds since 1970: its own, or the broker's where the topic
    /// has `message.timestamp.type=LogAppendTime`.
    pub timestamp: i64,
}

/// What an acknowledgement says of a whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) base_offset: Option<i64>,
    pub(super) log_append_time: Option<i64>,
}

/// The outcome of a batch, once there is one.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Waiting(Waiting),
    Done(Result<Receipt, ProduceError>),
}

#[derive(Debug, Default)]
struct Waiting {
    /// The tasks that wait, each at the place its future remembers.
    wakers: Vec<Option<Waker>>,
    /// The records that interceptors are to be told of; none without interceptors.
    intercepted: Vec<Place>,
}

/// A record of a batch.
#[derive(Debug, Clone, Copy)]
struct Place {
    index: i32,
    timestamp: i64,
}

impl Completion {
    pub(super) fn new(topic: Arc<str>, partition: i32) -> Self {
        Completion { topic, partition, state: Mutex::new(State::Waiting(Waiting::default())) }
    }

    /// Tells the interceptors, sets the outcome and wakes everybody. Only the first outcome counts.
    pub(super) fn complete(
        &self,
        outcome: Result<Receipt, ProduceError>,
        interceptors: &Interceptors,
    ) {
        let wakers = loop {
            let intercepted = {
                let mut state = self.lock();
                let State::Waiting(waiting) = &mut *state else { return };
                if waiting.intercepted.is_empty() {
                    let wakers = std::mem::take(&mut waiting.wakers);
                    *state = State::Done(outcome);
                    break wakers;
                }
                std::mem::take(&mut waiting.intercepted)
            };
            intercepted.into_iter().for_each(|place| self.tell(place, &outcome, interceptors));
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn tell(
        &self,
        place: Place,
        outcome: &Result<Receipt, ProduceError>,
        interceptors: &Interceptors,
    ) {
        let metadata = outcome.as_ref().map(|receipt| self.metadata(place, *receipt));
        interceptors.on_acknowledgement(&self.topic, metadata.as_ref().map_err(|error| *error));
    }

    fn metadata(&self, place: Place, receipt: Receipt) -> RecordMetadata {
        RecordMetadata {
            partition: self.partition,
            offset: receipt.base_offset.map(|base| base + i64::from(place.index)),
            timestamp: receipt.log_append_time.unwrap_or(place.timestamp),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding this lock")
    }
}

/// The acknowledgement of one enqueued record, to be awaited or dropped: the record is sent either
/// way.
#[derive(Debug)]
#[must_use = "without awaiting it nobody learns whether the record was written"]
pub struct Delivery {
    completion: Arc<Completion>,
    place: Place,
    /// Where its waker is.
    waits_at: Option<usize>,
}

impl Delivery {
    pub(super) fn new(completion: Arc<Completion>, index: i32, timestamp: i64) -> Self {
        Delivery { completion, place: Place { index, timestamp }, waits_at: None }
    }

    /// The partition that the record goes to.
    pub fn partition(&self) -> i32 {
        self.completion.partition
    }

    /// Has the interceptors told of this record, when its outcome is known.
    pub(super) fn tell(&self, interceptors: &Interceptors) {
        let outcome = match &mut *self.completion.lock() {
            State::Waiting(waiting) => return waiting.intercepted.push(self.place),
            State::Done(outcome) => outcome.clone(),
        };
        self.completion.tell(self.place, &outcome, interceptors);
    }
}

/// Cancel-safe: dropping it takes nothing back, and it can be polled again later.
impl Future for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let delivery = self.get_mut();
        let completion = delivery.completion.clone();
        let mut state = completion.lock();
        match &mut *state {
            State::Done(Ok(receipt)) => {
                Poll::Ready(Ok(completion.metadata(delivery.place, *receipt)))
            }
            State::Done(Err(error)) => Poll::Ready(Err(error.clone())),
            State::Waiting(waiting) => {
                let waker = context.waker();
                let wakers = &mut waiting.wakers;
                match delivery.waits_at.and_then(|at| wakers.get_mut(at)) {
                    Some(Some(known)) => known.clone_from(waker),
                    Some(empty) => *empty = Some(waker.clone()),
                    None => {
                        delivery.waits_at = Some(wakers.len());
                        wakers.push(Some(waker.clone()));
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(at) = self.waits_at else { return };
        if let State::Waiting(waiting) = &mut *self.completion.lock()
            && let Some(waker) = waiting.wakers.get_mut(at)
        {
            *waker = None;
        }
    }
}

/// Waits for a batch without caring how it ends.
pub(super) async fn settled(completion: Arc<Completion>) {
    let _ = Delivery::new(completion, 0, 0).await;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::producer::error::ProduceFault;

    const NOBODY: &Interceptors = &Interceptors::none();

    #[tokio::test]
    async fn every_record_of_a_batch_learns_its_own_offset() {
        let completion = Arc::new(Completion::new("t".into(), 3));
        let mut first = Delivery::new(completion.clone(), 0, 1000);
        let second = Delivery::new(completion.clone(), 1, 1001);
        assert!((&mut first).now_or_never().is_none());
        let abandoned = Delivery::new(completion.clone(), 2, 1002);
        drop(abandoned);
        let waiting = tokio::spawn(second);
        completion.complete(Ok(Receipt { base_offset: Some(40), log_append_time: None }), NOBODY);
        let metadata = RecordMetadata { partition: 3, offset: Some(40), timestamp: 1000 };
        assert_eq!(first.await.unwrap(), metadata);
        let metadata = RecordMetadata { partition: 3, offset: Some(41), timestamp: 1001 };
        assert_eq!(waiting.await.unwrap().unwrap(), metadata);
    }

    #[tokio::test]
    async fn the_first_outcome_counts() {
        let completion = Arc::new(Completion::new("t".into(), 0));
        let delivery = Delivery::new(completion.clone(), 0, 7);
        completion.complete(Ok(Receipt { base_offset: None, log_append_time: Some(9) }), NOBODY);
        let closed = Err(ProduceError {
            topic: "t".into(),
            partition: Some(0),
            broker: None,
            fault: ProduceFault::Closed,
        });
        completion.complete(closed, NOBODY);
        let metadata = RecordMetadata { partition: 0, offset: None, timestamp: 9 };
        assert_eq!(delivery.await.unwrap(), metadata);
    }
}
