//! The data directory: whose it is, and that only one process uses it.
//!
//! `LOCK` is held as long as the process lives; the kernel lets go of it however the process
//! ends. `node.json` says which node the directory belongs to. This runs once, before anything is
//! served, so it uses blocking calls.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disk::{parent_of, sync_dir};

/// The format of the directory that this version writes, and the newest it reads.
pub const FORMAT: u32 = 1;

const LOCK_NAME: &str = "LOCK";
const NODE_NAME: &str = "node.json";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("{path} is in use by {holder}; stop it, or give this node another directory",
        path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that holds the lock, as far as it said.
        holder: Holder,
    },
    /// It was written by a later version.
    #[error("{path} has format {format}, but this version reads up to {FORMAT}; \
        run the version that wrote it, or a later one", path = path.display())]
    NewerFormat {
        /// `node.json`.
        path: PathBuf,
        /// The format it names.
        format: u64,
    },
    /// It belongs to another node.
    #[error("{path} belongs to node {found}, but this node is configured as {configured}; start \
        it as node {found}, or give this node a directory of its own", path = path.display())]
    OtherNode {
        /// `node.json`.
        path: PathBuf,
        /// The node it names.
        found: i32,
        /// The node that wanted it.
        configured: i32,
    },
    /// It belongs to another cluster.
    #[error("{path} belongs to cluster {found}, not to {wanted}; a node that is to change \
        clusters begins with an empty directory", path = path.display())]
    OtherCluster {
        /// `node.json`.
        path: PathBuf,
        /// The cluster it names.
        found: String,
        /// The cluster that the node was to join.
        wanted: String,
    },
    /// `node.json` is not what was written.
    #[error("{path} cannot be understood: {source}", path = path.display())]
    Unreadable {
        /// `node.json`.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file or the directory itself could not be made, read or written.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Who holds a locked directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The process with this id.
    Process(u32),
    /// A process that has not said which.
    Unknown,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Holder::Process(id) => write!(formatter, "process {id}"),
            Holder::Unknown => formatter.write_str("another process"),
        }
    }
}

/// A data directory that this process owns.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    node: Node,
    /// Locked; the lock goes with the descriptor.
    _lock: File,
}

/// A broker that was there when the cluster was formed, and votes in its controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founder {
    /// Its id.
    pub node: i32,
    /// Its data directory's own identity.
    pub disk: Uuid,
    /// Where the other brokers reached it then, as `host:port`.
    pub address: String,
}

/// What `node.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Node {
    format: u32,
    node_id: i32,
    /// Null until the node has joined a cluster.
    cluster_id: Option<String>,
    /// Made up when the directory was, so that a disk put back empty or swapped is noticed.
    directory_id: Uuid,
    /// Who founded the cluster; missing in a directory of a broker that founded one alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    voters: Vec<Founder>,
}

/// Read first: a later format may have changed everything else.
#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

impl DataDir {
    /// Locks `path` for node `node_id`, creating it if it is missing.
    ///
    /// A new directory is called `new_directory_id`; an existing one keeps its own.
    pub fn open(path: &Path, node_id: i32, new_directory_id: Uuid) -> Result<Self, DataDirError> {
        create(path).map_err(io_error(path))?;
        let lock = lock(path)?;
        let node = match read_node(&path.join(NODE_NAME))? {
            Some(node) => node,
            None => {
                let node = Node {
                    format: FORMAT,
                    node_id,
                    cluster_id: None,
                    directory_id: new_directory_id,
                    voters: Vec::new(),
                };
                write_node(path, &node)?;
                node
            }
        };
        if node.node_id != node_id {
            let path = path.join(NODE_NAME);
            return Err(DataDirError::OtherNode { path, found: node.node_id, configured: node_id });
        }
        Ok(DataDir { path: path.to_path_buf(), node, _lock: lock })
    }

    /// Records that the node belongs to `cluster_id`, which `voters` founded; an error if it
    /// belongs to another. What was recorded once stays as it is.
    pub fn join_cluster(
        &mut self,
        cluster_id: &str,
        voters: &[Founder],
    ) -> Result<(), DataDirError> {
        match &self.node.cluster_id {
            Some(found) if found == cluster_id => return Ok(()),
            Some(found) => {
                return Err(DataDirError::OtherCluster {
                    path: self.path.join(NODE_NAME),
                    found: found.clone(),
                    wanted: cluster_id.to_owned(),
                });
            }
            None => {}
        }
        let joined = Node {
            cluster_id: Some(cluster_id.to_owned()),
            voters: voters.to_vec(),
            ..self.node.clone()
        };
        write_node(&self.path, &joined)?;
        self.node = joined;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster the node has joined.
    pub fn cluster_id(&self) -> Option<&str> {
        self.node.cluster_id.as_deref()
    }

    /// Who founded the cluster, as far as that is recorded. Nobody if the node founded it alone
    /// before founders were recorded.
    pub fn voters(&self) -> &[Founder] {
        &self.node.voters
    }

    /// The directory's own identity, for as long as it is not emptied.
    pub fn directory_id(&self) -> Uuid {
        self.node.directory_id
    }
}

/// Creates the directory durably.
fn create(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        std::fs::create_dir_all(path)?;
        sync_dir(parent_of(path))?;
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join(LOCK_NAME);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false) // it may be another process's, whose id we want to read
        .open(&path)
        .map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = holder(&mut file);
            return Err(DataDirError::InUse { path: dir.to_path_buf(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(io_error(&path)(source)),
    }
    file.set_len(0).map_err(io_error(&path))?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(io_error(&path))?;
    Ok(file)
}

/// Whoever holds the lock writes its id right after taking it; best effort.
fn holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(20).read_to_string(&mut text));
    match (read, text.trim().parse()) {
        (Ok(_), Ok(id)) => Holder::Process(id),
        _ => Holder::Unknown,
    }
}

fn read_node(path: &Path) -> Result<Option<Node>, DataDirError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(path)(source)),
    };
    let unreadable = |source| DataDirError::Unreadable { path: path.to_path_buf(), source };
    let FormatOnly { format } = serde_json::from_slice(&text).map_err(unreadable)?;
    if format > u64::from(FORMAT) {
        return Err(DataDirError::NewerFormat { path: path.to_path_buf(), format });
    }
    serde_json::from_slice(&text).map(Some).map_err(unreadable)
}

/// Replaces `node.json`, durably and whole.
fn write_node(dir: &Path, node: &Node) -> Result<(), DataDirError> {
    let path = dir.join(NODE_NAME);
    let temporary = dir.join(format!("{NODE_NAME}.tmp"));
    let mut text = serde_json::to_string_pretty(node).expect("a node has only plain fields");
    text.push('\n');
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        sync_dir(dir)
    };
    write().map_err(io_error(&path))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_path_buf();
    move |source| DataDirError::Io { path, source }
}

#[cfg(test)]
mod tests;
