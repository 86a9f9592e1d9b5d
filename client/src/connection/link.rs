//! What the tasks of a connection and its users share: the way in for frames, the requests that
//! await an answer, and the reason for the end once it has come.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use thalweg_protocol::{DecodeError, Frame, KafkaStr};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::{reader, writer};
use crate::address::BrokerAddress;
use crate::observer::Observer;
use crate::options::Options;

/// Why a connection ended.
#[derive(Debug, Clone, Error)]
pub enum Disconnect {
    /// The broker closed it: it is shutting down, refuses the request, or found us idle for long.
    #[error("the broker closed the connection")]
    ClosedByBroker,
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(#[source] Arc<io::Error>),
    /// An answer is larger than `response_bytes_max`, or its size is negative.
    #[error("the broker announced an answer of {0} bytes; the limit is response_bytes_max, {1}")]
    AnswerTooLarge(i32, usize),
    /// An answer to a request that is not the oldest one under way.
    #[error("the broker answered request {answered}, expected was {expected:?}")]
    OutOfOrder {
        /// The correlation id that came.
        answered: i32,
        /// The one that should have come; none if nothing had been asked.
        expected: Option<i32>,
    },
    /// An answer that is not what the protocol says.
    #[error("the broker sent a malformed answer: {0}")]
    Malformed(DecodeError),
    /// A request was not answered in time. Those behind it end with it.
    #[error("the broker left a request unanswered for {0:?}")]
    TimedOut(Duration),
    /// This side closed it.
    #[error("the connection was closed on this side")]
    Closed,
}

/// Requests from [`Link::admit`] that may await their answers at once.
const CALLS_MAX: usize = 256;

pub(super) type Reply = oneshot::Sender<Result<Bytes, Disconnect>>;

/// A frame on its way out.
pub(super) struct Outgoing {
    pub(super) frame: Frame,
    /// Under which id the answer comes; without one there is none, and `reply` is told of the
    /// writing.
    pub(super) correlation_id: Option<i32>,
    pub(super) reply: Reply,
}

/// A request that has been or is being written.
struct Pending {
    correlation_id: i32,
    reply: Reply,
}

/// The half of a link that its two tasks hold.
#[derive(Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pending: VecDeque<Pending>,
    ended: Option<Disconnect>,
    tasks: Vec<AbortHandle>,
}

impl Ledger {
    /// Notes that an answer will come; gives the reply back with the reason if none can any more.
    pub(super) fn expect(&self, correlation_id: i32, reply: Reply) {
        let mut state = self.lock();
        if let Some(reason) = state.ended.clone() {
            drop(state);
            let _ = reply.send(Err(reason));
            return;
        }
        state.pending.push_back(Pending { correlation_id, reply });
    }

    /// Hands an answer to the oldest request, whose it must be.
    pub(super) fn answer(&self, correlation_id: i32, frame: Bytes) -> Result<(), Disconnect> {
        let mut state = self.lock();
        let expected = state.pending.front().map(|pending| pending.correlation_id);
        let oldest = state.pending.pop_front_if(|pending| pending.correlation_id == correlation_id);
        drop(state);
        let Some(oldest) = oldest else {
            return Err(Disconnect::OutOfOrder { answered: correlation_id, expected });
        };
        // Whoever asked may have stopped waiting.
        let _ = oldest.reply.send(Ok(frame));
        Ok(())
    }

    /// Ends the connection; only the first reason counts.
    pub(super) fn end(&self, reason: Disconnect) {
        let (pending, tasks) = {
            let mut state = self.lock();
            let reason = state.ended.get_or_insert(reason).clone();
            let pending = std::mem::take(&mut state.pending);
            let tasks = std::mem::take(&mut state.tasks);
            (pending.into_iter().map(move |pending| (pending.reply, reason.clone())), tasks)
        };
        for (reply, reason) in pending {
            let _ = reply.send(Err(reason));
        }
        tasks.iter().for_each(AbortHandle::abort);
    }

    fn ended(&self) -> Option<Disconnect> {
        self.lock().ended.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding this lock")
    }
}

/// A connection's users' end. The connection ends when it is dropped.
pub(crate) struct Link {
    broker: BrokerAddress,
    client_id: KafkaStr,
    ledger: Arc<Ledger>,
    /// Unbounded, but `admit` and the producer's own limit bound what is in it.
    outbox: mpsc::UnboundedSender<Outgoing>,
    calls: Semaphore,
    correlation_id: AtomicI32,
    observer: Option<Arc<dyn Observer>>,
}

impl Link {
    pub(super) fn over(
        stream: TcpStream,
        broker: BrokerAddress,
        client_id: KafkaStr,
        options: &Options,
    ) -> Arc<Self> {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let ledger = Arc::new(Ledger::default());
        let (read_half, write_half) = stream.into_split();
        let reading = reader::run(read_half, options.response_bytes_max, ledger.clone());
        let writing = writer::run(write_half, inbox, ledger.clone());
        let tasks =
            vec![tokio::spawn(reading).abort_handle(), tokio::spawn(writing).abort_handle()];
        let mut state = ledger.lock();
        if state.ended.is_none() {
            state.tasks = tasks;
        } else {
            tasks.iter().for_each(AbortHandle::abort);
        }
        drop(state);
        let calls = Semaphore::new(CALLS_MAX);
        Arc::new(Link {
            broker,
            client_id,
            ledger,
            outbox,
            calls,
            correlation_id: AtomicI32::new(0),
            observer: options.observer.clone(),
        })
    }

    pub(super) fn broker(&self) -> &BrokerAddress {
        &self.broker
    }

    pub(super) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    pub(super) fn client_id(&self) -> &KafkaStr {
        &self.client_id
    }

    pub(super) fn is_open(&self) -> bool {
        self.ledger.ended().is_none()
    }

    /// Waits until the connection has room for one more call.
    pub(super) async fn admit(&self) -> SemaphorePermit<'_> {
        self.calls.acquire().await.expect("the semaphore is never closed")
    }

    pub(super) fn next_correlation_id(&self) -> i32 {
        self.correlation_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn send(
        &self,
        frame: Frame,
        correlation_id: Option<i32>,
    ) -> oneshot::Receiver<Result<Bytes, Disconnect>> {
        let (reply, receiver) = oneshot::channel();
        if let Err(refused) = self.outbox.send(Outgoing { frame, correlation_id, reply }) {
            let _ = refused.0.reply.send(Err(self.reason()));
        }
        receiver
    }

    pub(super) fn end(&self, reason: Disconnect) {
        self.ledger.end(reason);
    }

    /// Why the connection ended.
    pub(super) fn reason(&self) -> Disconnect {
        self.ledger.ended().unwrap_or(Disconnect::Closed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ledger.end(Disconnect::Closed);
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("broker", &self.broker)
            .field("ended", &self.ledger.ended())
            .finish_non_exhaustive()
    }
}
