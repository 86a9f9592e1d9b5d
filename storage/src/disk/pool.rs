//! A few threads that run blocking disk calls for one shard.
//!
//! Not tokio's blocking pool: these threads belong to one disk, are as many as its operator
//! chose, and finish everything queued before the disk is gone. The queue needs no bound of its
//! own: every job is an operation that some caller awaits, and callers bound what they start.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::{DiskFuture, DiskStats};

type Job = Box<dyn FnOnce() + Send>;

/// The threads; dropping it waits for every job that was started.
pub(super) struct Pool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    stats: Arc<DiskStats>,
}

impl Pool {
    pub(super) fn new(threads: usize, stats: Arc<DiskStats>) -> io::Result<Self> {
        assert!(threads > 0, "a disk needs at least one thread");
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..threads)
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new().name("disk".into()).spawn(move || work(&queue))
            })
            .collect::<io::Result<_>>()?;
        Ok(Pool { jobs: Some(jobs), threads, stats })
    }

    pub(super) fn stats(&self) -> &Arc<DiskStats> {
        &self.stats
    }

    /// Starts `job` at once; the future only waits for its result.
    pub(super) fn run<T, F>(&self, job: F) -> DiskFuture<T>
    where
        T: Send + 'static,
        F: FnOnce() -> io::Result<T> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let stats = Arc::clone(&self.stats);
        stats.on_started();
        stats.on_submission();
        let job: Job = Box::new(move || {
            let outcome = job();
            stats.on_completed();
            // Nobody waits any more when the future was dropped; the job has run all the same.
            let _ = reply.send(outcome);
        });
        let jobs = self.jobs.as_ref().expect("taken only by drop");
        // With every thread gone the job and its reply are dropped, which the future reports.
        let _ = jobs.send(job);
        Box::pin(async move { result.await.unwrap_or_else(|_| Err(worker_lost())) })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            // A job that panicked has already failed its caller.
            let _ = thread.join();
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // Held while waiting: one thread waits on the channel, the others on the lock.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

fn worker_lost() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the disk thread serving this operation died")
}
