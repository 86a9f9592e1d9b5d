//! Simulated names: each directory as programs see it and as it is on the medium.
//!
//! Between the two lies a list of name changes in the order they were made. A change is atomic,
//! and one that survives takes with it the earlier changes of the same names, as a journaling
//! filesystem does; otherwise each survives by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};

use super::survival::Survival;

pub(super) type InodeId = u64;

/// The root directory.
pub(super) const ROOT: InodeId = 0;

/// A name in a directory and what it stands for after a change.
#[derive(Clone, Debug)]
struct Edit {
    dir: InodeId,
    name: String,
    to: Option<InodeId>,
}

/// Edits that happen together: one, or the two of a rename.
struct NameChange {
    number: u64,
    edits: Vec<Edit>,
}

#[derive(Default)]
struct Directory {
    now: BTreeMap<String, InodeId>,
    durable: BTreeMap<String, InodeId>,
}

/// All directories. Files are known by their inode only.
pub(super) struct Tree {
    directories: BTreeMap<InodeId, Directory>,
    unsynced: Vec<NameChange>,
}

/// A name and the directory it is or would be in.
pub(super) struct Place {
    pub(super) dir: InodeId,
    pub(super) name: String,
}

impl Tree {
    pub(super) fn new() -> Self {
        Tree { directories: BTreeMap::from([(ROOT, Directory::default())]), unsynced: Vec::new() }
    }

    pub(super) fn is_dir(&self, inode: InodeId) -> bool {
        self.directories.contains_key(&inode)
    }

    pub(super) fn get(&self, place: &Place) -> Option<InodeId> {
        self.directories.get(&place.dir)?.now.get(&place.name).copied()
    }

