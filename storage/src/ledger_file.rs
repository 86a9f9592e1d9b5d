//! The ledger as a file: opened quickly when sealed, replaced whole when it has to be rebuilt.

use std::io;
use std::path::Path;
use std::rc::Rc;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::footer::Footer;
use crate::ledger::{
    Checkpoint, FORMAT_VERSION, LEDGER_ENTRIES_START, LedgerHeader, slot_position,
};
use crate::ledger_entry::LedgerEntry;
use crate::segment::SegmentKey;

/// Bytes read from the end at first: the footer of a segment with up to 252 epochs.
const TAIL_LEN: usize = 4096;

/// The header and, if the segment is sealed, the footer of a ledger.
pub(crate) async fn read_ends(
    file: &dyn DiskFile,
    seed: u32,
) -> io::Result<(Option<LedgerHeader>, Option<Footer>)> {
    let len = file.len().await?;
    let header = LedgerHeader::find(&file.read_at(0, LEDGER_ENTRIES_START).await?);
    let tail_len = TAIL_LEN.min(usize::try_from(len).unwrap_or(usize::MAX));
    let mut tail = file.read_at(len - tail_len as u64, tail_len).await?;
    if let Some(footer_len) = Footer::len_from_tail(&tail, len)
        && footer_len > tail.len()
    {
        tail = file.read_at(len - footer_len as u64, footer_len).await?;
    }
    Ok((header, Footer::decode(&tail, len, seed)))
}

/// What a rebuilt ledger says.
pub(crate) struct RebuiltLedger<'a> {
    pub(crate) key: SegmentKey,
    pub(crate) prev_term: Option<u32>,
    pub(crate) durable_position: u32,
    pub(crate) entries: &'a [LedgerEntry],
    pub(crate) footer: Option<Footer>,
}

impl RebuiltLedger<'_> {
    /// Replaces the ledger, durably and at once, and gives the new file.
    pub(crate) async fn replace(
        &self,
        disk: &dyn Disk,
        dir: &Path,
    ) -> io::Result<Rc<dyn DiskFile>> {
        let seed = self.key.crc_seed();
        let entry_count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let header =
            LedgerHeader { version: FORMAT_VERSION, key: self.key, prev_term: self.prev_term };
        let durable_position = self.durable_position;
        let mut bytes =
            header.encode_area(Checkpoint { entry_count, durable_position, cutting: false });
        bytes.reserve(usize::try_from(slot_position(entry_count)).unwrap_or(0));
        for (entry, slot) in self.entries.iter().zip(0..) {
            entry.encode(seed, slot, &mut bytes);
        }
        if let Some(footer) = &self.footer {
            bytes.extend_from_slice(&footer.encode(seed));
        }
        let path = self.key.ledger_path(dir);
        let new_path = path.with_extension("idx.tmp");
        let file = disk.open(&new_path, OpenMode::CreateIfMissing).await?;
        file.truncate(0).await?;
        file.write_at(0, vec![bytes.freeze()]).await?;
        file.sync_all().await?;
        disk.rename(&new_path, &path).await?;
        disk.sync_dir(dir).await?;
        Ok(file)
    }
}
