//! Windows: what is written between two flushes, and the flushes.
//!
//! Without write caching a window is one write that ends with its mark, then one flush; meanwhile
//! the next entries gather, which is the group commit. With write caching writes follow each other
//! without waiting, and a flush in the background, before which the mark is written, ends the
//! window.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::try_join;
use tokio::time::Instant;

use crate::active::Active;
use crate::ledger::{Checkpoint, slot_position};
use crate::ledger_entry::LEDGER_ENTRY_LEN;
use crate::log::LogEvent;
use crate::shared::add;
use crate::writer::{Flushing, Stop, Writer, is_full};

impl Writer {
    /// Writes the entries that wait, as many as fit one window and one segment.
    pub(crate) async fn write_window(&mut self) -> Result<(), Stop> {
        self.make_room().await?;
        let write_caching = self.log.config.borrow().write_caching;
        if !write_caching {
            self.finish_flushing().await?;
        }
        if self.log.progress.cut.get().is_some() {
            // The entries that wait now come after a cut that was asked for meanwhile.
            return Ok(());
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        let (position, slot) = (active.position, active.slots);
        let (mut buffers, ledger) = gather(&self.log.queue, active, &self.log.config.borrow());
        if buffers.is_empty() {
            return Ok(());
        }
        if !write_caching {
            buffers.push(active.place_mark(true, true));
        }
        let ledger = (slot_position(slot), ledger.freeze());
        self.write(position, &buffers, Some(ledger)).await?;
        let last_index = self.on_written();
        if write_caching {
            self.unflushed_since.get_or_insert_with(Instant::now);
            return Ok(());
        }
        self.flush().await?;
        self.on_flushed(last_index);
        Ok(())
    }

    /// Writes frames, and the ledger's bytes along with them in the same submission.
    async fn write(
        &mut self,
        position: u32,
        buffers: &[Bytes],
        ledger: Option<(u64, Bytes)>,
    ) -> Result<(), Stop> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let (log_file, ledger_file) = (Rc::clone(&active.log), Rc::clone(&active.ledger));
        let allocation = active.allocation(&self.log.config.borrow());
        if let Some(len) = allocation
            && log_file.allocate(len).await.is_err()
        {
            // Preallocation is a courtesy: some filesystems cannot, and a full one may still have
            // room for what is needed.
            active.allocated = active.position.into();
        }
        self.insist(|| {
            let data = log_file.write_at(position.into(), buffers.to_vec());
            let Some((at, bytes)) = ledger.clone() else { return data };
            let entries = ledger_file.write_at(at, vec![bytes]);
            Box::pin(async move { try_join(data, entries).await.map(|_| ()) })
        })
        .await?;
        add(&self.log.shared.stats().windows_written, 1);
        Ok(())
    }

    /// All that was placed is written: readers may see it, acks=1 is reached. Returns the last
    /// index.
    fn on_written(&mut self) -> u64 {
        let Some(active) = &self.active else { return 0 };
        let last_index = active.last_index();
        active.segment.set_extent(active.extent());
        let log = &self.log;
        let visible = log.progress.clip(last_index);
        let tail = Rc::clone(&log.state.borrow().tail);
        tail.borrow_mut().on_written(visible);
        if visible > log.progress.written.get() {
            log.progress.written.set(visible);
            log.tell(LogEvent::Written(visible));
        }
        // Truncation may have taken entries away while the owner was told.
        let stable = log.progress.clip(last_index);
        if log.config.borrow().write_caching && stable > log.progress.stable.get() {
            log.progress.stable.set(stable);
            log.tell(LogEvent::Stable(stable));
        }
        last_index
    }

