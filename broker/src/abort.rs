//! Where the process must not go on.
//!
//! A panic in a connection's own code closes that connection. Inside a partition, its log or its
//! Raft group it may have left half a change behind, and the log's invariants are worth more than
//! one node's uptime: the process ends, and the next start recovers from disk. So does a failed
//! write or flush, after which the kernel may have forgotten what it was given.

use std::sync::OnceLock;

use tracing::error;

/// Many brokers live in this process, and one that must not go on takes only itself away. The
/// function is told on the broker's thread why.
static SIMULATED: OnceLock<fn(&str)> = OnceLock::new();

/// From now on whatever would end the process ends the task it happens in, for ever, and calls
/// `on_end`: a simulation treats the broker as dead.
pub(crate) fn simulate(on_end: fn(&str)) {
    // The first word counts: a process is one simulation.
    let _ = SIMULATED.set(on_end);
}

/// Exit status after a failed write or flush (`EX_IOERR` of sysexits.h).
const EXIT_IO_ERROR: i32 = 74;

/// Aborts the process if the scope it lives in unwinds.
pub(crate) struct AbortOnPanic(pub(crate) &'static str);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(on_end) = SIMULATED.get() {
                return on_end(self.0);
            }
            error!(scope = self.0, "panic inside a partition: the process stops");
            std::process::abort();
        }
    }
}

/// Ends the process at once because the disk failed it.
pub(crate) fn stop_process(why: &str) -> ! {
    error!(why, "the disk failed: the process stops");
    if let Some(on_end) = SIMULATED.get() {
        on_end(why);
        std::panic::resume_unwind(Box::new(why.to_owned()));
    }
    std::process::exit(EXIT_IO_ERROR)
}
