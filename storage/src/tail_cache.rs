//! The newest entries of a log, as the very buffers they were appended in.
//!
//! Always a run that ends with the log's last entry. The shard's [`TailBudget`] takes the oldest
//! entries of any log away when all caches together grow too large; an entry that is not written
//! yet stays, as there is nowhere else to read it from.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use bytes::Bytes;

/// What keeping an entry costs besides its bytes: two handles, a share, the header's allocation.
const ENTRY_OVERHEAD: usize = 128;

/// One log's share of the cache.
#[derive(Debug)]
pub(crate) struct TailCache {
    first_index: u64,
    entries: VecDeque<(Bytes, Bytes)>,
    /// Entries from here on are not written yet.
    pinned_from: u64,
    /// Entries before this were to be evicted, had they not been pinned.
    evict_before: u64,
}

impl TailCache {
    /// An empty cache of a log whose next entry has this index.
    pub(crate) fn new(next_index: u64) -> Self {
        TailCache {
            first_index: next_index,
            entries: VecDeque::new(),
            pinned_from: next_index,
            evict_before: 0,
        }
    }

    /// Index of the oldest entry; the log's next index if there is none.
    pub(crate) fn first_index(&self) -> u64 {
        self.first_index
    }

    fn next_index(&self) -> u64 {
        self.first_index + self.entries.len() as u64
    }

    /// Header and body of an entry.
    pub(crate) fn get(&self, index: u64) -> Option<&(Bytes, Bytes)> {
        let at = index.checked_sub(self.first_index)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Forgets the entries from `from_index` on.
    pub(crate) fn truncate(&mut self, from_index: u64) {
        let kept = from_index.saturating_sub(self.first_index);
        self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.first_index = self.first_index.min(from_index);
        self.pinned_from = self.pinned_from.min(from_index);
        self.evict_before = self.evict_before.min(from_index);
    }

    /// Entries up to `index` are on disk now: they may be evicted.
    pub(crate) fn on_written(&mut self, index: u64) {
        self.pinned_from = self.pinned_from.max(index + 1);
        self.evict();
    }

    fn evict_to(&mut self, index: u64) {
        self.evict_before = self.evict_before.max(index + 1);
        self.evict();
    }

    fn evict(&mut self) {
        let end = self.evict_before.min(self.pinned_from).min(self.next_index());
        let gone = usize::try_from(end.saturating_sub(self.first_index)).unwrap_or(0);
        self.entries.drain(..gone);
        self.first_index += gone as u64;
    }
}

/// What one entry takes of the budget.
struct Share {
    cache: Weak<RefCell<TailCache>>,
    index: u64,
    bytes: usize,
}

/// The bytes that all tail caches of a shard may hold, given out in order of arrival.
pub(crate) struct TailBudget {
    bytes_max: usize,
    bytes: usize,
    shares: VecDeque<Share>,
}

impl TailBudget {
    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn new(bytes_max: usize) -> Self {
        TailBudget { bytes_max, bytes: 0, shares: VecDeque::new() }
    }

    /// Adds an entry, the next of its log, and makes room for it.
    pub(crate) fn push(
        &mut self,
        cache: &Rc<RefCell<TailCache>>,
        index: u64,
        header: Bytes,
        body: Bytes,
    ) {
        let bytes = header.len() + body.len() + ENTRY_OVERHEAD;
        let mut tail = cache.borrow_mut();
        assert_eq!(index, tail.next_index(), "the tail cache has no holes");
        tail.entries.push_back((header, body));
        drop(tail);
        self.bytes += bytes;
        self.shares.push_back(Share { cache: Rc::downgrade(cache), index, bytes });
        while self.bytes > self.bytes_max
            && let Some(share) = self.shares.pop_front()
        {
            self.bytes -= share.bytes;
            if let Some(cache) = share.cache.upgrade() {
                cache.borrow_mut().evict_to(share.index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(next_index: u64) -> Rc<RefCell<TailCache>> {
        Rc::new(RefCell::new(TailCache::new(next_index)))
    }

    fn push(budget: &mut TailBudget, cache: &Rc<RefCell<TailCache>>, index: u64) {
        budget.push(cache, index, Bytes::from(vec![1; 10]), Bytes::from(vec![2; 90]));
    }

    const ENTRY: usize = 100 + ENTRY_OVERHEAD;

    #[test]
    fn the_oldest_entry_of_any_log_goes_first() {
        let (mut budget, a, b) = (TailBudget::new(3 * ENTRY), cache(1), cache(10));
        push(&mut budget, &a, 1);
        push(&mut budget, &b, 10);
        push(&mut budget, &a, 2);
        a.borrow_mut().on_written(2);
        b.borrow_mut().on_written(10);
        push(&mut budget, &b, 11);
        assert_eq!((a.borrow().first_index(), b.borrow().first_index()), (2, 10));
        push(&mut budget, &b, 12);
        assert_eq!((a.borrow().first_index(), b.borrow().first_index()), (2, 11));
        assert_eq!(budget.bytes, 3 * ENTRY);
    }

    #[test]
    fn what_is_not_written_stays() {
        let (mut budget, a) = (TailBudget::new(ENTRY), cache(1));
        (1..=3).for_each(|index| push(&mut budget, &a, index));
        assert_eq!(a.borrow().first_index(), 1);
        a.borrow_mut().on_written(1);
        assert_eq!(a.borrow().first_index(), 2);
        a.borrow_mut().on_written(3);
        assert_eq!(a.borrow().first_index(), 3);
        assert!(a.borrow().get(3).is_some());
    }

    #[test]
    fn replaced_entries_are_gone_and_pinned_again() {
        let (mut budget, a) = (TailBudget::new(2 * ENTRY), cache(1));
        (1..=2).for_each(|index| push(&mut budget, &a, index));
        a.borrow_mut().on_written(2);
        a.borrow_mut().truncate(2);
        assert!(a.borrow().get(2).is_none());
        (2..=4).for_each(|index| push(&mut budget, &a, index));
        assert_eq!(a.borrow().first_index(), 2, "1 was evicted, 2 is not written");
        a.borrow_mut().truncate(1);
        assert_eq!(a.borrow().first_index(), 1);
    }

    #[test]
    fn the_budget_outlives_a_log() {
        let mut budget = TailBudget::new(ENTRY);
        push(&mut budget, &cache(1), 1);
        push(&mut budget, &cache(1), 1);
        assert_eq!(budget.bytes, ENTRY);
    }
}