    /// The inode at `path`.
    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        names(path)?.iter().try_fold(ROOT, |dir, name| self.step(dir, name))
    }

    /// Where the last name of `path` belongs; its directory must exist.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let names = names(path)?;
        let (name, parents) = names.split_last().ok_or_else(|| errno(libc::EISDIR))?;
        let dir = parents.iter().try_fold(ROOT, |dir, name| self.step(dir, name))?;
        if !self.is_dir(dir) {
            return Err(errno(libc::ENOTDIR));
        }
        Ok(Place { dir, name: name.clone() })
    }

    /// The directory at `path`.
    pub(super) fn directory(&self, path: &Path) -> io::Result<InodeId> {
        let inode = self.find(path)?;
        if self.is_dir(inode) { Ok(inode) } else { Err(errno(libc::ENOTDIR)) }
    }

    pub(super) fn entries(&self, dir: InodeId) -> impl Iterator<Item = (&String, InodeId)> {
        self.directories.get(&dir).into_iter().flat_map(|dir| &dir.now).map(|(n, i)| (n, *i))
    }

    /// Makes `place` stand for `to`, or for nothing.
    pub(super) fn set(&mut self, number: u64, place: &Place, to: Option<InodeId>) {
        let edit = Edit { dir: place.dir, name: place.name.clone(), to };
        self.change(NameChange { number, edits: vec![edit] });
    }

    pub(super) fn rename(&mut self, number: u64, from: &Place, to: &Place) -> io::Result<()> {
        let inode = self.get(from).ok_or_else(|| errno(libc::ENOENT))?;
        match self.get(to) {
            Some(there) if there == inode => return Ok(()),
            Some(there) if self.is_dir(there) && !self.is_dir(inode) => {
                return Err(errno(libc::EISDIR));
            }
            Some(there) if !self.is_dir(there) && self.is_dir(inode) => {
                return Err(errno(libc::ENOTDIR));
            }
            Some(there) if self.entries(there).next().is_some() => {
                return Err(errno(libc::ENOTEMPTY));
            }
            _ => {}
        }
        let edits = vec![
            Edit { dir: from.dir, name: from.name.clone(), to: None },
            Edit { dir: to.dir, name: to.name.clone(), to: Some(inode) },
        ];
        self.change(NameChange { number, edits });
        Ok(())
    }

    /// Creates an empty directory whose name is durable at once.
    pub(super) fn create_durable_dir(&mut self, number: u64, place: &Place, inode: InodeId) {
        self.directories.insert(inode, Directory::default());
        self.set(number, place, Some(inode));
        let chosen = self.unsynced.iter().map(|change| change.number == number).collect();
        self.make_durable(chosen);
    }

    /// Makes the changes before `end` in `dir` durable.
    pub(super) fn sync(&mut self, dir: InodeId, end: u64) {
        let here = |change: &NameChange| change.edits.iter().any(|edit| edit.dir == dir);
        let chosen = self.unsynced.iter().map(|c| c.number < end && here(c)).collect();
        self.make_durable(chosen);
    }

    /// The power is cut: every unsynced change is found or not.
    pub(super) fn lose_power(&mut self, survival: &mut Survival) {
        let found = self.unsynced.iter().map(|c| survival.choose(&[c.number]).is_some()).collect();
        self.make_durable(found);
        self.unsynced.clear();
        for directory in self.directories.values_mut() {
            directory.now = directory.durable.clone();
        }
    }

    /// The change numbers at stake if the power fails now.
    pub(super) fn unsynced(&self) -> std::ops::Range<u64> {
        match (self.unsynced.first(), self.unsynced.last()) {
            (Some(first), Some(last)) => first.number..last.number + 1,
            _ => 0..0,
        }
    }

    /// The inodes that programs can reach by name.
    pub(super) fn reachable_now(&self) -> BTreeSet<InodeId> {
        self.reach(|directory| directory.now.values().copied().collect())
    }

    /// The inodes that a program or a power cut may still bring up.
    pub(super) fn reachable_ever(&self) -> BTreeSet<InodeId> {
        let mut found = self.reach(|directory| {
            directory.now.values().chain(directory.durable.values()).copied().collect()
        });
        let edits = self.unsynced.iter().flat_map(|change| &change.edits);
        found.extend(edits.filter_map(|edit| edit.to));
        found
    }

    /// Forgets directories that nothing can reach any more.
    pub(super) fn forget_unreachable(&mut self, reachable: &BTreeSet<InodeId>) {
        self.directories.retain(|inode, _| reachable.contains(inode));
    }

    fn change(&mut self, change: NameChange) {
        for edit in &change.edits {
            let directory = self.directories.get_mut(&edit.dir).expect("places are in directories");
            apply(&mut directory.now, edit);
        }
        self.unsynced.push(change);
    }

    /// Applies the chosen changes, and the earlier ones of the same names, to the medium.
    fn make_durable(&mut self, mut chosen: Vec<bool>) {
        let mut names: BTreeSet<(InodeId, &str)> = BTreeSet::new();
        for (change, chosen) in self.unsynced.iter().zip(&mut chosen).rev() {
            let same = |edit: &Edit| names.contains(&(edit.dir, edit.name.as_str()));
            *chosen |= change.edits.iter().any(same);
            if *chosen {
                names.extend(change.edits.iter().map(|edit| (edit.dir, edit.name.as_str())));
            }
        }
        let mut chosen = chosen.into_iter();
        let directories = &mut self.directories;
        self.unsynced.retain(|change| {
            let durable = chosen.next().expect("one choice for each change");
            if durable {
                for edit in &change.edits {
                    if let Some(directory) = directories.get_mut(&edit.dir) {
                        apply(&mut directory.durable, edit);
                    }
                }
            }
            !durable
        });
    }

    fn step(&self, dir: InodeId, name: &str) -> io::Result<InodeId> {
        let directory = self.directories.get(&dir).ok_or_else(|| errno(libc::ENOTDIR))?;
        directory.now.get(name).copied().ok_or_else(|| errno(libc::ENOENT))
    }

    fn reach(&self, links: impl Fn(&Directory) -> Vec<InodeId>) -> BTreeSet<InodeId> {
        let mut found = BTreeSet::from([ROOT]);
        let mut unvisited = vec![ROOT];
        while let Some(inode) = unvisited.pop() {
            let Some(directory) = self.directories.get(&inode) else { continue };
            unvisited.extend(links(directory).into_iter().filter(|inode| found.insert(*inode)));
        }
        found
    }
}

fn apply(entries: &mut BTreeMap<String, InodeId>, edit: &Edit) {
    match edit.to {
        Some(inode) => entries.insert(edit.name.clone(), inode),
        None => entries.remove(&edit.name),
    };
}

/// The names along a path. The simulated root is also its working directory.
fn names(path: &Path) -> io::Result<Vec<String>> {
    path.components()
        .filter(|component| !matches!(component, Component::RootDir | Component::CurDir))
        .map(|component| match component {
            Component::Normal(name) => name.to_str().map(str::to_owned),
            _ => None,
        })
        .map(|name| name.ok_or_else(|| errno(libc::EINVAL)))
        .collect()
}

pub(super) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
