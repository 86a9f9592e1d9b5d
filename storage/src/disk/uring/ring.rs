//! The ring of one shard: what waits to be submitted, what the kernel has, and the task that
//! moves operations between the two.
//!
//! The first operation of a turn wakes the task; by the time it runs, the tasks that were ready
//! have pushed theirs, and all go to the kernel in one call. Completions ring an eventfd that
//! tokio watches like a socket.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use io_uring::{IoUring, Probe, opcode};
use slab::Slab;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::operation::{Done, Next, Operation};
use crate::disk::{DiskFuture, DiskStats};

/// Kernel workers that may write and flush at once. Linux allows four for each core; but flushes
/// that wait together share the journal's commit, and with 128 files on two cores this many gave
/// 2.5 times the durable appends. They exist only while needed.
const WORKERS_MAX: u32 = 64;

/// The ring as a disk and its files hold it. When the last is gone, so is the ring, once it is
/// idle.
pub(super) struct RingHandle(Rc<Ring>);

impl RingHandle {
    pub(super) fn new(entries: u32, stats: Arc<DiskStats>) -> io::Result<Self> {
        let uring = set_up(entries)?;
        let completions = eventfd()?;
        uring.submitter().register_eventfd(completions.as_raw_fd())?;
        // SAFETY: the descriptor is owned by the `AsyncFd` and stays the same and open within it.
        let completions =
            unsafe { AsyncFd::register_with_interest(completions, Interest::READABLE) }?;
        let ring = Rc::new(Ring {
            // More completions than fit would be kept by the kernel, but only until memory is
            // short; fewer in its hands cost nothing.
            in_kernel_max: uring.params().cq_entries() as usize,
            state: RefCell::new(State {
                uring: ManuallyDrop::new(uring),
                operations: ManuallyDrop::new(Slab::new()),
                waiting: VecDeque::new(),
                in_kernel: 0,
                broken: None,
            }),
            work: Notify::new(),
            closing: Cell::new(false),
            stats,
        });
        tokio::task::spawn_local(drive(Rc::clone(&ring), completions));
        Ok(RingHandle(ring))
    }

    pub(super) fn stats(&self) -> &Arc<DiskStats> {
        &self.0.stats
    }

    /// Starts an operation; the future only waits for its result.
    pub(super) fn start<T: 'static>(
        &self,
        operation: impl Operation + 'static,
        done: Done<T>,
    ) -> DiskFuture<T> {
        self.0.push(Box::new(operation));
        Box::pin(async move { done.await.unwrap_or_else(|_| Err(ring_lost())) })
    }
}

impl Drop for RingHandle {
    fn drop(&mut self) {
        self.0.closing.set(true);
        self.0.work.notify_one();
    }
}

struct Ring {
    state: RefCell<State>,
    in_kernel_max: usize,
    /// Wakes the task that submits.
    work: Notify,
    closing: Cell<bool>,
    stats: Arc<DiskStats>,
}

struct State {
    uring: ManuallyDrop<IoUring>,
    operations: ManuallyDrop<Slab<Box<dyn Operation>>>,
    /// Operations to submit, in order. Beyond what fits they wait here.
    waiting: VecDeque<usize>,
    in_kernel: usize,
    /// Set when the kernel refused the ring itself; nothing can be submitted or reaped any more.
    broken: Option<i32>,
}

impl Ring {
    fn push(&self, mut operation: Box<dyn Operation>) {
        let mut state = self.state.borrow_mut();
        self.stats.on_started();
        if let Some(errno) = state.broken {
            operation.on_completion(Err(io::Error::from_raw_os_error(errno)));
            self.stats.on_completed();
            return;
        }
        let key = state.operations.insert(operation);
        state.waiting.push_back(key);
        if state.waiting.len() == 1 {
            self.work.notify_one();
        }
    }

    /// Hands waiting operations to the kernel until it has as many as it may.
    fn submit(&self) {
        let mut state = self.state.borrow_mut();
        loop {
            let idle = state.fill(self.in_kernel_max) == 0;
            if idle || state.broken.is_some() {
                return;
            }
            self.stats.on_submission();
            match state.uring.submit() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => {
                    // The kernel is short of memory or of room for completions: make room, and
                    // try again in the next turn.
                    self.work.notify_one();
                    return;
                }
                Err(error) => state.give_up(&error),
            }
        }
    }

    /// Takes every completion that has arrived.
    fn reap(&self) {
        let mut state = self.state.borrow_mut();
        while let Some((key, result)) = state.next_completion() {
            if state.on_completion(key, result) == Next::Done {
                self.stats.on_completed();
            }
        }
    }

    /// Sees to another turn if an operation waits that the kernel has room for.
    fn keep_going(&self) {
        let state = self.state.borrow();
        if !state.waiting.is_empty() && state.in_kernel < self.in_kernel_max {
            self.work.notify_one();
        }
    }

    fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.operations.is_empty() || state.broken.is_some()
    }
}

