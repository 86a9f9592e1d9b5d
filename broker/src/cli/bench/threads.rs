//! The threads that a benchmark's connections are spread over: one for each core, each with an
//! event loop of its own.

use std::thread;

use tokio::time::Instant;

use super::cpu::CpuTime;
use super::report::Report;
use super::tally::Tally;
use crate::cli::failure::Failure;

/// The connections of one thread, out of those of all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// This thread has the connections `thread`, `thread + threads`, and so on.
    pub(super) thread: usize,
    pub(super) threads: usize,
    /// How many connections all threads have together.
    pub(super) connections: usize,
}

impl Share {
    /// The numbers of this thread's connections.
    pub(super) fn numbers(self) -> impl Iterator<Item = usize> {
        (self.thread..self.connections).step_by(self.threads)
    }
}

/// Runs `work` on each thread with its share of the connections, and reports what all of them did
/// together.
pub(super) fn measure<W>(
    connections: usize,
    work: impl Fn(Share) -> W + Sync,
) -> Result<Report, Failure>
where
    W: Future<Output = Result<Tally, Failure>>,
{
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(connections).max(1);
    let tallies: Vec<Result<Tally, Failure>> = thread::scope(|scope| {
        let work = &work;
        let start = |thread| {
            let share = Share { thread, threads, connections };
            scope.spawn(move || crate::cli::on_runtime(work(share)))
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        let gone = |_| Err(Failure::Failed("a thread of the benchmark panicked".into()));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(gone)).collect()
    });
    let (end, cpu) = (Instant::now(), CpuTime::of_this_process());
    let mut total: Option<Tally> = None;
    for tally in tallies {
        let tally = tally?;
        match &mut total {
            Some(total) => total.add(&tally),
            None => total = Some(tally),
        }
    }
    let total = total.unwrap_or_else(Tally::begin);
    Ok(Report::new(connections, &total, end, cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_has_one_thread() {
        let share = |thread| Share { thread, threads: 3, connections: 8 };
        let mut all: Vec<usize> = (0..3).flat_map(|thread| share(thread).numbers()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
    }
}
