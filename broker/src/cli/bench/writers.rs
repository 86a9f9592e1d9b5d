//! The connections of one thread that write: each record as soon as it may, or when it is due. What
//! a pass has begun to write is acknowledged when it returns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, TryStreamExt};
use thalweg_client::Record;
use thalweg_client::producer::{Partitioner, Producer};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::payload::Payload;
use super::schedule::schedule;
use super::tally::Tally;
use super::watchers::{Sent, Watchers};
use crate::cli::connect::ConnectFlags;
use crate::cli::failure::Failure;
use crate::cli::writing::WriteFlags;

/// What a thread's connections are to write.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) end: End,
    /// How far apart records of this thread are due; unless it is said, each goes at once.
    pub(super) seconds_each: Option<f64>,
    /// How many records of a connection may be under way.
    pub(super) in_flight: Option<u16>,
}

/// When a load is over.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// After so many records of this thread.
    Records(u64),
    /// When so much time has passed since it began.
    After(Duration),
    /// When told so.
    Told(Arc<AtomicBool>),
}

/// Connections, ready to write.
pub(super) struct Writers {
    topic: String,
    connections: Vec<Connection>,
}

struct Connection {
    producer: Producer,
    payload: Payload,
}

impl Writers {
    /// Opens a connection for each payload.
    pub(super) async fn connect(
        connect: &ConnectFlags,
        writing: &WriteFlags,
        partitioner: &Partitioner,
        topic: &str,
        payloads: impl Iterator<Item = Payload>,
    ) -> Result<Self, Failure> {
        let open = async |payload| {
            let client = connect.connect().await?;
            let producer = writing.producer(&client).partitioner(partitioner.clone()).build();
            Ok::<_, Failure>(Connection { producer, payload })
        };
        let opening: FuturesUnordered<_> = payloads.map(open).collect();
        Ok(Writers { topic: topic.to_owned(), connections: opening.try_collect().await? })
    }

    /// Writes until the load is over and everything is acknowledged.
    pub(super) async fn write(&mut self, load: &Load) -> Result<Tally, Failure> {
        let count = self.connections.len();
        let tally = Tally::begin();
        let began = tally.began;
        let mut times = match load.seconds_each {
            Some(seconds_each) => schedule(began, seconds_each, count),
            None => Vec::new(),
        };
        let tally = Arc::new(Mutex::new(tally));
        let topic = &*self.topic;
        let writing = (0..).zip(&mut self.connections).map(|(index, it)| {
            let quota = Quota::of(&load.end, began, index, count as u64);
            let room = load.in_flight.map(|most| Arc::new(Semaphore::new(usize::from(most))));
            let watchers = Watchers::new(tally.clone());
            it.write(topic, quota, times.pop(), room, watchers)
        });
        writing.collect::<FuturesUnordered<_>>().try_collect::<()>().await?;
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *tally, Tally::begin()))
    }
}

impl Connection {
    async fn write(
        &mut self,
        topic: &str,
        quota: Quota,
        mut times: Option<mpsc::Receiver<Instant>>,
        room: Option<Arc<Semaphore>>,
        mut watchers: Watchers,
    ) -> Result<(), Failure> {
        let mut written = 0;
        loop {
            let due = match &mut times {
                Some(times) => times.recv().await,
                None => None,
            };
            let room = match &room {
                // It is never closed.
                Some(room) => room.clone().acquire_owned().await.ok(),
                None => None,
            };
            let due = due.unwrap_or_else(Instant::now);
            if !quota.allows(written, due) {
                break;
            }
            let body = self.payload.next();
            let bytes = body.len();
            let delivery = self.producer.enqueue(Record::to(topic).value(body)).await?;
            watchers.watch(Sent { delivery, due, bytes, room }).await?;
            written += 1;
        }
        self.producer.flush().await;
        watchers.finish().await
    }
}

/// When a load is over for one connection.
#[derive(Debug)]
enum Quota {
    Records(u64),
    Until(Instant),
    Told(Arc<AtomicBool>),
}

impl Quota {
    fn of(end: &End, began: Instant, index: u64, connections: u64) -> Self {
        match end {
            End::Records(total) => Quota::Records(share(*total, index, connections)),
            End::After(duration) => Quota::Until(began + *duration),
            End::Told(told) => Quota::Told(told.clone()),
        }
    }

    fn allows(&self, written: u64, due: Instant) -> bool {
        match self {
            Quota::Records(count) => written < *count,
            Quota::Until(end) => due < *end,
            Quota::Told(told) => !told.load(Ordering::Relaxed),
        }
    }
}

/// Share `index` of `total` in so many: all are taken, whether or not they divide.
pub(super) fn share(total: u64, index: u64, shares: u64) -> u64 {
    total / shares + u64::from(index < total % shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        assert_eq!([0, 1, 2].map(|index| share(11, index, 3)), [4, 4, 3]);
        assert_eq!([0, 1, 2].map(|index| share(1, index, 3)), [1, 0, 0]);
    }
}
