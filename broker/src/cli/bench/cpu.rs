//! The CPU time of this process, as Linux tells it in `/proc/self/stat` (proc(5)).

use serde::Serialize;

/// Seconds of CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct CpuTime {
    pub(super) user: f64,
    pub(super) system: f64,
}

/// The kernel tells user space in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

impl CpuTime {
    /// What all threads have taken so far; nothing where there is no such file.
    pub(super) fn of_this_process() -> Option<Self> {
        parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    pub(super) fn since(self, before: CpuTime) -> CpuTime {
        CpuTime { user: self.user - before.user, system: self.system - before.system }
    }
}

/// The second field is the command in parentheses and may hold blanks and parentheses itself.
fn parse(stat: &str) -> Option<CpuTime> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some(CpuTime { user: seconds()?, system: seconds()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_are_found_behind_a_strange_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(parse(stat), Some(CpuTime { user: 2.5, system: 0.5 }));
        assert_eq!(parse("7 (a"), None);
    }
}
