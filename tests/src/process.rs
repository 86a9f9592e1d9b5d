//! A broker in a process of its own, which can be killed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::wire::Wire;

/// A running broker process; killed when dropped.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    address: SocketAddr,
    admin_address: SocketAddr,
    stderr: File,
}

/// A broker process that does not serve yet: it may wait for others. Killed when dropped.
#[derive(Debug)]
pub struct StartingBroker {
    /// Until it serves.
    child: Option<Child>,
    stderr: File,
}

impl BrokerProcess {
    /// Runs `binary serve` on `data_dir` with `settings`, which are written as after `--set`.
    /// Returns when it leads its partitions, or with what it said on stderr if it ended instead.
    ///
    /// # Panics
    /// If the process cannot be run, or announces something else than a broker does.
    pub fn start(
        binary: &str,
        data_dir: &Path,
        settings: &[(&str, &str)],
    ) -> Result<BrokerProcess, String> {
        let set =
            settings.iter().flat_map(|(key, value)| ["--set".into(), format!("{key}={value}")]);
        Self::start_with(binary, data_dir, &set.collect::<Vec<_>>())
    }

    /// The same with any arguments.
    ///
    /// # Panics
    /// As [`BrokerProcess::start`].
    pub fn start_with(
        binary: &str,
        data_dir: &Path,
        arguments: &[impl AsRef<OsStr>],
    ) -> Result<BrokerProcess, String> {
        let mut command = Command::new(binary);
        command.args(["--output", "json", "serve", "--listen", "127.0.0.1:0"]);
        command.args(["--admin-listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
        command.args(arguments);
        StartingBroker::spawn(command).wait()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page that Prometheus reads.
    ///
    /// # Panics
    /// If the admin server does not answer with it.
    pub fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.admin_address).expect("the admin server listens");
        let request = "GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("the request is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer is text");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }

    /// Whether the process has ended by itself.
    ///
    /// # Panics
    /// If the system does not say.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked after").is_some()
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A new connection to it.
    ///
    /// # Panics
    /// If the broker takes none.
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address).expect("the broker takes connections")
    }

    /// What it has said on stderr so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// The file it writes to on stderr, to be read with [`text`] when the process has ended.
    ///
    /// # Panics
    /// If this process may open no more files.
    pub fn stderr_file(&self) -> File {
        self.stderr.try_clone().expect("a second handle")
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to stop (SIGTERM), and returns how it ended.
    ///
    /// # Panics
    /// If it cannot be asked.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.child.wait().expect("the process can be waited for")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If that fails.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: sends a signal to a child that has not been waited for, so the id is still its.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    fn end(&mut self) {
        // Both fail only when the process has ended before, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl StartingBroker {
    /// Runs a command that is to be a broker, which announces itself in JSON.
    ///
    /// # Panics
    /// If the process cannot be run.
    pub fn spawn(mut command: Command) -> StartingBroker {
        // A file and not a pipe, so that nobody must read along.
        let stderr = tempfile::tempfile().expect("a temporary file");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(stderr.try_clone().expect("a second handle"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        StartingBroker { child: Some(child), stderr }
    }

    /// What it has said on stderr so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until it serves, or returns what it said on stderr if it ended instead.
    ///
    /// # Panics
    /// If it announces something else than a broker does.
    pub fn wait(mut self) -> Result<BrokerProcess, String> {
        let child = self.child.as_mut().expect("it has been started and not waited for");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
        if line.is_empty() {
            child.wait().expect("the process can be waited for");
            return Err(text(&self.stderr));
        }
        let announced: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        let address = |of: &str| {
            let address = announced[of].as_str().and_then(|address| address.parse().ok());
            address.unwrap_or_else(|| panic!("no address of {of} in {line}"))
        };
        let (address, admin_address) = (address("clients"), address("admin"));
        let child = self.child.take().expect("it has been started and not waited for");
        let stderr = self.stderr.try_clone().expect("a second handle");
        Ok(BrokerProcess { child, address, admin_address, stderr })
    }
}

impl Drop for StartingBroker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// The whole file, read without moving the position at which the child writes.
///
/// # Panics
/// If it cannot be read.
pub fn text(file: &File) -> String {
    let len = file.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0).expect("a file of this length");
    String::from_utf8_lossy(&bytes).into_owned()
}
