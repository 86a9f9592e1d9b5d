//! Which term began at which index and offset: Kafka's leader epoch cache and Raft's `term(index)`.

/// Where a term begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochStart {
    pub(crate) term: u32,
    pub(crate) first_index: u64,
    pub(crate) start_offset: i64,
}

/// The terms of a log, oldest first; index and term grow strictly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    starts: Vec<EpochStart>,
}

impl Epochs {
    /// Notes an entry; does nothing unless it begins a new term.
    pub(crate) fn push(&mut self, start: EpochStart) {
        if self.starts.last().is_none_or(|last| last.term < start.term) {
            self.starts.push(start);
        }
    }

    /// The newest term.
    pub(crate) fn latest(&self) -> Option<u32> {
        self.starts.last().map(|last| last.term)
    }

    /// The term of the entry at `index`, which is in the log.
    pub(crate) fn term_at(&self, index: u64) -> Option<u32> {
        let after = self.starts.partition_point(|start| start.first_index <= index);
        self.starts.get(after.checked_sub(1)?).map(|start| start.term)
    }

    /// The term of the record at `offset`, which is in the log. A term that holds no record ends at
    /// the offset where it begins, so the last one that begins there is meant.
    pub(crate) fn epoch_at(&self, offset: i64) -> Option<u32> {
        let after = self.starts.partition_point(|start| start.start_offset <= offset);
        self.starts.get(after.checked_sub(1)?).map(|start| start.term)
    }

    /// Kafka's `LeaderEpochFileCache.endOffsetFor`: the largest epoch that is not above `epoch` and
    /// the offset where the next one begins. Asked for an epoch older than any: that epoch, ending
    /// where the log begins. Newer than any: `None`.
    pub(crate) fn end_offset(&self, epoch: u32, log_end_offset: i64) -> Option<(u32, i64)> {
        let latest = self.latest()?;
        if epoch == latest {
            return Some((latest, log_end_offset));
        }
        let higher = self.starts.partition_point(|start| start.term <= epoch);
        let end_offset = self.starts.get(higher)?.start_offset;
        let floor = higher.checked_sub(1).and_then(|floor| self.starts.get(floor));
        Some((floor.map_or(epoch, |floor| floor.term), end_offset))
    }

    /// The starts that lie in `indexes`, and the term that reigns at its beginning as if it began
    /// there.
    pub(crate) fn within(
        &self,
        indexes: std::ops::Range<u64>,
        start_offset: i64,
    ) -> impl Iterator<Item = EpochStart> + '_ {
        let first_index = indexes.start;
        let reigning = self.term_at(first_index).filter(|_| !indexes.is_empty());
        let reigning = reigning.map(|term| EpochStart { term, first_index, start_offset });
        let begun = move |start: &&EpochStart| {
            start.first_index > first_index && start.first_index < indexes.end
        };
        reigning.into_iter().chain(self.starts.iter().filter(begun).copied())
    }

    /// Puts right what was a guess: the entries of a stretch begin with these starts, which repeat
    /// terms freely; `next` is the entry behind it, with its term as it is known.
    pub(crate) fn mend(&mut self, stretch: &[EpochStart], next: Option<EpochStart>) {
        let Some(first) = stretch.first() else { return };
        let end = first.first_index + stretch.len() as u64;
        let (before, after) = (first.first_index, end);
        let known = std::mem::take(&mut self.starts);
        let front = known.iter().filter(|start| start.first_index < before);
        let back = known.iter().filter(|start| start.first_index >= after);
        for start in front.chain(stretch).chain(&next).chain(back) {
            self.push(*start);
        }
    }

    /// Forgets all entries from `from_index` on.
    pub(crate) fn truncate_suffix(&mut self, from_index: u64) {
        let kept = self.starts.partition_point(|start| start.first_index < from_index);
        self.starts.truncate(kept);
    }

    /// Forgets all entries before `first_index`; the term that reigns there begins there now.
    pub(crate) fn truncate_prefix(&mut self, first_index: u64, start_offset: i64) {
        let after = self.starts.partition_point(|start| start.first_index <= first_index);
        let Some(reigning) = after.checked_sub(1) else { return };
        self.starts.drain(..reigning);
        if let Some(first) = self.starts.first_mut() {
            first.first_index = first_index;
            first.start_offset = start_offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Terms 2, 3 (no records), 5 over the offsets 0..20, 20..20, 20..
    fn epochs() -> Epochs {
        let mut epochs = Epochs::default();
        for (term, first_index, start_offset) in
            [(2, 1, 0), (2, 2, 0), (3, 10, 20), (5, 11, 20), (5, 12, 25)]
        {
            epochs.push(EpochStart { term, first_index, start_offset });
        }
        epochs
    }

    #[test]
    fn terms_by_index_and_offset() {
        let epochs = epochs();
        let terms: Vec<_> = [0, 1, 9, 10, 11, 99].map(|index| epochs.term_at(index)).into();
        assert_eq!(terms, [None, Some(2), Some(2), Some(3), Some(5), Some(5)]);
        let terms: Vec<_> = [0, 19, 20].map(|offset| epochs.epoch_at(offset)).into();
        assert_eq!(terms, [Some(2), Some(2), Some(5)]);
    }

    #[test]
    fn end_offsets_follow_kafkas_rule() {
        let epochs = epochs();
        assert_eq!(epochs.end_offset(1, 30), Some((1, 0)));
        assert_eq!(epochs.end_offset(2, 30), Some((2, 20)));
        assert_eq!(epochs.end_offset(3, 30), Some((3, 20)));
        assert_eq!(epochs.end_offset(4, 30), Some((3, 20)));
        assert_eq!(epochs.end_offset(5, 30), Some((5, 30)));
        assert_eq!(epochs.end_offset(6, 30), None);
        assert_eq!(Epochs::default().end_offset(0, 0), None);
    }

    #[test]
    fn both_ends_can_be_cut() {
        let mut epochs = epochs();
        epochs.truncate_suffix(11);
        assert_eq!(epochs.latest(), Some(3));
        epochs.truncate_prefix(5, 8);
        assert_eq!(epochs.term_at(5), Some(2));
        assert_eq!(epochs.term_at(4), None);
        assert_eq!(epochs.end_offset(1, 20), Some((1, 8)));
        epochs.truncate_prefix(10, 20);
        assert_eq!(epochs.term_at(9), None);
        assert_eq!(epochs.term_at(10), Some(3));
    }

    #[test]
    fn a_guess_is_put_right() {
        let at = |term, first_index| EpochStart { term, first_index, start_offset: 20 };
        let starts = |epochs: &Epochs| {
            epochs.starts.iter().map(|start| (start.term, start.first_index)).collect::<Vec<_>>()
        };
        let mut earlier = epochs();
        earlier.mend(&[at(2, 8), at(3, 9)], Some(at(3, 10)));
        assert_eq!(starts(&earlier), [(2, 1), (3, 9), (5, 11)]);
        let mut later = epochs();
        later.mend(&[at(2, 10)], Some(at(5, 11)));
        assert_eq!(starts(&later), [(2, 1), (5, 11)]);
        let mut same = epochs();
        same.mend(&[at(3, 10)], Some(at(5, 11)));
        assert_eq!(same, epochs());
    }

    #[test]
    fn a_segments_epochs_begin_with_the_one_that_reigns() {
        let within: Vec<_> = epochs().within(4..11, 7).map(|e| (e.term, e.first_index)).collect();
        assert_eq!(within, [(2, 4), (3, 10)]);
        assert_eq!(epochs().within(4..4, 7).count(), 0);
    }
}