impl State {
    /// Moves waiting operations into the submission queue; returns how many entries it now holds.
    fn fill(&mut self, in_kernel_max: usize) -> usize {
        let mut queue = self.uring.submission();
        while self.in_kernel < in_kernel_max && !queue.is_full() {
            let Some(key) = self.waiting.pop_front() else { break };
            let entry = self.operations[key].entry().user_data(key as u64);
            // SAFETY: the entry points only into its operation, which stays in the slab (boxed,
            // so unmoved) until its completion has been reaped.
            unsafe { queue.push(&entry) }.expect("the queue was not full");
            self.in_kernel += 1;
        }
        queue.len()
    }

    fn next_completion(&mut self) -> Option<(usize, i32)> {
        let completion = self.uring.completion().next()?;
        Some((completion.user_data() as usize, completion.result()))
    }

    fn on_completion(&mut self, key: usize, result: i32) -> Next {
        self.in_kernel -= 1;
        let operation = &mut self.operations[key];
        let next = match usize::try_from(result) {
            Ok(count) => operation.on_completion(Ok(count)),
            Err(_) => {
                let error = io::Error::from_raw_os_error(-result);
                if is_passing(&error) && operation.may_retry() {
                    Next::Submit
                } else {
                    operation.on_completion(Err(error))
                }
            }
        };
        match next {
            Next::Submit => self.waiting.push_back(key),
            Next::Done => drop(self.operations.remove(key)),
        }
        next
    }

    /// Fails every operation. They stay in the slab: the kernel may still write to their buffers.
    fn give_up(&mut self, error: &io::Error) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        tracing::error!(%error, "io_uring failed; every operation under way fails with it");
        self.broken = Some(errno);
        self.waiting.clear();
        for (_, operation) in self.operations.iter_mut() {
            operation.on_completion(Err(io::Error::from_raw_os_error(errno)));
        }
    }
}

impl Drop for State {
    /// Waits for what is under way: operations run to their end, and until then the kernel writes
    /// to buffers that they own.
    fn drop(&mut self) {
        while self.broken.is_none() && !self.operations.is_empty() {
            self.fill(usize::MAX);
            match self.uring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => self.give_up(&error),
            }
            while let Some((key, result)) = self.next_completion() {
                self.on_completion(key, result);
            }
        }
        if self.broken.is_none() {
            // SAFETY: neither is used again. The ring goes first, and it is idle.
            unsafe {
                ManuallyDrop::drop(&mut self.uring);
                ManuallyDrop::drop(&mut self.operations);
            }
        }
        // A broken ring leaks, with the buffers that the kernel may still write to.
    }
}

/// Submits and reaps until the handles are gone and nothing is left to do.
async fn drive(ring: Rc<Ring>, completions: AsyncFd<OwnedFd>) {
    while !(ring.closing.get() && ring.is_idle()) {
        tokio::select! {
            () = ring.work.notified() => tokio::task::yield_now().await,
            // The counter is never read: each completion rings anew, and tokio listens to edges.
            ready = completions.readable() => match ready {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => return, // the runtime is going; dropping the ring finishes its work
            }
        }
        ring.reap();
        ring.submit();
        // What the kernel could do at once is done already.
        ring.reap();
        ring.keep_going();
    }
}

/// Whether the same call may go better a moment later.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

fn set_up(entries: u32) -> io::Result<IoUring> {
    // Completions need not interrupt this thread: it looks for them when the eventfd rings.
    let uring = IoUring::builder()
        .setup_coop_taskrun()
        .setup_single_issuer()
        .build(entries)
        .or_else(|_| IoUring::new(entries))?; // before Linux 6.0
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::Writev::CODE,
        opcode::Read::CODE,
        opcode::Fsync::CODE,
        opcode::Fallocate::CODE,
        opcode::Madvise::CODE,
    ];
    if !needed.iter().all(|&code| probe.is_supported(code)) {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    // Zero leaves the other kind, for sockets and pipes, as it is. Before Linux 5.15 both are.
    let _ = uring.submitter().register_iowq_max_workers(&mut [WORKERS_MAX, 0]);
    Ok(uring)
}

fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn ring_lost() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the ring went down before the operation ended")
}
