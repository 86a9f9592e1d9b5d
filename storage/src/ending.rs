//! How a log's life ends: closed such that the next open is quick, or deleted.

use std::rc::Rc;

use crate::error::WriteError;
use crate::ledger::Checkpoint;
use crate::writer::{Stop, Writer};

impl Writer {
    /// Flushes everything, ends the file where its data ends, and lets the ledger vouch for it all.
    pub(crate) async fn close(&mut self) -> Result<(), Stop> {
        self.flush_all().await?;
        if let Some(active) = &self.active {
            let (entry_count, durable_position) = (active.slots, active.position);
            let (log, ledger) = (Rc::clone(&active.log), Rc::clone(&active.ledger));
            log.truncate(durable_position.into()).await?;
            log.sync_all().await?;
            self.checkpoint(Checkpoint { entry_count, durable_position, cutting: false }).await?;
            ledger.sync_all().await?;
        }
        self.active = None;
        self.answer_ending();
        Ok(())
    }

    /// Removes the partition's directory.
    pub(crate) async fn delete(&mut self) -> Result<(), Stop> {
        self.active = None;
        let segments = std::mem::take(&mut self.log.state.borrow_mut().segments);
        for segment in &segments {
            self.log.shared.maps.borrow_mut().remove_segment(segment.id);
        }
        self.log.disk.remove_dir_all(&self.log.dir).await?;
        if let Some(parent) = self.log.dir.parent() {
            self.log.disk.sync_dir(parent).await?;
        }
        self.log.set_full(false);
        self.log.progress.answer_all(WriteError::Closed);
        self.answer_ending();
        Ok(())
    }

    fn answer_ending(&self) {
        if let Some((_, reply)) = self.log.queue.take_ending() {
            let _ = reply.send(Ok(()));
        }
    }
}
