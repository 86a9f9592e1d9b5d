//! The disk contract over the simulated machine.
//!
//! An operation is noted when its method is called and takes effect after a pause that the seed
//! decides. Its future drives it; a future dropped early lets it take effect at once.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::content::PAGE_BYTES;
use super::faults::Operation;
use super::tree::{InodeId, Place, errno};
use super::world::{Extent, Pause, World};
use super::{Crashed, SimDisk};
use crate::disk::{DirEntry, Disk, DiskFile, DiskFuture, Mapping, OpenMode, Residency, Space};

/// Ends an operation's time under way when its future has waited long enough or is dropped.
struct UnderWay {
    disk: SimDisk,
    ticket: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.disk.world.borrow_mut().finish(self.ticket);
    }
}

impl SimDisk {
    /// Starts an operation that fails as a whole if a fault was planted for it.
    fn start<T: 'static>(
        &self,
        operation: Operation,
        effect: impl FnOnce(&mut World) -> io::Result<T> + 'static,
    ) -> DiskFuture<T> {
        let failure = self.world.borrow_mut().faults.take_failure(operation);
        self.start_with(move |world, _| match failure {
            Some(failure) => Err(failure),
            None => effect(world),
        })
    }

    fn start_with<T: 'static>(
        &self,
        effect: impl FnOnce(&mut World, Extent) -> io::Result<T> + 'static,
    ) -> DiskFuture<T> {
        if !self.is_alive() {
            return Box::pin(std::future::ready(Err(crashed())));
        }
        let (reply, result) = oneshot::channel();
        let mut world = self.world.borrow_mut();
        let ticket = world.begin(Box::new(move |world, extent| {
            let _ = reply.send(effect(world, extent)); // nobody waits for a dropped future
        }));
        let pause = world.pause();
        let under_way = UnderWay { disk: self.clone(), ticket };
        Box::pin(async move {
            match pause {
                Pause::Sleep(time) => tokio::time::sleep(time).await,
                Pause::Yields(count) => {
                    for _ in 0..count {
                        tokio::task::yield_now().await;
                    }
                }
            }
            let disk = under_way.disk.clone();
            drop(under_way);
            let outcome = result.await;
            if disk.is_alive() {
                outcome.unwrap_or_else(|_| Err(crashed()))
            } else {
                Err(crashed())
            }
        })
    }

    fn is_alive(&self) -> bool {
        self.world.borrow().life == self.life
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> DiskFuture<Rc<dyn DiskFile>> {
        let (disk, path) = (self.clone(), path.to_path_buf());
        let opened = self.start(Operation::Open, move |world| open(world, &path, mode));
        Box::pin(async move {
            let (inode, opens) = opened.await?;
            Ok(Rc::new(SimFile { disk, inode, opens }) as Rc<dyn DiskFile>)
        })
    }

    fn create_dir_all(&self, path: &Path) -> DiskFuture<()> {
        let path = path.to_path_buf();
        self.start(Operation::CreateDir, move |world| create_dir_all(world, &path))
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskFuture<()> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        self.start(Operation::Rename, move |world| {
            let (from, to) = (world.tree.place(&from)?, world.tree.place(&to)?);
            let change = world.next_change();
            world.tree.rename(change, &from, &to)
        })
    }

    fn remove_file(&self, path: &Path) -> DiskFuture<()> {
        let path = path.to_path_buf();
        self.start(Operation::Remove, move |world| {
            let place = world.tree.place(&path)?;
            let inode = world.tree.get(&place).ok_or_else(|| errno(libc::ENOENT))?;
            world.file(inode)?;
            let change = world.next_change();
            world.tree.set(change, &place, None);
            Ok(())
        })
    }

    fn remove_dir_all(&self, path: &Path) -> DiskFuture<()> {
        let path = path.to_path_buf();
        self.start(Operation::Remove, move |world| {
            let dir = world.tree.directory(&path)?;
            let place = world.tree.place(&path)?;
            empty_directory(world, dir);
            let change = world.next_change();
            world.tree.set(change, &place, None);
            Ok(())
        })
    }

    fn list_dir(&self, path: &Path) -> DiskFuture<Vec<DirEntry>> {
        let path = path.to_path_buf();
        self.start(Operation::List, move |world| {
            let dir = world.tree.directory(&path)?;
            let entry = |(name, inode): (&String, InodeId)| DirEntry {
                name: name.clone(),
                is_dir: world.tree.is_dir(inode),
            };
            Ok(world.tree.entries(dir).map(entry).collect())
        })
    }

    fn sync_dir(&self, path: &Path) -> DiskFuture<()> {
        let path = path.to_path_buf();
        let (end, lie) = {
            let mut world = self.world.borrow_mut();
            (world.changes_end(), world.faults.take_lie())
        };
        self.start(Operation::SyncDir, move |world| {
            let dir = world.tree.directory(&path)?;
            if !lie {
                world.tree.sync(dir, end);
                world.forget_unreachable();
            }
            Ok(())
        })
    }

    fn space(&self, path: &Path) -> DiskFuture<Space> {
        let path = path.to_path_buf();
        self.start(Operation::Stat, move |world| {
            world.tree.find(&path)?;
            Ok(Space { available: world.room() * PAGE_BYTES, total: world.capacity_bytes() })
        })
    }

    fn name(&self) -> &'static str {
        "sim"
    }
}

