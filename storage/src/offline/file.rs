//! A plain file behind the disk's trait, for reading only.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::ready;

use crate::disk::{DiskFile, DiskFuture, Mapping};

/// Opens a file that may be missing.
pub(super) fn open(path: &Path) -> io::Result<Option<Rc<dyn DiskFile>>> {
    match File::open(path) {
        Ok(file) => Ok(Some(Rc::new(PlainFile(file)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first bytes of a file, fewer if it is shorter.
pub(super) fn read_start(path: &Path, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

struct PlainFile(File);

impl PlainFile {
    fn read(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let left = self.0.metadata()?.len().saturating_sub(position);
        let mut bytes = BytesMut::zeroed(len.min(usize::try_from(left).unwrap_or(usize::MAX)));
        self.0.read_exact_at(&mut bytes, position)?;
        Ok(bytes.freeze())
    }
}

fn refuse<T: 'static>() -> DiskFuture<T> {
    ready(Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem))).boxed_local()
}

impl DiskFile for PlainFile {
    fn len(&self) -> DiskFuture<u64> {
        ready(self.0.metadata().map(|metadata| metadata.len())).boxed_local()
    }

    fn read_at(&self, position: u64, len: usize) -> DiskFuture<Bytes> {
        ready(self.read(position, len)).boxed_local()
    }

    fn write_at(&self, _position: u64, _buffers: Vec<Bytes>) -> DiskFuture<()> {
        refuse()
    }

    fn sync_data(&self) -> DiskFuture<()> {
        refuse()
    }

    fn sync_all(&self) -> DiskFuture<()> {
        refuse()
    }

    fn allocate(&self, _len: u64) -> DiskFuture<()> {
        refuse()
    }

    fn truncate(&self, _len: u64) -> DiskFuture<()> {
        refuse()
    }

    fn map(&self, _len: u64) -> DiskFuture<Mapping> {
        refuse()
    }
}
