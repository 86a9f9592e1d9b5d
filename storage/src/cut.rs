//! Cutting a suffix off the files, because another leader's entries replace it.
//!
//! Whole segments go newest first, each durably before the next, so that a crash leaves a log that
//! is merely longer. In a segment the ledger is cut before the `.log`: a ledger that knew more than
//! the log holds would make a crash look like damage. Then the ledger announces the cut, because a
//! crash may leave half of it: holes with valid frames behind them. The stale bytes are gone from
//! the file before anything else is written there, so nothing can bring them back to life.

use std::io;
use std::rc::Rc;

use crate::active::Active;
use crate::disk::OpenMode;
use crate::examine::UnmarkedWindow;
use crate::footer::FooterEpoch;
use crate::frame::Chain;
use crate::ledger::{Checkpoint, slot_position};
use crate::ledger_entry::{LEDGER_ENTRY_LEN, LedgerEntry};
use crate::segment::{Extent, Segment};
use crate::writer::{Stop, Writer};

impl Writer {
    /// Cuts what the log has forgotten off the files.
    pub(crate) async fn cut(&mut self) -> Result<(), Stop> {
        self.finish_flushing().await?;
        let log = Rc::clone(&self.log);
        while let Some(from_index) = log.progress.cut.get() {
            self.cut_from(from_index).await?;
            log.queue.on_cut(from_index);
            // Meanwhile more may have been forgotten.
            if log.progress.cut.get() == Some(from_index) {
                log.progress.cut.set(None);
            }
        }
        for reply in log.progress.cut_replies.take() {
            let _ = reply.send(Ok(()));
        }
        let last_index = log.state.borrow().files_end().next_index - 1;
        self.on_flushed(last_index);
        Ok(())
    }

    async fn cut_from(&mut self, from_index: u64) -> Result<(), Stop> {
        loop {
            let last = self.log.state.borrow().segments.back().cloned();
            let Some(segment) = last else { return Ok(()) };
            if segment.key.base_index <= from_index {
                return self.cut_segment(&segment, from_index).await;
            }
            self.remove_last(&segment).await?;
        }
    }

    /// Removes the last segment. The ledger goes first: without its log it would look like damage.
    async fn remove_last(&mut self, segment: &Segment) -> Result<(), Stop> {
        let log = Rc::clone(&self.log);
        self.active = None;
        self.unflushed_since = None;
        log.state.borrow_mut().segments.pop_back();
        // Whoever is rewriting it is done first; nobody begins to rewrite what is no more.
        drop(log.rewriting.lock().await);
        log.shared.maps.borrow_mut().remove_segment(segment.id);
        for path in [&segment.ledger_path, &segment.log_path] {
            log.disk.remove_file(path).await?;
            self.insist(|| log.disk.sync_dir(&log.dir)).await?;
        }
        Ok(())
    }

    async fn cut_segment(&mut self, segment: &Rc<Segment>, from_index: u64) -> Result<(), Stop> {
        let slot = u32::try_from(from_index - segment.key.base_index).unwrap_or(u32::MAX);
        if slot >= segment.extent().entry_count {
            return Ok(());
        }
        // Who repairs the segment now must not write behind the cut.
        let log = Rc::clone(&self.log);
        let _turn = log.rewriting.lock().await;
        let active = match self.active.take() {
            Some(active) => active,
            None => self.reopen(segment).await?,
        };
        let first = read_slot(&active, slot).await?;
        let max_timestamp = match slot.checked_sub(1) {
            Some(before) => read_slot(&active, before).await?.max_timestamp,
            None => -1,
        };
        if active.durable_position < first.position {
            active.log.sync_data().await?;
        }
        let (base_offset, position) = (first.base_offset, first.position);
        segment.on_cut(Extent {
            entry_count: slot,
            log_len: position,
            next_offset: base_offset,
            max_timestamp,
        });
        self.log.shared.maps.borrow_mut().remove_segment(segment.id);
        let term = self.log.state.borrow().term(from_index - 1);
        let chain = Chain { next_index: from_index, next_offset: base_offset, term };
        let cut = active.cut(chain, slot, position, max_timestamp);
        self.cut_files(&cut).await?;
        self.unflushed_since = None;
        self.active = Some(cut);
        Ok(())
    }

    async fn cut_files(&mut self, cut: &Active) -> Result<(), Stop> {
        cut.ledger.truncate(slot_position(cut.slots)).await?;
        cut.ledger.sync_all().await?;
        announce(cut, true).await?;
        cut.log.truncate(cut.position.into()).await?;
        cut.log.sync_all().await?;
        // What is written from now on is not to be cut.
        announce(cut, false).await?;
        Ok(())
    }

    /// Opens a sealed segment that is to be written again.
    async fn reopen(&self, segment: &Rc<Segment>) -> Result<Active, Stop> {
        let disk = &self.log.disk;
        let log = disk.open(&segment.log_path, OpenMode::Existing).await?;
        let ledger = disk.open(&segment.ledger_path, OpenMode::Existing).await?;
        let Extent { entry_count, log_len, next_offset, max_timestamp } = segment.extent();
        let next_index = segment.next_index();
        let state = self.log.state.borrow();
        let base = (segment.key.base_index, segment.key.base_offset);
        let epochs = state.epochs.within(base.0..next_index, base.1).map(|start| FooterEpoch {
            term: start.term,
            first_slot: u32::try_from(start.first_index - base.0).unwrap_or(u32::MAX),
            start_offset: start.start_offset,
        });
        let chain = Chain { next_index, next_offset, term: state.term(next_index - 1) };
        Ok(Active {
            allocated: log_len.into(),
            position: log_len,
            slots: entry_count,
            max_timestamp,
            epochs: epochs.collect(),
            durable_position: log_len,
            ..Active::new(Rc::clone(segment), log, ledger, chain)
        })
    }
}

impl Active {
    /// The same segment, ending before `slot`.
    fn cut(mut self, chain: Chain, slot: u32, position: u32, max_timestamp: i64) -> Active {
        self.epochs.retain(|epoch| epoch.first_slot < slot);
        Active {
            allocated: position.into(),
            position,
            slots: slot,
            chain,
            max_timestamp,
            first_timestamp: self.first_timestamp.filter(|_| max_timestamp >= 0),
            window: UnmarkedWindow { start: position, ..UnmarkedWindow::default() },
            durable_position: position,
            idle: slot == 0,
            ..self
        }
    }
}

/// Says durably in the ledger whether the `.log` is being cut.
async fn announce(cut: &Active, cutting: bool) -> io::Result<()> {
    let checkpoint = Checkpoint { entry_count: cut.slots, durable_position: cut.position, cutting };
    for (position, bytes) in checkpoint.writes(cut.segment.seed) {
        cut.ledger.write_at(position, vec![bytes]).await?;
    }
    cut.ledger.sync_data().await
}

async fn read_slot(active: &Active, slot: u32) -> io::Result<LedgerEntry> {
    let bytes = active.ledger.read_at(slot_position(slot), LEDGER_ENTRY_LEN).await?;
    let bytes = <&[u8; LEDGER_ENTRY_LEN]>::try_from(&bytes[..]);
    let entry = bytes.ok().and_then(|b| LedgerEntry::decode(b, active.segment.seed, slot));
    // The next start rebuilds the ledger from the log.
    entry.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the ledger is damaged"))
}
