//! What the kernel says of this process, read from `/proc` (see proc(5)).
//!
//! Elsewhere than on Linux, and for a file that cannot be read, the figure is left out.

use std::fs;

/// The kernel counts CPU time for user space in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures that Prometheus expects of every process.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
}

impl Process {
    /// The figures of this process, now.
    pub(super) fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        Self {
            cpu_seconds: cpu_seconds(&text("/proc/self/stat")),
            resident_bytes: number_after(&status, "VmRSS:").map(|kib| kib * 1024),
            threads: number_after(&status, "Threads:"),
            // Reading the directory opens it: one descriptor that is gone again.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| (entries.count() as u64).saturating_sub(1)),
            max_fds: number_after(&text("/proc/self/limits"), "Max open files"),
        }
    }
}

/// The first number after `label` at the beginning of a line.
fn number_after(text: &str, label: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system time of `/proc/self/stat`. The second field is the command in parentheses and
/// may hold blanks and parentheses itself, so fields are counted from its end.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_what_the_kernel_writes() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
        let status = "Name:\tthalweg\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        assert_eq!(number_after(status, "VmRSS:"), Some(2048));
        assert_eq!(number_after(status, "Threads:"), Some(3));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(number_after(limits, "Max open files"), Some(1024));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_all_of_them() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(100_000), "{process:?}");
        assert!(process.threads >= Some(1) && process.open_fds >= Some(3), "{process:?}");
        assert!(process.cpu_seconds.is_some() && process.max_fds.is_some(), "{process:?}");
    }
}
