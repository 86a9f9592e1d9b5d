//! A broker's process: started here, measured from outside by what Linux tells of it (proc(5)), and
//! killed when dropped.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The kernel tells user space in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used since it began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU seconds in the program, its ended children included.
    pub(crate) user: f64,
    /// CPU seconds in the kernel, its ended children included.
    pub(crate) system: f64,
    /// Bytes it had the kernel write to a disk.
    pub(crate) disk_bytes: f64,
}

impl Usage {
    pub(crate) fn since(self, before: Usage) -> Usage {
        Usage {
            user: self.user - before.user,
            system: self.system - before.system,
            disk_bytes: self.disk_bytes - before.disk_bytes,
        }
    }

    pub(crate) fn cpu(self) -> f64 {
        self.user + self.system
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.user += other.user;
        self.system += other.system;
        self.disk_bytes += other.disk_bytes;
    }
}

/// A running broker.
#[derive(Debug)]
pub(crate) struct BrokerProcess {
    child: Child,
    address: SocketAddr,
    began: Instant,
}

impl BrokerProcess {
    /// Runs `command`, which is to listen on `address`; what it says goes into `log`.
    pub(crate) fn spawn(mut command: Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let log = File::create(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        Ok(BrokerProcess { child, address, began })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// When it was started.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn ensure_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the broker ended: {status}"),
            None => Ok(()),
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let stat = self.proc_file("stat")?;
        // The second field is the command in parentheses and may hold blanks itself.
        let (_, fields) = stat.rsplit_once(')').context("stat is not as proc(5) says")?;
        let ticks: Vec<f64> =
            fields.split_whitespace().skip(11).take(4).map_while(|it| it.parse().ok()).collect();
        let &[user, system, children_user, children_system] = ticks.as_slice() else {
            bail!("stat is not as proc(5) says");
        };
        let io = self.proc_file("io")?;
        Ok(Usage {
            user: (user + children_user) / TICKS_PER_SECOND,
            system: (system + children_system) / TICKS_PER_SECOND,
            disk_bytes: number_after(&io, "write_bytes:")?,
        })
    }

    /// The most memory it has had, in megabytes; pages of mapped files count.
    pub(crate) fn peak_rss_mb(&self) -> Result<f64> {
        Ok(number_after(&self.proc_file("status")?, "VmHWM:")? * 1024.0 / 1e6)
    }

    /// The memory it has now, in megabytes; pages of mapped files count.
    pub(crate) fn rss_mb(&self) -> Result<f64> {
        Ok(number_after(&self.proc_file("status")?, "VmRSS:")? * 1024.0 / 1e6)
    }

    /// The part of its memory that is its own, in megabytes: without pages of mapped files, which
    /// belong to the page cache.
    pub(crate) fn anonymous_mb(&self) -> Result<f64> {
        Ok(number_after(&self.proc_file("status")?, "RssAnon:")? * 1024.0 / 1e6)
    }

    fn proc_file(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.child.id());
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // Both fail only when the process has ended before, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// So many addresses on loopback that nobody listens on now, all different.
pub(crate) fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let bind = |_| TcpListener::bind(("127.0.0.1", 0));
    let listeners = (0..count).map(bind).collect::<Result<Vec<_>, _>>()?;
    Ok(listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}

/// The number after `name` at the start of a line.
fn number_after(text: &str, name: &str) -> Result<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next());
    Ok(number.with_context(|| format!("no {name}"))?.parse()?)
}
