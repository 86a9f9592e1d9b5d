//! The writer: the one task that changes a log's files, while there is something to change.
//!
//! It takes what waits in the [`WriteQueue`](crate::queue::WriteQueue), in an order that never lets
//! later work overtake a truncation: cut, then flush if due, then write the next window. When
//! nothing has happened for a while it writes an idle mark and ends; the next append starts it
//! again.
//!
//! A full disk is waited out. Any other failed write or flush is the end of the log: after a failed
//! `fdatasync` nobody knows what the file holds (<https://lwn.net/Articles/752063/>).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use tokio::time::Instant;

use crate::active::Active;
use crate::disk::DiskFuture;
use crate::error::WriteError;
use crate::log::{Log, LogEvent};
use crate::queue::Ending;

/// Why the writer gives up.
pub(crate) enum Stop {
    /// The disk failed.
    Failed(io::Error),
    /// The log is to end, and what is under way waits for space that may never come.
    Ending,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Failed(error)
    }
}

/// A flush in the background, with write caching.
pub(crate) struct Flushing {
    pub(crate) outcome: Rc<RefCell<Option<io::Result<()>>>>,
    pub(crate) position: u32,
    pub(crate) index: u64,
}

/// The task's state.
pub(crate) struct Writer {
    pub(crate) log: Rc<Log>,
    pub(crate) active: Option<Active>,
    pub(crate) flushing: Option<Flushing>,
    /// When the oldest write that is not flushed was made.
    pub(crate) unflushed_since: Option<Instant>,
}

/// Runs until there is nothing to do.
pub(crate) async fn run(log: Rc<Log>) {
    let active = log.queue.active.take();
    let mut writer = Writer { log: Rc::clone(&log), active, flushing: None, unflushed_since: None };
    let alarm = Alarm(&log);
    let outcome = match writer.work().await {
        Err(Stop::Ending) if log.queue.ending() == Some(Ending::Delete) => writer.delete().await,
        outcome => outcome,
    };
    drop(alarm);
    log.queue.stop(writer.active.take().filter(|_| outcome.is_ok()));
    match outcome {
        Ok(()) => {}
        Err(Stop::Ending) => {
            log.set_full(false);
            log.progress.answer_all(WriteError::Full);
            if let Some((_, reply)) = log.queue.take_ending() {
                let _ = reply.send(Err(WriteError::Full));
            }
        }
        Err(Stop::Failed(error)) => log.fail(&error),
    }
}

/// Tells the owner if the writer panics, which tokio would keep to itself.
struct Alarm<'a>(&'a Log);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.refuse(WriteError::Failed);
            self.0.tell(LogEvent::Failed);
        }
    }
}

impl Log {
    /// The disk failed: no more writes are taken, and everybody is told.
    pub(crate) fn fail(&self, error: &io::Error) {
        tracing::error!(dir = %self.dir.display(), %error, "cannot write the log");
        self.queue.refuse(WriteError::Failed);
        self.set_full(false);
        self.progress.answer_all(WriteError::Failed);
        if let Some((_, reply)) = self.queue.take_ending() {
            let _ = reply.send(Err(WriteError::Failed));
        }
        self.tell(LogEvent::Failed);
    }

    /// Notes whether the log waits for space; returns whether that is news.
    pub(crate) fn set_full(&self, full: bool) -> bool {
        let news = self.full.replace(full) != full;
        if news {
            let full_logs = &self.shared.stats().full_logs;
            full_logs.set(if full {
                full_logs.get() + 1
            } else {
                full_logs.get().saturating_sub(1)
            });
        }
        news
    }
}

impl Writer {
    async fn work(&mut self) -> Result<(), Stop> {
        let log = Rc::clone(&self.log);
        loop {
            self.on_flushing()?;
            if log.queue.ending() == Some(Ending::Delete) {
                return self.delete().await;
            } else if log.progress.cut.get().is_some() {
                self.cut().await?;
            } else if self.flush_due() {
                self.begin_flush().await?;
            } else if !log.queue.is_empty() {
                self.write_window().await?;
            } else if log.queue.take_roll() {
                self.roll_on_request().await?;
            } else if log.queue.ending() == Some(Ending::Close) {
                return self.close().await;
            } else if !self.rest().await? {
                return Ok(());
            }
        }
    }

    /// Waits for work. Returns false when there is none and nothing is left to be done in its
    /// absence.
    async fn rest(&mut self) -> Result<bool, Stop> {
        let (flush_ms_max, idle_mark_after) = {
            let config = self.log.config.borrow();
            (config.flush_ms_max, config.idle_mark_after)
        };
        let deadline = match (&self.flushing, self.unflushed_since) {
            (Some(_), _) => None,
            (None, Some(since)) => {
                since.checked_add(std::time::Duration::from_millis(flush_ms_max))
            }
            (None, None) if self.active.as_ref().is_some_and(|active| !active.idle) => {
                Some(Instant::now() + idle_mark_after)
            }
            (None, None) => return Ok(false),
        };
        let woken = self.log.queue.wake.notified();
        let Some(deadline) = deadline else {
            woken.await;
            return Ok(true);
        };
        let is_woken = tokio::time::timeout_at(deadline, woken).await.is_ok();
        if !is_woken && self.unflushed_since.is_none() {
            self.mark_idle().await?;
        }
        Ok(true)
    }

    /// Runs a disk operation until it succeeds or fails for another reason than lack of space.
    pub(crate) async fn insist<T>(&self, operation: impl Fn() -> DiskFuture<T>) -> Result<T, Stop> {
        loop {
            match operation().await {
                Ok(done) => {
                    if self.log.set_full(false) {
                        tracing::info!(dir = %self.log.dir.display(), "there is space again");
                        self.log.tell(LogEvent::Roomy);
                    }
                    return Ok(done);
                }
                Err(error) if is_full(&error) => self.on_full(&error).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn on_full(&self, error: &io::Error) -> Result<(), Stop> {
        if self.log.set_full(true) {
            tracing::warn!(dir = %self.log.dir.display(), %error, "the log waits for space");
            self.log.tell(LogEvent::Full);
        }
        let retry_after = self.log.config.borrow().full_retry_after;
        let retry_at = Instant::now() + retry_after;
        // Appends wake us too, and change nothing.
        while tokio::time::timeout_at(retry_at, self.log.queue.wake.notified()).await.is_ok() {
            if self.log.queue.ending().is_some() {
                return Err(Stop::Ending);
            }
        }
        Ok(())
    }
}

/// Whether the disk may take the same write later.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
