//! Where the brokers of `thalweg dev` keep their data and listen.
//!
//! Brokers know each other by their node addresses, so a directory that is used again is used with
//! the same ports: they stand in its `dev.json`.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::failure::Failure;

const FILE_NAME: &str = "dev.json";

/// What lies between a broker's port for clients, for other brokers, and for operators.
const PORTS_APART: u16 = 100;

/// Where free ports are looked for. The kernel's own choice, from 32,768 on, may be the near end
/// of somebody's connection when the directory is used again.
const FREE_PORTS: Range<u16> = 20_000..32_000;

/// All brokers of one cluster.
pub(super) struct Layout {
    pub(super) dir: PathBuf,
    pub(super) brokers: Vec<Ports>,
    /// Whether the directory goes when this value does.
    pub(super) is_temporary: bool,
}

/// Where one broker listens, always on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ports {
    pub(super) clients: u16,
    pub(super) node: u16,
    pub(super) admin: u16,
}

impl Layout {
    /// The layout of `dir` as it was last time, or a new one for `count` brokers. Without a
    /// directory there is a temporary one.
    pub(super) fn prepare(
        dir: Option<&Path>,
        count: u16,
        base_port: Option<u16>,
    ) -> Result<Self, Failure> {
        let is_temporary = dir.is_none();
        let dir = dir.map_or_else(temporary, Path::to_path_buf);
        let failed = |source| Failure::io(format!("cannot use {}", dir.display()), source);
        let dir = std::path::absolute(&dir).map_err(failed)?;
        std::fs::create_dir_all(&dir).map_err(failed)?;
        let mut layout = Self { dir, brokers: Vec::new(), is_temporary };
        layout.brokers = layout.last_time()?.map_or_else(|| new_ports(count, base_port), Ok)?;
        if layout.brokers.len() != usize::from(count) {
            return Err(Failure::Usage(format!(
                "{} holds a cluster of {} brokers: say --nodes {}, or name another directory",
                layout.dir.display(),
                layout.brokers.len(),
                layout.brokers.len(),
            )));
        }
        layout.write()?;
        Ok(layout)
    }

    fn last_time(&self) -> Result<Option<Vec<Ports>>, Failure> {
        let path = self.dir.join(FILE_NAME);
        let failed = |source| Failure::io(format!("cannot read {}", path.display()), source);
        match std::fs::read(&path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).map_err(|e| failed(e.into()))?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn write(&self) -> Result<(), Failure> {
        let path = self.dir.join(FILE_NAME);
        let text = serde_json::to_vec_pretty(&self.brokers).map_err(std::io::Error::from);
        text.and_then(|text| std::fs::write(&path, text))
            .map_err(|source| Failure::io(format!("cannot write {}", path.display()), source))
    }

    /// The node addresses of all brokers, as a list for `--seeds`.
    pub(super) fn seeds(&self) -> String {
        let seeds = self.brokers.iter().map(|ports| format!("127.0.0.1:{}", ports.node));
        seeds.collect::<Vec<_>>().join(",")
    }

    /// What a client is given to find the cluster.
    pub(super) fn bootstrap_servers(&self) -> String {
        let servers = self.brokers.iter().map(|ports| format!("127.0.0.1:{}", ports.clients));
        servers.collect::<Vec<_>>().join(",")
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("thalweg-dev-{}", uuid::Uuid::new_v4()))
}

fn new_ports(count: u16, base_port: Option<u16>) -> Result<Vec<Ports>, Failure> {
    match base_port {
        Some(base) => consecutive(base, count).ok_or_else(|| {
            let highest = u16::MAX - 2 * PORTS_APART - (count - 1);
            Failure::Usage(format!("--base-port can be {highest} at most"))
        }),
        None => {
            free(count).map_err(|source| Failure::io("cannot find free ports on 127.0.0.1", source))
        }
    }
}

fn consecutive(base: u16, count: u16) -> Option<Vec<Ports>> {
    let ports = |index| {
        let clients = base.checked_add(index)?;
        let node = clients.checked_add(PORTS_APART)?;
        Some(Ports { clients, node, admin: node.checked_add(PORTS_APART)? })
    };
    (0..count).map(ports).collect()
}

/// Ports that nobody listens on at the moment. All are held until all are found.
fn free(count: u16) -> std::io::Result<Vec<Ports>> {
    let mut held = Vec::new();
    let mut port = || {
        let listener = listen_anywhere()?;
        let port = listener.local_addr()?.port();
        held.push(listener);
        Ok::<_, std::io::Error>(port)
    };
    (0..count).map(|_| Ok(Ports { clients: port()?, node: port()?, admin: port()? })).collect()
}

/// A socket on some port of [`FREE_PORTS`], drawn at random; or on any at all, if those drawn are
/// taken.
fn listen_anywhere() -> std::io::Result<TcpListener> {
    for _ in 0..32 {
        let drawn = uuid::Uuid::new_v4().as_u128() % FREE_PORTS.len() as u128;
        let port = u16::try_from(drawn).ok().and_then(|drawn| FREE_PORTS.start.checked_add(drawn));
        if let Some(port) = port
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        {
            return Ok(listener);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_ports_and_a_temporary_one_goes() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("cluster");
        let prepare = |count| Layout::prepare(Some(&path), count, None);
        let ports = prepare(3).expect("free ports").brokers.clone();
        assert_eq!(prepare(3).expect("as last time").brokers, ports);
        let Err(Failure::Usage(reason)) = prepare(2) else { panic!("another count") };
        assert!(reason.contains("--nodes 3"), "{reason}");

        let temporary = Layout::prepare(None, 1, None).expect("free ports");
        let dir = temporary.dir.clone();
        assert!(dir.is_dir());
        drop(temporary);
        assert!(!dir.exists() && path.exists());
    }

    #[test]
    fn a_base_port_leaves_room_for_all() {
        let ports = consecutive(9092, 3).expect("there is room");
        assert_eq!(ports.last(), Some(&Ports { clients: 9094, node: 9194, admin: 9294 }));
        assert!(consecutive(65_333, 3).is_some());
        let Err(Failure::Usage(reason)) = new_ports(3, Some(65_334)) else { panic!("no room") };
        assert!(reason.contains("65333"), "{reason}");
    }
}