    /// Flushes all that is written and waits for it.
    pub(crate) async fn flush(&mut self) -> Result<(), Stop> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.log.sync_data().await?;
        active.durable_position = active.position;
        self.unflushed_since = None;
        add(&self.log.shared.stats().flushes, 1);
        Ok(())
    }

    pub(crate) fn on_flushed(&self, last_index: u64) {
        let progress = &self.log.progress;
        let flushed = progress.clip(last_index);
        progress.flushed.set(flushed.max(progress.flushed.get()));
        if flushed > progress.stable.get() {
            progress.stable.set(flushed);
            self.log.tell(LogEvent::Stable(flushed));
        }
        self.log.progress.answer_flushed();
    }

    /// Whether a flush must begin: somebody waits for it, or the policy of write caching says so.
    pub(crate) fn flush_due(&self) -> bool {
        let (Some(active), Some(since)) = (&self.active, self.unflushed_since) else {
            return false;
        };
        if self.flushing.is_some() {
            return false;
        }
        let config = self.log.config.borrow();
        let entries = active.last_index().saturating_sub(self.log.progress.flushed.get());
        let bytes = u64::from(active.position - active.durable_position);
        !config.write_caching
            || self.log.progress.flush_wanted()
            || entries >= config.flush_messages_max
            || bytes >= config.flush_bytes_max
            || since.elapsed().as_millis() >= u128::from(config.flush_ms_max)
    }

    /// Ends the window with a mark and flushes it in the background.
    pub(crate) async fn begin_flush(&mut self) -> Result<(), Stop> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let (at, mark) = (active.position, active.place_mark(false, true));
        let (position, index) = (active.position, active.last_index());
        let file = Rc::clone(&active.log);
        self.write(at, &[mark], None).await?;
        self.on_written();
        let outcome = Rc::new(RefCell::new(None));
        self.flushing = Some(Flushing { outcome: Rc::clone(&outcome), position, index });
        self.unflushed_since = None;
        let (log, flush) = (Rc::clone(&self.log), file.sync_data());
        tokio::task::spawn_local(async move {
            let result = flush.await;
            *outcome.borrow_mut() = Some(result);
            log.queue.wake.notify_one();
        });
        Ok(())
    }

    /// Takes note of a background flush that has returned.
    pub(crate) fn on_flushing(&mut self) -> Result<(), Stop> {
        let Some(flushing) = self.flushing.take_if(|flushing| flushing.outcome.borrow().is_some())
        else {
            return Ok(());
        };
        flushing.outcome.take().unwrap_or(Ok(()))?;
        if let Some(active) = &mut self.active {
            active.durable_position = flushing.position;
        }
        add(&self.log.shared.stats().flushes, 1);
        self.on_flushed(flushing.index);
        Ok(())
    }

    /// Waits for a background flush, if there is one.
    pub(crate) async fn finish_flushing(&mut self) -> Result<(), Stop> {
        while self.flushing.is_some() {
            self.on_flushing()?;
            if self.flushing.is_some() {
                self.log.queue.wake.notified().await;
            }
        }
        Ok(())
    }

    /// Ends and flushes the present window, whatever the policy says.
    pub(crate) async fn flush_all(&mut self) -> Result<(), Stop> {
        self.finish_flushing().await?;
        self.mark_if_room().await?;
        let last_index = self.on_written();
        self.flush().await?;
        self.on_flushed(last_index);
        Ok(())
    }

    /// Nothing was written for a while: proves the last window by a mark, and lets the ledger say
    /// so too. Neither is flushed: what they prove is.
    pub(crate) async fn mark_idle(&mut self) -> Result<(), Stop> {
        self.mark_if_room().await?;
        self.on_written();
        let Some(active) = &self.active else { return Ok(()) };
        let (entry_count, durable_position) = (active.slots, active.durable_position);
        self.checkpoint(Checkpoint { entry_count, durable_position, cutting: false }).await
    }

    /// Writes a mark that nobody waits for: one more proof, for which a full disk is no misfortune.
    async fn mark_if_room(&mut self) -> Result<(), Stop> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if active.idle {
            return Ok(());
        }
        let (at, window) = (active.position, active.window);
        let mark = active.place_mark(false, false);
        active.idle = true;
        match active.log.write_at(at.into(), vec![mark]).await {
            Err(error) if is_full(&error) => {
                (active.position, active.window) = (at, window);
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    /// Overwrites the ledger's checkpoint.
    pub(crate) async fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Stop> {
        let Some(active) = &self.active else { return Ok(()) };
        for (position, bytes) in checkpoint.writes(active.segment.seed) {
            active.ledger.write_at(position, vec![bytes]).await?;
        }
        Ok(())
    }
}

/// Places the entries that wait and gives their bytes and their ledger entries.
fn gather(
    queue: &crate::queue::WriteQueue,
    active: &mut Active,
    config: &crate::config::LogConfig,
) -> (Vec<Bytes>, BytesMut) {
    let mut buffers = Vec::new();
    let mut ledger = BytesMut::with_capacity(8 * LEDGER_ENTRY_LEN);
    let mut bytes = 0;
    while let Some(entry) = queue.pop_if(|entry| {
        let size = entry.header.len() + entry.body.len();
        bytes += size;
        active.fits(entry, config) && (buffers.is_empty() || bytes <= config.window_bytes_max)
    }) {
        active.place(entry, &mut buffers, &mut ledger);
    }
    (buffers, ledger)
}
