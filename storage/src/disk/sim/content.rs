//! One simulated file: what programs see, what is durable, and every version between the two.
//!
//! A page cache writes back whole pages at times of its own choosing, so after a power cut a piece
//! of a file holds what it held at the last sync or after any one write since. Therefore each page
//! keeps a version per unsynced write, shared with its neighbours until changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::survival::Survival;

pub(super) const PAGE_BYTES: u64 = 4096;
const SECTOR_BYTES: usize = 512;
/// Versions kept for one page or length. A file that is never synced would keep all of them.
const VERSIONS_MAX: usize = 8;

type Page = [u8; PAGE_BYTES as usize];

/// A value with the versions it took since the last sync, each with the change that made it.
#[derive(Clone)]
struct Versioned<T> {
    now: T,
    durable: T,
    unsynced: Vec<(u64, T)>,
}

impl<T: Clone> Versioned<T> {
    fn new(value: T) -> Self {
        Versioned { now: value.clone(), durable: value, unsynced: Vec::new() }
    }

    fn set(&mut self, change: u64, value: T) {
        if self.unsynced.len() == VERSIONS_MAX {
            self.unsynced.remove(0);
        }
        self.now = value.clone();
        self.unsynced.push((change, value));
    }

    /// Makes everything before `end` durable.
    fn sync(&mut self, end: u64) {
        let later = self.unsynced.partition_point(|(change, _)| *change < end);
        if let Some((_, value)) = self.unsynced.drain(..later).next_back() {
            self.durable = value;
        }
    }

    /// Forgets that anything before `end` has yet to be written, as a kernel does when a flush
    /// fails: programs go on seeing it, but no later sync makes it durable.
    fn abandon(&mut self, end: u64) {
        self.unsynced.retain(|(change, _)| *change >= end);
    }

    fn changes(&self) -> Vec<u64> {
        self.unsynced.iter().map(|(change, _)| *change).collect()
    }

    fn version(&self, choice: Option<usize>) -> &T {
        choice.map_or(&self.durable, |at| &self.unsynced[at].1)
    }
}

/// A file's bytes and length.
pub(super) struct Content {
    pages: BTreeMap<u64, Versioned<Rc<Page>>>,
    dirty: BTreeSet<u64>,
    len: Versioned<u64>,
    /// Pages below this have blocks, written or not.
    reserved_pages: u64,
}

