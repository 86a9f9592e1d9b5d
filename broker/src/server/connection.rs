//! One client connection: frames in, answers out, strictly in request order.
//!
//! A request is started as soon as it is read (that fixes the order in which a partition sees
//! produced batches) and its answer waits in a bounded queue until all earlier ones are written.
//! So a client may pipeline, and one that never reads its answers stops being read.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::dispatch::{self, Answer, Pending};
use super::memory::Share;
use crate::admin::metrics::Metrics;
use crate::shard::Shard;

/// A frame's size comes before it.
const SIZE_PREFIX_BYTES: usize = 4;
/// Requests of one connection that may be under way at once.
const PIPELINE_MAX: usize = 64;
/// Small frames are read through a buffer of this size, so that one system call gets many.
const READ_BUFFER_BYTES: usize = 16 << 10;
/// A read that could get fewer bytes than this goes to a new buffer.
const READ_SPARE_BYTES: usize = 4 << 10;
/// Answers that are ready are sent together up to this size.
const WRITE_BYTES_TOGETHER: usize = 1 << 20;
/// Slices handed to one `writev`; the kernel takes at most 1024.
const IOVECS_MAX: usize = 256;

/// What a handler knows about the connection a request came by.
pub(crate) struct Connection {
    pub(crate) shard: Rc<Shard>,
    pub(crate) peer: SocketAddr,
}

/// Why the broker closed a connection.
#[derive(Debug, Error)]
pub(crate) enum CloseReason {
    /// The frame's size is negative, zero, or above the limit.
    #[error("frame of {size} bytes is outside 1..={max} (socket.request.max.bytes)")]
    FrameSize { size: i32, max: usize },
    /// A frame began and did not end in time, or answers were not read.
    #[error("the peer stalled for {0:?} in the middle of a frame")]
    Stalled(Duration),
    /// Nothing came for the idle time.
    #[error("idle")]
    Idle,
    /// The bytes are not a request we can read.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// An API or version that was not advertised.
    #[error("unsupported request: {0}")]
    Unsupported(String),
    /// acks=0 has no other way to tell the client of a failure.
    #[error("a produce request with acks=0 failed: {0}")]
    SilentProduceFailed(String),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CloseReason {
    /// Whether what came was no request that this broker serves.
    pub(crate) fn is_no_request(&self) -> bool {
        matches!(
            self,
            CloseReason::FrameSize { .. } | CloseReason::Malformed(_) | CloseReason::Unsupported(_)
        )
    }

    /// A short name for the metric.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            CloseReason::FrameSize { .. } => "frame_size",
            CloseReason::Stalled(_) => "stalled",
            CloseReason::Idle => "idle",
            CloseReason::Malformed(_) => "malformed",
            CloseReason::Unsupported(_) => "unsupported",
            CloseReason::SilentProduceFailed(_) => "acks0_failed",
            CloseReason::Io(_) => "io",
        }
    }
}

/// A started request and what it holds until its answer is ready.
struct Started {
    pending: Pending,
    _share: Share,
}

/// Serves a connection until either side closes it. `Ok` means that the peer did, between frames.
pub(crate) async fn serve(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    peer: SocketAddr,
    shard: Rc<Shard>,
) -> Result<(), CloseReason> {
    let stall = Duration::from_millis(shard.node.config().limits.frame_stall_ms);
    let (queue, answers) = mpsc::channel(PIPELINE_MAX);
    let metrics = shard.env.metrics.clone();
    let connection = Rc::new(Connection { shard, peer });
    let reading = read_requests(read, connection, queue);
    let writing = write_answers(write, answers, stall, metrics);
    tokio::pin!(reading, writing);
    tokio::select! {
        end = &mut reading => {
            // Requests already read are still answered, unless the stream itself is broken.
            match end {
                Ok(()) => writing.await,
                Err(reason) => {
                    debug!(%peer, %reason, "closing connection");
                    writing.await.and(Err(reason))
                }
            }
        }
        end = &mut writing => end,
    }
}

async fn read_requests(
    mut read: impl AsyncRead + Unpin,
    connection: Rc<Connection>,
    queue: mpsc::Sender<Started>,
) -> Result<(), CloseReason> {
    let mut buffer = BytesMut::new();
    let mut shutdown = connection.shard.node.shutdown.clone();
    loop {
        let frame = tokio::select! {
            biased;
            frame = read_frame(&mut read, &mut buffer, &connection.shard) => frame?,
            _ = shutdown.wait_for(|stopping| *stopping) => None,
        };
        let Some((frame, share)) = frame else { return Ok(()) };
        connection.shard.env.metrics.on_received(SIZE_PREFIX_BYTES + frame.len());
        let pending = dispatch::start(&connection, frame).await?;
        if queue.send(Started { pending, _share: share }).await.is_err() {
            return Ok(());
        }
        tokio::task::consume_budget().await;
    }
}

