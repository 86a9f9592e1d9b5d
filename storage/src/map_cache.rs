//! The files of a shard that are mapped now: the least recently used mapping makes room for a new
//! one.
//!
//! A mapping covers the bytes that were written when it was made; whoever needs more maps again.
//! Slices that were handed out keep their mapping alive, so letting go of one here never hurts a
//! reader.

use std::collections::{BTreeMap, HashMap};

use crate::disk::Mapping;
use crate::segment::SegmentFile;

/// A segment's id and which of its files.
pub(crate) type MapKey = (u64, SegmentFile);

struct Mapped {
    mapping: Mapping,
    used: u64,
}

/// Mappings by file, with an upper limit, because the kernel has one for each process.
pub(crate) struct MapCache {
    mappings_max: usize,
    mapped: HashMap<MapKey, Mapped>,
    by_use: BTreeMap<u64, MapKey>,
    clock: u64,
}

impl MapCache {
    pub(crate) fn new(mappings_max: usize) -> Self {
        let (mapped, by_use) = (HashMap::new(), BTreeMap::new());
        MapCache { mappings_max: mappings_max.max(1), mapped, by_use, clock: 0 }
    }

    /// The file's mapping, if it covers `len` bytes.
    pub(crate) fn get(&mut self, key: MapKey, len: u64) -> Option<Mapping> {
        let mapped = self.mapped.get_mut(&key)?;
        if (mapped.mapping.len() as u64) < len {
            return None;
        }
        self.by_use.remove(&mapped.used);
        self.clock += 1;
        mapped.used = self.clock;
        self.by_use.insert(self.clock, key);
        Some(mapped.mapping.clone())
    }

    /// Keeps a mapping, in place of a shorter one of the same file.
    pub(crate) fn insert(&mut self, key: MapKey, mapping: Mapping) {
        self.remove(key);
        while self.mapped.len() >= self.mappings_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.mapped.remove(&oldest);
        }
        self.clock += 1;
        self.mapped.insert(key, Mapped { mapping, used: self.clock });
        self.by_use.insert(self.clock, key);
    }

    /// Lets go of a file's mapping.
    pub(crate) fn remove(&mut self, key: MapKey) {
        if let Some(mapped) = self.mapped.remove(&key) {
            self.by_use.remove(&mapped.used);
        }
    }

    /// Lets go of both files of a segment.
    pub(crate) fn remove_segment(&mut self, id: u64) {
        self.remove((id, SegmentFile::Log));
        self.remove((id, SegmentFile::Ledger));
    }

    /// How many files are mapped.
    pub(crate) fn len(&self) -> usize {
        self.mapped.len()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;
    use crate::disk::{DiskFuture, Residency};

    struct Resident;

    impl Residency for Resident {
        fn make_resident(&self, _range: Bytes) -> DiskFuture<()> {
            async { Ok(()) }.boxed_local()
        }
    }

    fn mapping(len: usize) -> Mapping {
        Mapping::new(Bytes::from(vec![0; len]), Rc::new(Resident))
    }

    const A: MapKey = (1, SegmentFile::Log);
    const B: MapKey = (1, SegmentFile::Ledger);
    const C: MapKey = (2, SegmentFile::Log);

    #[test]
    fn the_least_recently_used_goes() {
        let mut cache = MapCache::new(2);
        cache.insert(A, mapping(10));
        cache.insert(B, mapping(10));
        assert!(cache.get(A, 10).is_some());
        cache.insert(C, mapping(10));
        assert!(cache.get(B, 1).is_none());
        assert!(cache.get(A, 1).is_some() && cache.get(C, 1).is_some());
        assert_eq!((cache.len(), cache.by_use.len()), (2, 2));
    }

    #[test]
    fn a_short_mapping_is_no_answer_and_is_replaced() {
        let mut cache = MapCache::new(2);
        cache.insert(A, mapping(10));
        assert!(cache.get(A, 11).is_none());
        cache.insert(A, mapping(20));
        assert_eq!(cache.get(A, 11).map(|mapping| mapping.len()), Some(20));
        assert_eq!(cache.len(), 1);
        cache.remove_segment(1);
        assert_eq!((cache.len(), cache.by_use.len()), (0, 0));
    }
}
