//! A folder of files, and what disks do to them.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::disk::{Disk, OpenMode};

/// The files of a folder, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Bytes that one act of damage takes from the input.
const ACT_LEN: usize = 7;
/// A file grows by no more than this at once.
const GROWTH_MAX: usize = 8192;

/// Does to `files` what `input` says, seven bytes an act:
///
/// | byte | meaning                                                     |
/// |-----:|-------------------------------------------------------------|
/// |    0 | what happens                                                |
/// |    1 | to which file                                               |
/// |  2–3 | where in it, wrapping at its end                            |
/// |  4–5 | how many bytes, or from where, as the act needs             |
/// |    6 | which bits, or which other file                             |
pub fn damage(files: &mut Files, input: &[u8]) {
    for act in input.as_chunks::<ACT_LEN>().0 {
        let [kind, file, position @ .., other] = act;
        let Some(name) = pick(files, *file) else { return };
        let number = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
        let [position, amount] =
            [number(position[0], position[1]), number(position[2], position[3])];
        let other_name = pick(files, *other).unwrap_or_default();
        let source = files.get(&other_name).cloned().unwrap_or_default();
        let content = files.get_mut(&name).expect("just picked");
        let position = position % (content.len() + 1);
        let end = content.len().min(position + amount);
        match kind % 8 {
            // Bits flip.
            0 | 1 => content.iter_mut().skip(position).take(1).for_each(|byte| *byte ^= other),
            // The file loses its end, or a length is not updated.
            2 => content.truncate(position),
            // Sectors that never reached the disk read as zeroes.
            3 => content[position..end].fill(0),
            // The file was allocated, and not written.
            4 => content.resize(content.len() + amount.min(GROWTH_MAX), 0),
            // A write went to the wrong place, or an old block came back.
            5 => misdirect(content, position, &source, amount),
            // A file is lost.
            6 => drop(files.remove(&name)),
            // Two files change places.
            _ => {
                let mine = std::mem::replace(content, source);
                files.insert(other_name, mine);
            }
        }
    }
}

fn misdirect(content: &mut [u8], position: usize, source: &[u8], from: usize) {
    const SECTOR: usize = 512;
    let from = from % (source.len() + 1);
    let moved = &source[from..source.len().min(from + SECTOR)];
    for (byte, moved) in content.iter_mut().skip(position).zip(moved) {
        *byte = *moved;
    }
}

fn pick(files: &Files, number: u8) -> Option<String> {
    files.keys().nth(usize::from(number) % files.len().max(1)).cloned()
}

/// A disk on which these files lie in `dir`, and nothing else.
pub async fn disk_with(files: &Files, dir: &Path) -> SimDisk {
    let disk = SimDisk::new(0);
    disk.create_dir_all(dir).await.expect("an empty disk");
    for (name, content) in files {
        let file = disk.open(&dir.join(name), OpenMode::CreateNew).await.expect("a new name");
        file.write_at(0, vec![Bytes::copy_from_slice(content)]).await.expect("space");
        file.sync_all().await.expect("a sound disk");
    }
    disk.sync_dir(dir).await.expect("a sound disk");
    disk
}

/// The files that lie in `dir`.
pub async fn files_of(disk: &SimDisk, dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in disk.list_dir(dir).await.expect("a folder") {
        let file = disk.open(&dir.join(&entry.name), OpenMode::Existing).await.expect("a file");
        let len = usize::try_from(file.len().await.expect("a length")).expect("a small file");
        let content = file.read_at(0, len).await.expect("the bytes");
        files.insert(entry.name, content.to_vec());
    }
    files
}