struct SimFile {
    disk: SimDisk,
    inode: InodeId,
    /// Keeps the file while it is open; an operation under way holds it too.
    opens: Rc<()>,
}

impl SimFile {
    fn start<T: 'static>(
        &self,
        operation: Operation,
        effect: impl FnOnce(&mut World, InodeId) -> io::Result<T> + 'static,
    ) -> DiskFuture<T> {
        let (inode, opens) = (self.inode, Rc::clone(&self.opens));
        self.disk.start(operation, move |world| {
            let outcome = effect(world, inode);
            drop(opens);
            outcome
        })
    }

    fn sync(&self) -> DiskFuture<()> {
        let (inode, opens) = (self.inode, Rc::clone(&self.opens));
        let (end, lie, failure) = {
            let mut world = self.disk.world.borrow_mut();
            let failure = world.faults.take_failure(Operation::Sync);
            (world.changes_end(), world.faults.take_lie(), failure)
        };
        self.disk.start_with(move |world, _| {
            let content = &mut world.file(inode)?.content;
            drop(opens);
            match failure {
                Some(failure) => {
                    content.abandon(end);
                    return Err(failure);
                }
                None if lie => {}
                None => content.sync(end),
            }
            Ok(())
        })
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> DiskFuture<u64> {
        self.start(Operation::Stat, |world, inode| Ok(world.file(inode)?.content.len()))
    }

    fn read_at(&self, position: u64, len: usize) -> DiskFuture<Bytes> {
        self.start(Operation::Read, move |world, inode| {
            Ok(world.file(inode)?.content.read(position, len))
        })
    }

    fn write_at(&self, position: u64, buffers: Vec<Bytes>) -> DiskFuture<()> {
        let (inode, opens) = (self.inode, Rc::clone(&self.opens));
        let (failure, shift) = {
            let mut world = self.disk.world.borrow_mut();
            (world.faults.take_failure(Operation::Write), world.faults.take_misdirection(inode))
        };
        self.disk.start_with(move |world, extent| {
            let bytes = buffers.concat();
            let part = |random: u64| &bytes[..(random % (bytes.len() as u64 + 1)) as usize];
            let written = match (&failure, extent) {
                (_, Extent::Part(mut random)) => part(random.next()),
                (Some(_), Extent::Whole) => part(world.random_below(u64::MAX)),
                (None, Extent::Whole) => &bytes,
            };
            if written.len() < bytes.len() && !written.is_empty() {
                world.faults.struck.torn += 1;
            }
            let (change, room) = (world.next_change(), world.room());
            let content = &mut world.file(inode)?.content;
            let outcome = content.write(change, position + shift, written, room);
            world.faults.note_full(&outcome);
            outcome?;
            drop(opens);
            failure.map_or(Ok(()), Err)
        })
    }

    fn sync_data(&self) -> DiskFuture<()> {
        self.sync()
    }

    fn sync_all(&self) -> DiskFuture<()> {
        self.sync()
    }

    fn allocate(&self, len: u64) -> DiskFuture<()> {
        self.start(Operation::Allocate, move |world, inode| {
            let (change, room) = (world.next_change(), world.room());
            let outcome = world.file(inode)?.content.allocate(change, len, room);
            world.faults.note_full(&outcome);
            outcome
        })
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        self.start(Operation::Truncate, move |world, inode| {
            let change = world.next_change();
            world.file(inode)?.content.truncate(change, len);
            Ok(())
        })
    }

    fn map(&self, len: u64) -> DiskFuture<Mapping> {
        let copied = self.start(Operation::Map, move |world, inode| {
            let content = &world.file(inode)?.content;
            if content.len() < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(content.read(0, usize::try_from(len).map_err(|_| errno(libc::ENOMEM))?))
        });
        let (disk, inode, opens) = (self.disk.clone(), self.inode, Rc::clone(&self.opens));
        Box::pin(async move {
            let bytes = copied.await?;
            let file = SimFile { disk, inode, opens };
            let pages = CopiedPages { file, base: bytes.as_ptr().addr() };
            Ok(Mapping::new(bytes, Rc::new(pages)))
        })
    }
}

