//! The simulated machine: its files, names and faults, and the operations under way.
//!
//! All handles of a disk share one world. An operation takes effect when its time comes, in an
//! order that the seed decides; what a crash finds under way happens in part or not at all.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::content::{Content, PAGE_BYTES};
use super::faults::Faults;
use super::random::Random;
use super::survival::Survival;
use super::tree::{InodeId, ROOT, Tree, errno};

/// A machine without a capacity limit reports this much space, in pages: 1 TiB.
const PAGES_UNLIMITED: u64 = 1 << 28;
/// An operation without latency lets others run up to this many times before it takes effect.
const YIELDS_MAX: u64 = 3;

/// What an operation under way will do when its time comes.
pub(super) type Effect = Box<dyn FnOnce(&mut World, Extent)>;

/// How much of an operation happens: a crash may cut a write short.
pub(super) enum Extent {
    Whole,
    Part(Random),
}

/// How long an operation takes.
pub(super) enum Pause {
    Yields(u64),
    Sleep(Duration),
}

/// A file and its open handles, counted by the clones of `opens`.
pub(super) struct File {
    pub(super) content: Content,
    pub(super) opens: Rc<()>,
}

pub(super) struct World {
    pub(super) tree: Tree,
    pub(super) faults: Faults,
    pub(super) latency: Option<RangeInclusive<Duration>>,
    pub(super) capacity_pages: Option<u64>,
    /// Grows with every crash; handles of an earlier life are dead.
    pub(super) life: u64,
    files: BTreeMap<InodeId, File>,
    random: Random,
    inodes: InodeId,
    changes: u64,
    tickets: u64,
    under_way: BTreeMap<u64, Effect>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        World {
            tree: Tree::new(),
            faults: Faults::default(),
            latency: None,
            capacity_pages: None,
            life: 0,
            files: BTreeMap::new(),
            random: Random::new(seed),
            inodes: ROOT,
            changes: 0,
            tickets: 0,
            under_way: BTreeMap::new(),
        }
    }

    /// Notes an operation that takes effect later, by `finish` or in a crash.
    pub(super) fn begin(&mut self, effect: Effect) -> u64 {
        self.tickets += 1;
        self.under_way.insert(self.tickets, effect);
        self.tickets
    }

    /// Lets the operation take effect, unless a crash has already decided about it.
    pub(super) fn finish(&mut self, ticket: u64) {
        if let Some(effect) = self.under_way.remove(&ticket) {
            effect(self, Extent::Whole);
        }
    }

    pub(super) fn pause(&mut self) -> Pause {
        let Some(latency) = &self.latency else {
            return Pause::Yields(self.random.below(YIELDS_MAX + 1));
        };
        let spread = latency.end().saturating_sub(*latency.start()).as_nanos() as u64;
        Pause::Sleep(*latency.start() + Duration::from_nanos(self.random.below(spread + 1)))
    }

    /// The number of the next change; those made so far are below it.
    pub(super) fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// The end of the changes made so far: what a sync that starts now covers.
    pub(super) fn changes_end(&self) -> u64 {
        self.changes + 1
    }

    pub(super) fn random_below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    pub(super) fn new_inode(&mut self) -> InodeId {
        self.inodes += 1;
        self.inodes
    }

    pub(super) fn create_file(&mut self) -> InodeId {
        let inode = self.new_inode();
        self.files.insert(inode, File { content: Content::new(), opens: Rc::new(()) });
        inode
    }

    pub(super) fn file(&mut self, inode: InodeId) -> io::Result<&mut File> {
        self.files.get_mut(&inode).ok_or_else(|| errno(libc::EISDIR))
    }

    pub(super) fn file_at(&mut self, path: &Path) -> io::Result<&mut File> {
        let inode = self.tree.find(path)?;
        self.file(inode)
    }

    /// Pages that may still be taken.
    pub(super) fn room(&self) -> u64 {
        match self.capacity_pages {
            Some(capacity) => capacity.saturating_sub(self.used_pages()),
            None => PAGES_UNLIMITED,
        }
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.capacity_pages.unwrap_or(PAGES_UNLIMITED) * PAGE_BYTES
    }

    /// Pages of every file that has a name or an open handle.
    fn used_pages(&self) -> u64 {
        let named = self.tree.reachable_now();
        let counted = |(inode, file): &(&InodeId, &File)| {
            named.contains(inode) || Rc::strong_count(&file.opens) > 1
        };
        self.files.iter().filter(counted).map(|(_, file)| file.content.used_pages()).sum()
    }

    /// Ends this life. Operations under way happen, in part or whole, or not at all.
    pub(super) fn crash(&mut self, random: &mut Random) {
        self.life += 1;
        for (_, effect) in std::mem::take(&mut self.under_way) {
            if random.coin() {
                effect(self, Extent::Part(Random::new(random.next())));
            }
        }
        for file in self.files.values_mut() {
            file.opens = Rc::new(()); // the handles died with their life
        }
        self.forget_unreachable();
    }

    /// Decides what of the unsynced content and names is found after a power cut.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let mut survival = Survival::draw(random, self.tree.unsynced());
        self.tree.lose_power(&mut survival);
        for file in self.files.values_mut() {
            let mut survival = Survival::draw(random, file.content.unsynced());
            self.faults.struck.torn += file.content.lose_power(&mut survival);
        }
        self.forget_unreachable();
    }

    /// Frees what no name, handle or power cut can bring up again.
    pub(super) fn forget_unreachable(&mut self) {
        let reachable = self.tree.reachable_ever();
        self.tree.forget_unreachable(&reachable);
        self.files
            .retain(|inode, file| reachable.contains(inode) || Rc::strong_count(&file.opens) > 1);
    }
}
