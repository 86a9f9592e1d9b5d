//! One broker of `thalweg dev`: a process of its own that never outlives the one that started it.
//!
//! It has a process group of its own, so that Ctrl-C in a terminal reaches only the parent, which
//! then stops all brokers in order. Two threads pass on what it prints.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio::sync::mpsc::Sender;

/// Something a broker did.
pub(super) enum Event {
    /// It printed a line on stdout.
    Said(usize, String),
    /// It printed a line on stderr.
    Logged(usize, String),
    /// It will print no more on one of the two.
    Closed(usize),
}

/// A broker's process.
pub(super) struct BrokerProcess {
    child: Child,
    /// Of its two pipes, how many are open.
    open: u8,
    /// What it last logged: the reason, if it has ended by itself.
    pub(super) last_logged: String,
}

impl BrokerProcess {
    /// Starts `command` as the broker `index`, which reports to `events`.
    pub(super) fn spawn(
        mut command: Command,
        index: usize,
        events: &Sender<Event>,
    ) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        die_with_parent(&mut command);
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let process = Self { child, open: 2, last_logged: String::new() };
        pass_on(stdout, index, Event::Said, events)?;
        pass_on(stderr, index, Event::Logged, events)?;
        Ok(process)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One of its pipes was closed: returns how the process ended, once both are.
    pub(super) fn on_closed(&mut self) -> io::Result<Option<ExitStatus>> {
        self.open = self.open.saturating_sub(1);
        if self.open > 0 { Ok(None) } else { self.child.wait().map(Some) }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.open == 0
    }

    /// Asks it to stop in order.
    pub(super) fn terminate(&self) {
        let Ok(pid) = libc::pid_t::try_from(self.child.id()) else { return };
        if !self.has_ended() {
            // SAFETY: a system call on a number. The process has not been waited for, so the
            // number is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
}

impl Drop for BrokerProcess {
    /// However the parent's work ends, nobody is left behind.
    fn drop(&mut self) {
        if !self.has_ended() {
            // What has ended meanwhile needs no signal.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn pass_on(
    pipe: Option<impl Read + Send + 'static>,
    index: usize,
    event: fn(usize, String) -> Event,
    events: &Sender<Event>,
) -> io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    let events = events.clone();
    let pass_on = move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        // A pipe that cannot be read says nothing more.
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if events.blocking_send(event(index, text)).is_err() {
                return;
            }
        }
        // Nobody to tell: the parent is ending.
        let _ = events.blocking_send(Event::Closed(index));
    };
    std::thread::Builder::new().name(format!("broker-{}", index + 1)).spawn(pass_on)?;
    Ok(())
}

/// Has the kernel kill the child when the thread that starts it ends. That must be the parent's
/// main thread.
#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let in_child = move || {
        // SAFETY: two system calls on numbers, allowed between fork and exec.
        let (set, parent_now) =
            unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        if u32::try_from(parent_now) != Ok(parent) {
            // It ended before the kernel was asked to watch it.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and takes no lock; it runs in the child alone.
    unsafe { command.pre_exec(in_child) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}