/// The next frame without its size prefix, or `None` if the peer closed between frames.
async fn read_frame(
    read: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    shard: &Shard,
) -> Result<Option<(Bytes, Share)>, CloseReason> {
    let config = shard.node.config();
    let stall = Duration::from_millis(config.limits.frame_stall_ms);
    let idle = Duration::from_millis(config.limits.connection_idle_ms);
    if buffer.is_empty() {
        match fill(read, buffer, READ_BUFFER_BYTES, Patience::from_now(idle)).await {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(CloseReason::Stalled(_)) => return Err(CloseReason::Idle),
            Err(reason) => return Err(reason),
        }
    }
    let patience = Patience::from_now(stall);
    while buffer.len() < SIZE_PREFIX_BYTES {
        if fill(read, buffer, READ_BUFFER_BYTES, patience).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    let prefix = buffer.split_to(SIZE_PREFIX_BYTES).freeze();
    let size = prefix.first_chunk::<4>().map_or(-1, |bytes| i32::from_be_bytes(*bytes));
    let max = config.limits.request_bytes_max;
    let len = match usize::try_from(size) {
        Ok(len) if len > 0 && len <= max => len,
        _ => return Err(CloseReason::FrameSize { size, max }),
    };
    let share = shard.node.memory.take(len).await;
    if buffer.len() >= len {
        return Ok(Some((buffer.split_to(len).freeze(), share)));
    }
    // The rest is read straight into a buffer of the frame's own: the log keeps slices of it.
    let mut frame = BytesMut::with_capacity(len);
    frame.put_slice(buffer);
    buffer.clear();
    // The wait for memory was not the peer's fault.
    let patience = Patience::from_now(stall);
    while frame.len() < len {
        let missing = len - frame.len();
        if fill(read, &mut frame, missing, patience).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(Some((frame.freeze(), share)))
}

/// By when something must have come. It holds over many reads, so that a peer that sends a byte now
/// and then cannot keep a frame, and the memory for it, for ever.
#[derive(Clone, Copy)]
struct Patience {
    limit: Duration,
    deadline: Instant,
}

impl Patience {
    fn from_now(limit: Duration) -> Patience {
        Patience { limit, deadline: Instant::now() + limit }
    }
}

/// Reads at most `most` bytes to the end of `buffer`, as many as there are, once there are any.
async fn fill(
    read: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    most: usize,
    patience: Patience,
) -> Result<usize, CloseReason> {
    let filled = poll_fn(|context| {
        if buffer.capacity() - buffer.len() < most.min(READ_SPARE_BYTES) {
            buffer.reserve(most);
        }
        let mut limited = (&mut *buffer).limit(most);
        let polled = pin!(read.read_buf(&mut limited)).poll(context);
        if polled.is_pending() && buffer.is_empty() {
            // Ten thousand idle connections wait without a buffer.
            *buffer = BytesMut::new();
        }
        polled
    });
    match timeout_at(patience.deadline, filled).await {
        Ok(filled) => Ok(filled?),
        Err(_elapsed) => Err(CloseReason::Stalled(patience.limit)),
    }
}

async fn write_answers(
    mut write: impl AsyncWrite + Unpin,
    mut answers: mpsc::Receiver<Started>,
    stall: Duration,
    metrics: Metrics,
) -> Result<(), CloseReason> {
    let mut next = None;
    let mut chunks = Vec::new();
    loop {
        let started = match next.take() {
            Some(started) => started,
            None => match answers.recv().await {
                Some(started) => started,
                None => return Ok(()),
            },
        };
        let mut bytes = collect(started.pending.await, &mut chunks)?;
        while bytes < WRITE_BYTES_TOGETHER {
            let Ok(mut started) = answers.try_recv() else { break };
            match (&mut started.pending).now_or_never() {
                Some(answer) => bytes += collect(answer, &mut chunks)?,
                None => {
                    next = Some(started);
                    break;
                }
            }
        }
        write_chunks(&mut write, &mut chunks, stall).await?;
        metrics.on_sent(bytes);
    }
}

/// Adds an answer's chunks and returns their size.
fn collect(answer: Answer, chunks: &mut Vec<Bytes>) -> Result<usize, CloseReason> {
    match answer {
        Answer::Frame(frame) => {
            let bytes = frame.len();
            chunks.extend(frame.into_buffers());
            Ok(bytes)
        }
        Answer::Nothing => Ok(0),
        Answer::Close(reason) => Err(reason),
    }
}

async fn write_chunks(
    write: &mut (impl AsyncWrite + Unpin),
    chunks: &mut Vec<Bytes>,
    stall: Duration,
) -> Result<(), CloseReason> {
    let mut first = 0;
    while first < chunks.len() {
        let slices: Vec<IoSlice<'_>> = chunks
            .get(first..)
            .unwrap_or_default()
            .iter()
            .take(IOVECS_MAX)
            .map(|chunk| IoSlice::new(chunk))
            .collect();
        let written = timeout(stall, write.write_vectored(&slices)).await;
        let mut written = written.map_err(|_elapsed| CloseReason::Stalled(stall))??;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        for chunk in chunks.iter_mut().skip(first) {
            let taken = written.min(chunk.len());
            bytes::Buf::advance(chunk, taken);
            written -= taken;
            if !chunk.is_empty() {
                break;
            }
            first += 1;
        }
    }
    chunks.clear();
    Ok(())
}
