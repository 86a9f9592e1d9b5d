//! A server in a process of its own, whose CPU time is read from outside.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::Sub;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// The kernel tells user space in hundredths of a second, whatever its own tick is (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of CPU time, all threads together.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// In the program.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

impl CpuTime {
    /// Both.
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

impl Sub for CpuTime {
    type Output = CpuTime;

    fn sub(self, before: CpuTime) -> CpuTime {
        CpuTime { user: self.user - before.user, system: self.system - before.system }
    }
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Runs `command` and finds where it listens in its first line on stdout.
    pub fn start(
        mut command: Command,
        address: impl FnOnce(&str) -> Option<SocketAddr>,
    ) -> anyhow::Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = address(line.trim()).with_context(|| format!("{program} said {line:?}"))?;
        Ok(Server { child, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has used so far.
    pub fn cpu_time(&self) -> io::Result<CpuTime> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the command in parentheses and may hold blanks itself.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
        let mut seconds = || match ticks.next() {
            Some(Ok(ticks)) => Ok(ticks / TICKS_PER_SECOND),
            _ => Err(io::Error::other("/proc/PID/stat is not as proc(5) says")),
        };
        Ok(CpuTime { user: seconds()?, system: seconds()? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process has ended before, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
