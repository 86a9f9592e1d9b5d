//! The records of one partition on their way to the driver: a batch that takes records, and those
//! that are full. Whoever enqueues writes here; the driver takes batches away, oldest first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use thalweg_protocol::batch::{BatchBuilder, BuildError, HEADER_LEN};
use tokio::time::Instant;

use super::delivery::{Completion, Delivery};
use crate::record::Record;

#[derive(Debug)]
pub(super) struct Accumulator {
    /// The partition's place among all that this producer writes to.
    pub(super) slot: usize,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    open: Option<Gathering>,
    /// What the batch before took, which the next one is likely to take too.
    last_size: usize,
    full: VecDeque<Gathering>,
    /// Nothing is taken in any more.
    is_closed: bool,
}

/// A batch whose records are being gathered.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) builder: BatchBuilder,
    pub(super) completion: Arc<Completion>,
    /// Bytes of buffer memory to give back when the batch is done.
    pub(super) reserved: usize,
    pub(super) opened_at: Instant,
}

/// How appending changed the partition.
pub(super) struct Appended {
    pub(super) delivery: Delivery,
    /// Whether a batch was opened or became full: whether the driver has something new to look at.
    pub(super) is_news: bool,
}

/// What there is to take.
pub(super) struct Waiting {
    pub(super) has_full: bool,
    /// Since when the open batch has been gathering.
    pub(super) open_since: Option<Instant>,
    /// Since when the oldest batch, full or open, has been there.
    pub(super) oldest: Option<Instant>,
}

/// Why nothing was appended.
#[derive(Debug)]
pub(super) enum AppendError {
    Build(BuildError),
    Closed,
}

/// Room that a batch begins with; it grows up to `batch_bytes` as records come.
const CAPACITY_MIN: usize = 4096;

impl Accumulator {
    pub(super) fn new(slot: usize, topic: Arc<str>, partition: i32) -> Self {
        Accumulator { slot, topic, partition, shelf: Mutex::default() }
    }

    /// Appends a record to the open batch, or to a new one if it would grow beyond `batch_bytes`. A
    /// record larger than that has a batch to itself. `on_open` is told of a new batch before
    /// anybody else can see it.
    pub(super) fn append(
        &self,
        record: &Record<'_>,
        reserved: usize,
        batch_bytes: usize,
        on_open: impl FnOnce(&Arc<Completion>),
    ) -> Result<Appended, AppendError> {
        let timestamp = record.timestamp_or_now();
        let mut shelf = self.lock();
        if shelf.is_closed {
            return Err(AppendError::Closed);
        }
        let fits = |batch: &mut Gathering| {
            let builder = &batch.builder;
            // What was reserved is an upper bound, and quicker than the exact size.
            builder.size() + reserved <= batch_bytes
                || builder.is_empty()
                || builder.size()
                    + builder.record_size(timestamp, record.key, record.value, &record.headers)
                    <= batch_bytes
        };
        let outgrown = shelf.open.take_if(|batch| !fits(batch));
        let mut is_news = shelf.open.is_none();
        shelf.full.extend(outgrown);

        let shelf = &mut *shelf;
        let batch = shelf.open.get_or_insert_with(|| {
            let likely = shelf.last_size.clamp(CAPACITY_MIN, batch_bytes.max(CAPACITY_MIN));
            let batch = Gathering::new(
                self.topic.clone(),
                self.partition,
                likely.max(HEADER_LEN + reserved),
            );
            on_open(&batch.completion);
            batch
        });
        let index = batch.builder.record_count();
        let size = batch
            .builder
            .append(timestamp, record.key, record.value, &record.headers)
            .map_err(AppendError::Build)?;
        batch.reserved += reserved;
        shelf.last_size = size;
        let delivery = Delivery::new(batch.completion.clone(), index, timestamp);
        if size >= batch_bytes {
            let batch = shelf.open.take();
            shelf.full.extend(batch);
            is_news = true;
        }
        Ok(Appended { delivery, is_news })
    }

