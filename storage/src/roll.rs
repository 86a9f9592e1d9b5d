//! Rolling: sealing the active segment and creating the next.
//!
//! A segment is sealed durably before its successor exists, so all segments but the last are
//! sealed, and the existence of a successor proves that a segment was durable to its end.

use std::io;
use std::rc::Rc;

use crate::active::Active;
use crate::disk::OpenMode;
use crate::frame::Chain;
use crate::ledger::{Checkpoint, FORMAT_VERSION, LedgerHeader, slot_position};
use crate::segment::{Extent, Segment, SegmentKey};
use crate::writer::{Stop, Writer};

impl Writer {
    /// Sees to it that the next entry has a segment to go to.
    pub(crate) async fn make_room(&mut self) -> Result<(), Stop> {
        let log = Rc::clone(&self.log);
        let fits = |active: &Active| {
            let config = log.config.borrow();
            log.queue.peek(|entry| active.fits(entry, &config)).unwrap_or(true)
        };
        if self.active.as_ref().is_some_and(fits) {
            return Ok(());
        }
        self.seal().await?;
        self.create().await
    }

    /// Seals the active segment although it has room, because all of it has expired.
    pub(crate) async fn roll_on_request(&mut self) -> Result<(), Stop> {
        if self.active.as_ref().is_some_and(|active| active.slots == 0) {
            return Ok(());
        }
        self.seal().await?;
        self.create().await
    }

    /// Cuts the preallocated rest off, then lets the ledger's footer vouch for the segment.
    async fn seal(&mut self) -> Result<(), Stop> {
        if self.active.is_none() {
            return Ok(());
        }
        self.flush_all().await?;
        let Some(active) = self.active.take() else { return Ok(()) };
        let (log, ledger) = (Rc::clone(&active.log), Rc::clone(&active.ledger));
        log.truncate(active.position.into()).await?;
        log.sync_all().await?;
        let footer = active.footer().encode(active.segment.seed).freeze();
        let at = slot_position(active.slots);
        self.insist(|| ledger.write_at(at, vec![footer.clone()])).await?;
        ledger.sync_all().await?;
        active.segment.set_being_written(false);
        Ok(())
    }

    /// Creates the segment that continues the files. Its names are durable before anything is in
    /// it.
    async fn create(&mut self) -> Result<(), Stop> {
        let log = Rc::clone(&self.log);
        let chain = log.state.borrow().files_end();
        let Chain { next_index: base_index, next_offset: base_offset, term } = chain;
        let key = SegmentKey { identity: log.identity, base_offset, base_index };
        let extent =
            Extent { entry_count: 0, log_len: 0, next_offset: base_offset, max_timestamp: -1 };
        let segment = Rc::new(Segment::new(key, &log.dir, log.shared.next_segment_id(), extent));
        let disk = &log.disk;
        let open = |path| self.insist(move || disk.open(path, OpenMode::CreateIfMissing));
        let (data, ledger) = (open(&segment.log_path).await?, open(&segment.ledger_path).await?);
        if data.len().await? > 0 {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            tracing::error!(path = %segment.log_path.display(), "a new segment is not empty");
            return Err(error.into());
        }
        let header = LedgerHeader { version: FORMAT_VERSION, key, prev_term: term };
        let area = header.encode_area(Checkpoint::default()).freeze();
        self.insist(|| ledger.write_at(0, vec![area.clone()])).await?;
        ledger.sync_all().await?;
        self.insist(|| self.log.disk.sync_dir(&self.log.dir)).await?;
        self.log.state.borrow_mut().segments.push_back(Rc::clone(&segment));
        self.active = Some(Active::new(segment, data, ledger, chain));
        Ok(())
    }
}