impl Content {
    pub(super) fn new() -> Self {
        Content {
            pages: BTreeMap::new(),
            dirty: BTreeSet::new(),
            len: Versioned::new(0),
            reserved_pages: 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len.now
    }

    /// Pages that take up space.
    pub(super) fn used_pages(&self) -> u64 {
        let end = self.len.now.div_ceil(PAGE_BYTES).max(self.reserved_pages);
        self.reserved_pages + self.pages.range(self.reserved_pages..end).count() as u64
    }

    pub(super) fn read(&self, position: u64, len: usize) -> Bytes {
        let end = position.saturating_add(len as u64).min(self.len.now);
        let mut found = BytesMut::with_capacity(end.saturating_sub(position) as usize);
        let mut at = position;
        while at < end {
            let (page, within) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
            let piece = (end - at).min(PAGE_BYTES - within as u64) as usize;
            match self.pages.get(&page) {
                Some(page) => found.extend_from_slice(&page.now[within..within + piece]),
                None => found.resize(found.len() + piece, 0),
            }
            at += piece as u64;
        }
        found.freeze()
    }

    /// Writes as much of `bytes` as `room` more pages allow, then fails with `ENOSPC`.
    pub(super) fn write(
        &mut self,
        change: u64,
        position: u64,
        bytes: &[u8],
        room: u64,
    ) -> io::Result<()> {
        let mut room = room;
        let (mut at, mut rest) = (position, bytes);
        while !rest.is_empty() {
            let (index, within) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
            if index >= self.reserved_pages && !self.pages.contains_key(&index) {
                room = room.checked_sub(1).ok_or_else(no_space)?;
            }
            let (piece, later) = rest.split_at(rest.len().min(PAGE_BYTES as usize - within));
            self.change_page(change, index, |page| {
                page[within..within + piece.len()].copy_from_slice(piece);
            });
            (at, rest) = (at + piece.len() as u64, later);
            if at > self.len.now {
                self.len.set(change, at);
            }
        }
        Ok(())
    }

    pub(super) fn allocate(&mut self, change: u64, len: u64, room: u64) -> io::Result<()> {
        let wanted = len.div_ceil(PAGE_BYTES).max(self.reserved_pages);
        let held = self.pages.range(self.reserved_pages..wanted).count() as u64;
        if wanted - self.reserved_pages - held > room {
            return Err(no_space());
        }
        self.reserved_pages = wanted;
        if len > self.len.now {
            self.len.set(change, len);
        }
        Ok(())
    }

    pub(super) fn truncate(&mut self, change: u64, len: u64) {
        let gone: Vec<u64> =
            self.pages.range(len / PAGE_BYTES..).map(|(index, _)| *index).collect();
        for index in gone {
            let kept = len.saturating_sub(index * PAGE_BYTES).min(PAGE_BYTES) as usize;
            self.change_page(change, index, |page| page[kept..].fill(0));
        }
        self.reserved_pages = self.reserved_pages.min(len.div_ceil(PAGE_BYTES));
        if len != self.len.now {
            self.len.set(change, len);
        }
    }

    /// Makes every change before `end` durable.
    pub(super) fn sync(&mut self, end: u64) {
        self.settle(|page| page.sync(end));
        self.len.sync(end);
    }

    /// What a failed sync leaves: pages that look clean and are not on the disk.
    pub(super) fn abandon(&mut self, end: u64) {
        self.settle(|page| page.abandon(end));
        self.len.abandon(end);
    }

    /// The power is cut: each unsynced piece is found in one of its versions. Returns how many
    /// pages are found as they never were.
    pub(super) fn lose_power(&mut self, survival: &mut Survival) -> u64 {
        let mut torn = 0;
        let len = *self.len.version(survival.choose(&self.len.changes()));
        self.len = Versioned::new(len);
        for page in self.pages.values_mut() {
            let found = survivor(page, survival);
            let was = |(_, version): &(u64, Rc<Page>)| *version == found;
            torn += u64::from(found != page.durable && !page.unsynced.iter().any(was));
            *page = Versioned::new(found);
        }
        self.dirty.clear();
        self.reserved_pages = self.reserved_pages.min(len.div_ceil(PAGE_BYTES));
        self.drop_beyond(len);
        torn
    }

    /// Flips one bit on the medium and in every cache.
    pub(super) fn flip_bit(&mut self, position: u64, bit: u8) {
        let (index, within) = (position / PAGE_BYTES, (position % PAGE_BYTES) as usize);
        let flip = |page: &mut Rc<Page>| Rc::make_mut(page)[within] ^= 1 << (bit % 8);
        let page = self.pages.entry(index).or_insert_with(zero_page);
        flip(&mut page.now);
        flip(&mut page.durable);
        page.unsynced.iter_mut().for_each(|(_, version)| flip(version));
    }

    /// The change numbers at stake if the power fails now.
    pub(super) fn unsynced(&self) -> std::ops::Range<u64> {
        let pages = self.dirty.iter().filter_map(|index| self.pages.get(index));
        let changes = || pages.clone().flat_map(|page| page.changes()).chain(self.len.changes());
        match (changes().min(), changes().max()) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..0,
        }
    }

    fn change_page(&mut self, change: u64, index: u64, edit: impl FnOnce(&mut Page)) {
        let page = self.pages.entry(index).or_insert_with(zero_page);
        let mut changed = Rc::clone(&page.now);
        edit(Rc::make_mut(&mut changed));
        page.set(change, changed);
        self.dirty.insert(index);
    }

    fn settle(&mut self, mut settle: impl FnMut(&mut Versioned<Rc<Page>>)) {
        let pages = &mut self.pages;
        self.dirty.retain(|index| {
            let Some(page) = pages.get_mut(index) else { return false };
            settle(page);
            !page.unsynced.is_empty()
        });
    }

    /// What lies beyond the end of a file reads as zeroes if the file grows again.
    fn drop_beyond(&mut self, len: u64) {
        self.pages.split_off(&len.div_ceil(PAGE_BYTES));
        if let Some(page) = self.pages.get_mut(&(len / PAGE_BYTES)) {
            let mut cut = Rc::clone(&page.now);
            Rc::make_mut(&mut cut)[(len % PAGE_BYTES) as usize..].fill(0);
            *page = Versioned::new(cut);
        }
    }
}

fn survivor(page: &Versioned<Rc<Page>>, survival: &mut Survival) -> Rc<Page> {
    let changes = page.changes();
    if changes.is_empty() || !survival.tears_pages() {
        return Rc::clone(page.version(survival.choose(&changes)));
    }
    let mut torn = Rc::clone(&page.durable);
    for sector in Rc::make_mut(&mut torn).chunks_mut(SECTOR_BYTES).enumerate() {
        let (index, bytes) = sector;
        let version = page.version(survival.choose(&changes));
        bytes.copy_from_slice(&version[index * SECTOR_BYTES..][..SECTOR_BYTES]);
    }
    torn
}

fn zero_page() -> Versioned<Rc<Page>> {
    Versioned::new(Rc::new([0; PAGE_BYTES as usize]))
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}