    /// Closes the open batch, so that it is sent without waiting for more. Returns whether there
    /// was one.
    pub(super) fn close_batch(&self) -> bool {
        let mut shelf = self.lock();
        let open = shelf.open.take();
        let acted = open.is_some();
        shelf.full.extend(open);
        acted
    }

    /// Refuses all further records. Returns whether a batch was open and is now to be sent.
    pub(super) fn close(&self) -> bool {
        self.lock().is_closed = true;
        self.close_batch()
    }

    /// Begins closed, if the producer is.
    pub(super) fn close_if(&self, is_closing: bool) {
        self.lock().is_closed = is_closing;
    }

    /// The oldest full batch, or the open one if `is_ripe` says that it has waited enough.
    pub(super) fn take(&self, is_ripe: impl FnOnce(&Gathering) -> bool) -> Option<Gathering> {
        let mut shelf = self.lock();
        let full = shelf.full.pop_front();
        full.or_else(|| shelf.open.take_if(|open| is_ripe(open)))
    }

    /// The oldest batch, full or open, if it was opened before `limit`; none without a limit.
    pub(super) fn take_opened_before(&self, limit: Option<Instant>) -> Option<Gathering> {
        let limit = limit?;
        let mut shelf = self.lock();
        let is_old = |batch: &mut Gathering| batch.opened_at <= limit;
        if shelf.full.is_empty() {
            shelf.open.take_if(is_old)
        } else {
            shelf.full.pop_front_if(is_old)
        }
    }

    pub(super) fn waiting(&self) -> Waiting {
        let shelf = self.lock();
        let open_since = shelf.open.as_ref().map(|open| open.opened_at);
        let full_since = shelf.full.front().map(|full| full.opened_at);
        Waiting { has_full: full_since.is_some(), open_since, oldest: full_since.or(open_since) }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("no one panics while holding this lock")
    }
}

impl Gathering {
    fn new(topic: Arc<str>, partition: i32, capacity: usize) -> Self {
        Gathering {
            builder: BatchBuilder::with_capacity(capacity),
            completion: Arc::new(Completion::new(topic, partition)),
            reserved: 0,
            opened_at: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(accumulator: &Accumulator, value: &[u8]) -> (bool, bool) {
        let record = Record::to("t").value(value).timestamp(0);
        let mut opened = false;
        let appended = accumulator.append(&record, value.len(), 300, |_| opened = true);
        (opened, appended.expect("open").is_news)
    }

    #[tokio::test]
    async fn batches_fill_up_and_leave_in_order() {
        let accumulator = Accumulator::new(0, "t".into(), 0);
        assert_eq!(append(&accumulator, &[0; 100]), (true, true));
        assert_eq!(append(&accumulator, &[0; 100]), (false, false));
        assert_eq!(append(&accumulator, &[0; 100]), (true, true));
        assert_eq!(append(&accumulator, &[0; 1000]), (true, true));

        let counts: Vec<(i32, usize)> = std::iter::from_fn(|| accumulator.take(|_| false))
            .map(|batch| (batch.builder.record_count(), batch.reserved))
            .collect();
        assert_eq!(counts, [(2, 200), (1, 100), (1, 1000)]);
        assert!(accumulator.take(|_| true).is_none());
    }

    #[tokio::test]
    async fn an_open_batch_is_taken_when_it_is_ripe_and_none_after_closing() {
        let accumulator = Accumulator::new(0, "t".into(), 0);
        append(&accumulator, b"a");
        assert!(accumulator.take(|_| false).is_none());
        assert!(accumulator.waiting().open_since.is_some());
        assert!(accumulator.take(|_| true).is_some());
        append(&accumulator, b"b");
        assert!(accumulator.close());
        let refused = accumulator.append(&Record::to("t"), 0, 300, |_| ());
        assert!(matches!(refused, Err(AppendError::Closed)));
        assert!(accumulator.take(|_| false).is_some());
    }
}
