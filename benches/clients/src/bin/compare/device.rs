//! The disk under the data: how often it was told to flush, and emptying the page cache above it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// In the kernel's `Documentation/block/stat.rst` the sixteenth value counts completed flushes.
const FLUSHES: usize = 15;

/// The block device under a directory.
#[derive(Debug)]
pub(crate) struct Device {
    stat: PathBuf,
}

impl Device {
    /// None where there is none to be seen, or one that has no cache to flush.
    pub(crate) fn under(dir: &Path) -> Result<Option<Self>> {
        let number = fs::metadata(dir)?.dev();
        // As makedev(3) puts them together.
        let major = ((number >> 8) & 0xfff) | ((number >> 32) & !0xfff);
        let minor = (number & 0xff) | ((number >> 12) & !0xff);
        let block = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        let Ok(mut block) = block.canonicalize() else { return Ok(None) };
        // Flushes are counted for the disk as a whole.
        if block.join("partition").exists() {
            block.pop();
        }
        let cache = fs::read_to_string(block.join("queue/write_cache"));
        let is_told = cache.is_ok_and(|cache| cache.trim() == "write back");
        Ok(is_told.then(|| Device { stat: block.join("stat") }))
    }

    /// How many flushes it has completed, whoever asked for them.
    pub(crate) fn flushes(&self) -> Result<u64> {
        let stat = fs::read_to_string(&self.stat)?;
        let value = stat.split_whitespace().nth(FLUSHES).context("no count of flushes")?;
        Ok(value.parse()?)
    }
}

/// Writes back everything that is dirty, so that nobody pays for it later.
pub(crate) fn sync() -> Result<()> {
    ensure!(Command::new("sync").status()?.success(), "sync failed");
    Ok(())
}

/// Whether the page cache could be emptied, which only root may.
pub(crate) fn drop_page_cache() -> Result<bool> {
    sync()?;
    Ok(fs::write("/proc/sys/vm/drop_caches", "1").is_ok())
}

/// Has the machine touch so many bytes of memory as page cache, and gives them back.
pub(crate) fn warm_memory(dir: &Path, bytes: u64) -> Result<()> {
    let mut file = tempfile::tempfile_in(dir)?;
    std::io::copy(&mut std::io::Read::take(std::io::repeat(7), bytes), &mut file)?;
    Ok(())
}
