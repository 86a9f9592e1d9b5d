//! What the fuzz targets share: files that a disk has damaged, and a runtime to read them with.
//!
//! An input is a list of things that disks do. Bytes are changed, lost, zeroed or put in the wrong
//! place, but never forged: no accident computes a checksum. So whatever is read afterwards must be
//! something that was once written.

mod damage;
mod runtime;

pub use damage::{Files, damage, disk_with, files_of};
pub use runtime::run;
