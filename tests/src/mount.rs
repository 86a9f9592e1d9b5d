//! A filesystem of its own on a loop device, whose power can be cut and which can be filled.
//!
//! Cutting the power is the filesystem's own shutdown request: from then on nothing reaches the
//! image any more, and what the page cache held is gone after the next mount. Killing a process
//! proves nothing of the kind.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::wait::eventually;

/// `FS_IOC_SHUTDOWN`: ext4, xfs and f2fs know it by this number.
const SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
/// Flush neither data nor journal: what a power cut does.
const NO_FLUSH: u32 = 2;

/// What to format the image with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filesystem {
    /// ext4, without blocks reserved for root.
    Ext4,
    /// XFS, which wants at least 300 MiB.
    Xfs,
}

/// A mounted filesystem; unmounted and detached when dropped.
#[derive(Debug)]
pub struct LoopMount {
    filesystem: Filesystem,
    device: String,
    is_mounted: bool,
    dir: TempDir,
}

impl LoopMount {
    /// Makes and mounts a filesystem of `mebibytes`. An error says what this machine lacks.
    pub fn new(filesystem: Filesystem, mebibytes: u64) -> Result<LoopMount, String> {
        // SAFETY: takes nothing and always succeeds.
        if unsafe { libc::geteuid() } != 0 {
            return Err("mounting needs root".to_owned());
        }
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = dir.path().join("image");
        let sized = File::create(&image).and_then(|file| file.set_len(mebibytes << 20));
        sized.map_err(|error| error.to_string())?;
        let image = image.to_str().expect("a temporary directory has a plain name");
        match filesystem {
            Filesystem::Ext4 => run("mkfs.ext4", &["-q", "-F", "-m", "0", image])?,
            Filesystem::Xfs => run("mkfs.xfs", &["-q", "-f", image])?,
        };
        std::fs::create_dir(dir.path().join("mount")).map_err(|error| error.to_string())?;
        let device = run("losetup", &["--find", "--show", image])?.trim().to_owned();
        let mut mount = LoopMount { filesystem, device, is_mounted: false, dir };
        mount.mount()?;
        Ok(mount)
    }

    /// Where the filesystem is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    /// Loses everything that is not on stable storage. Files stay open, but reading and writing
    /// fails from now on.
    ///
    /// # Panics
    /// If the filesystem refuses.
    pub fn cut_power(&self) {
        let root = File::open(self.path()).expect("the mount point");
        let flag = NO_FLUSH;
        // SAFETY: the descriptor is open, and the request reads one 32-bit number.
        let outcome = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const flag) };
        assert_eq!(outcome, 0, "shutdown: {}", io::Error::last_os_error());
    }

    /// Mounts again what was cut off, as after a reboot. No process may use it any more; the kernel
    /// may take a moment after the last one's end to let go of what its io_uring had open.
    ///
    /// # Panics
    /// If that fails.
    pub fn restore_power(&mut self) {
        eventually("nothing is open any more", || self.unmount().ok());
        self.mount().expect("the filesystem recovers");
    }

    fn mount(&mut self) -> Result<(), String> {
        let kind = match self.filesystem {
            Filesystem::Ext4 => "ext4",
            Filesystem::Xfs => "xfs",
        };
        run("mount", &["-t", kind, &self.device, plain(&self.path())])?;
        self.is_mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        run("umount", &[plain(&self.path())])?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        if self.is_mounted
            && let Err(error) = run("umount", &["--lazy", plain(&self.path())])
        {
            eprintln!("{error}");
        }
        if let Err(error) = run("losetup", &["--detach", &self.device]) {
            eprintln!("{error}");
        }
    }
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("a temporary directory has a plain name")
}

/// Runs a program and returns what it printed, or why it failed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), stderr.trim()))
}