/// Residency of a copy: only the faults, and the end of the file, are left to simulate.
struct CopiedPages {
    file: SimFile,
    base: usize,
}

impl Residency for CopiedPages {
    fn make_resident(&self, slice: Bytes) -> DiskFuture<()> {
        let end = match slice.len() {
            0 => 0, // an empty slice lies at no position of the map
            len => (slice.as_ptr().addr() - self.base + len) as u64,
        };
        self.file.start(Operation::MakeResident, move |world, inode| {
            // A real map ends with the file's last page.
            let pages_end = world.file(inode)?.content.len().next_multiple_of(PAGE_BYTES);
            if end > pages_end { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        })
    }
}

fn open(world: &mut World, path: &Path, mode: OpenMode) -> io::Result<(InodeId, Rc<()>)> {
    let place = world.tree.place(path)?;
    let inode = match (world.tree.get(&place), mode) {
        (Some(_), OpenMode::CreateNew) => return Err(errno(libc::EEXIST)),
        (None, OpenMode::Existing) => return Err(errno(libc::ENOENT)),
        (Some(inode), _) => inode,
        (None, _) => create_file(world, &place),
    };
    Ok((inode, Rc::clone(&world.file(inode)?.opens)))
}

fn create_file(world: &mut World, place: &Place) -> InodeId {
    let inode = world.create_file();
    let change = world.next_change();
    world.tree.set(change, place, Some(inode));
    inode
}

fn create_dir_all(world: &mut World, path: &Path) -> io::Result<()> {
    let mut reached = PathBuf::new();
    for component in path.components() {
        reached.push(component);
        match world.tree.directory(&reached) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let place = world.tree.place(&reached)?;
                let (inode, change) = (world.new_inode(), world.next_change());
                world.tree.create_durable_dir(change, &place, inode);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes everything in a directory, deepest first.
fn empty_directory(world: &mut World, dir: InodeId) {
    let entries: Vec<(String, InodeId)> =
        world.tree.entries(dir).map(|(name, inode)| (name.clone(), inode)).collect();
    for (name, inode) in entries {
        empty_directory(world, inode);
        let change = world.next_change();
        world.tree.set(change, &Place { dir, name }, None);
    }
}

fn crashed() -> io::Error {
    io::Error::other(Crashed)
}
