//! The tasks that see acknowledgements. Those of one partition come to one connection in order, so
//! one task for each partition sees every one as it arrives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use thalweg_client::producer::Delivery;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::tally::Tally;
use crate::cli::failure::Failure;

/// Acknowledgements of one partition that are not yet looked at.
const DELIVERIES_AHEAD: usize = 16 * 1024;

/// A record on its way.
pub(super) struct Sent {
    pub(super) delivery: Delivery,
    /// When it was meant to be sent.
    pub(super) due: Instant,
    pub(super) bytes: usize,
    /// Lets the connection send another, where it may have only so many under way.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// The tasks of one connection, by partition.
pub(super) struct Watchers {
    tally: Arc<Mutex<Tally>>,
    by_partition: HashMap<i32, Watcher>,
}

struct Watcher {
    sent: mpsc::Sender<Sent>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Watchers {
    /// They count into `tally`.
    pub(super) fn new(tally: Arc<Mutex<Tally>>) -> Self {
        Watchers { tally, by_partition: HashMap::new() }
    }

    pub(super) async fn watch(&mut self, sent: Sent) -> Result<(), Failure> {
        let partition = sent.delivery.partition();
        let watcher = self.by_partition.entry(partition).or_insert_with(|| {
            let (sent, arriving) = mpsc::channel(DELIVERIES_AHEAD);
            Watcher { sent, task: tokio::spawn(count_acknowledged(arriving, self.tally.clone())) }
        });
        if watcher.sent.send(sent).await.is_ok() {
            return Ok(());
        }
        // It ended before its time, so it knows why.
        match self.by_partition.remove(&partition) {
            Some(watcher) => ended(watcher.task.await),
            None => Ok(()),
        }
    }

    /// Waits until every acknowledgement has been seen.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        for Watcher { sent, task } in self.by_partition.into_values() {
            drop(sent);
            ended(task.await)?;
        }
        Ok(())
    }
}

fn ended(task: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    task.unwrap_or_else(|_| Err(Failure::Failed("a task of the benchmark panicked".into())))
}

async fn count_acknowledged(
    mut arriving: mpsc::Receiver<Sent>,
    tally: Arc<Mutex<Tally>>,
) -> Result<(), Failure> {
    while let Some(Sent { delivery, due, bytes, room }) = arriving.recv().await {
        delivery.await?;
        drop(room);
        // A poisoned tally belongs to a benchmark that fails anyway.
        tally.lock().unwrap_or_else(PoisonError::into_inner).count_acknowledged(due, bytes);
    }
    Ok(())
}
