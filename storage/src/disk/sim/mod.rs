//! `SimDisk`: a disk in memory that a seed decides, with the faults that real ones have.
//!
//! It keeps what programs see apart from what is durable. `power_cut` leaves of the unsynced
//! writes and names any combination that a kernel and a drive could have left; `kill` ends the
//! process only, so everything written survives, though still unsynced. Either way the handles of
//! the old life are dead and `reopen` begins the next.
//!
//! Differences from a real disk: a map is a copy made when it is taken, and directories made by
//! `create_dir_all` appear at once.

mod content;
mod faults;
mod operations;
mod random;
mod survival;
mod tree;
mod world;

pub use self::faults::{Operation, Struck};

use std::cell::RefCell;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use self::content::PAGE_BYTES;
use self::random::Random;
use self::world::World;

/// What every operation through a handle of an earlier life fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulated machine or process went down; reopen the disk")]
pub struct Crashed;

impl Crashed {
    /// Whether `error` came from a handle of an earlier life.
    pub fn caused(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Crashed>())
    }
}

/// A handle to one life of a simulated machine's disk. Clones share it.
#[derive(Clone)]
pub struct SimDisk {
    world: Rc<RefCell<World>>,
    life: u64,
}

impl SimDisk {
    /// An empty disk; `seed` decides the order in which operations take effect.
    pub fn new(seed: u64) -> Self {
        SimDisk { world: Rc::new(RefCell::new(World::new(seed))), life: 0 }
    }

    /// A handle for the present life, after a crash.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let life = self.world.borrow().life;
        SimDisk { world: Rc::clone(&self.world), life }
    }

    /// Power is lost. Of each unsynced write every sector survives or not, by `seed`; likewise
    /// lengths, and names created, renamed or removed since their directory was synced.
    pub fn power_cut(&self, seed: u64) {
        let mut random = Random::new(seed);
        let mut world = self.world.borrow_mut();
        world.crash(&mut random);
        world.lose_power(&mut random);
    }

    /// The process is killed: what it wrote survives, and writes under way happen in part.
    pub fn kill(&self, seed: u64) {
        self.world.borrow_mut().crash(&mut Random::new(seed));
    }

    /// Limits the disk to `bytes` (rounded down to pages); `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world.borrow_mut().capacity_pages = bytes.map(|bytes| bytes / PAGE_BYTES);
    }

    /// How long operations take, on tokio's clock; `None` (at first) lets them only yield.
    pub fn set_latency(&self, latency: Option<RangeInclusive<Duration>>) {
        self.world.borrow_mut().latency = latency;
    }

    /// Flips bit `bit` (0–7) of the byte at `position`, for good. Fails when there is no such byte.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let content = &mut world.file_at(path)?.content;
        if position >= content.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        content.flip_bit(position, bit);
        world.faults.struck.flipped += 1;
        Ok(())
    }

    /// The next write lands `shift` bytes beyond its place, and says it went well.
    pub fn misdirect_next_write(&self, shift: u64) {
        self.world.borrow_mut().faults.misdirect_next_write(None, shift);
    }

    /// The next write to the file at `path` does. Fails when there is no such file.
    pub fn misdirect_next_write_to(&self, path: &Path, shift: u64) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let file = world.tree.find(path)?;
        world.faults.misdirect_next_write(Some(file), shift);
        Ok(())
    }

    /// The next `count` operations of this kind fail with `errno`.
    ///
    /// A write that fails has written part of its bytes. A sync that fails leaves the pages
    /// looking clean: no later sync makes them durable.
    pub fn fail_next(&self, operation: Operation, errno: i32, count: u32) {
        self.world.borrow_mut().faults.fail_next(operation, errno, count);
    }

    /// The next sync, of a file or of a directory, says it went well and makes nothing durable.
    pub fn lie_next_sync(&self) {
        self.world.borrow_mut().faults.lie_next_sync();
    }

    /// How often it has failed its user.
    pub fn struck(&self) -> Struck {
        self.world.borrow().faults.struck
    }

    /// Forgets the faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.world.borrow_mut().faults.clear();
    }
}
