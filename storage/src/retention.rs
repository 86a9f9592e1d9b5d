//! Deciding what is old enough to go, and letting it go.
//!
//! The leader decides and all replicas carry out the same log start. It is made durable first; then
//! segments are deleted, oldest first, and what a crash leaves of that is removed by the next open.

use std::io;
use std::rc::Rc;

use crate::config::LogConfig;
use crate::error::WriteError;
use crate::log::Log;
use crate::log_start::LogStart;
use crate::segment::Segment;
use crate::state::LogState;
use crate::writer::is_full;

/// What retention would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) log_start: Option<i64>,
    /// The active segment holds nothing but what has expired.
    pub(crate) seal_active: bool,
}

/// What has expired by time, or is too much, of what is committed below offset `upper`.
///
/// A segment without any timestamp does not expire by time: Kafka would go by the file's date,
/// which says when a replica got it.
pub(crate) fn judge(state: &LogState, config: &LogConfig, now_ms: i64, upper: i64) -> Verdict {
    let committed = |segment: &Segment| {
        segment.extent().next_offset <= upper && segment.next_index() <= state.applied + 1
    };
    let expired = |segment: &Segment| {
        let newest = segment.extent().max_timestamp;
        let age = (newest >= 0).then(|| now_ms.saturating_sub(newest));
        age.zip(config.retention_ms).is_some_and(|(age, max)| max >= 0 && age > max)
    };
    let size = |segment: &Segment| u64::from(segment.extent().log_len);
    let holds_records = |segment: &Segment| segment.extent().next_offset > segment.key.base_offset;
    let total: u64 = state.segments.iter().map(|segment| size(segment)).sum();
    let mut excess = config.retention_bytes.map_or(0, |max| total.saturating_sub(max));
    let mut log_start = None;
    let successors = state.segments.iter().skip(1);
    for (segment, successor) in state.segments.iter().zip(successors) {
        let goes = expired(segment) || (excess > 0 && excess >= size(segment));
        if !committed(segment) || (holds_records(segment) && !goes) {
            return Verdict { log_start, seal_active: false };
        }
        excess = excess.saturating_sub(size(segment));
        log_start = Some(successor.key.base_offset).filter(|at| *at > state.log_start_offset);
    }
    let whole =
        |active: &Rc<Segment>| holds_records(active) && committed(active) && expired(active);
    Verdict { log_start, seal_active: state.segments.back().is_some_and(whole) }
}

/// Makes `offset` the log start, and deletes the segments that hold nothing from there on, or
/// nothing from `first_index` on. What is not applied stays.
pub(crate) async fn advance(log: &Log, offset: i64, first_index: u64) -> Result<(), WriteError> {
    let _turn = log.rewriting.lock().await;
    log.queue.refusal()?;
    let Some((start, gone)) = plan(&mut log.state.borrow_mut(), offset, first_index) else {
        return Ok(());
    };
    let saved = start.save(&*log.disk, &log.dir, log.identity).await;
    saved.map_err(|error| refuse(log, &error))?;
    log.state.borrow_mut().durable_start_offset = start.offset;
    let forgotten = forget(&mut log.state.borrow_mut(), start, gone);
    for segment in forgotten {
        log.shared.maps.borrow_mut().remove_segment(segment.id);
        delete(log, &segment).await.map_err(|error| refuse(log, &error))?;
    }
    Ok(())
}

/// Moves the log start in memory; gives what to make durable and how many segments go.
fn plan(state: &mut LogState, offset: i64, first_index: u64) -> Option<(LogStart, usize)> {
    let offset = offset.min(state.next_offset).max(state.log_start_offset);
    let moved = offset > state.durable_start_offset;
    let goes = |segment: &Rc<Segment>, successor: &Rc<Segment>| {
        let below = segment.extent().next_offset <= offset && moved;
        (below || successor.key.base_index <= first_index)
            && segment.next_index() <= state.applied + 1
    };
    let pairs = state.segments.iter().zip(state.segments.iter().skip(1));
    let gone = pairs.take_while(|(segment, successor)| goes(segment, successor)).count();
    let first = state.segments.get(gone)?.key;
    if !moved && gone == 0 {
        return None;
    }
    state.log_start_offset = if gone > 0 { offset.max(first.base_offset) } else { offset };
    let prev_term = state.term(first.base_index - 1);
    let offset = state.log_start_offset;
    let first_index = first.base_index;
    Some((LogStart { offset, first_index, prev_term, replaces_segments: false }, gone))
}

/// Takes the first segments out of the log.
fn forget(state: &mut LogState, start: LogStart, gone: usize) -> Vec<Rc<Segment>> {
    let segments: Vec<_> = state.segments.drain(..gone).collect();
    if let Some(first) = state.segments.front() {
        state.epochs.truncate_prefix(first.key.base_index, first.key.base_offset);
        state.first_index = start.first_index;
        state.prev_term = start.prev_term;
    }
    state.gaps.retain(|gap| gap.indexes.end > start.first_index);
    segments
}

async fn delete(log: &Log, segment: &Segment) -> io::Result<()> {
    for path in [&segment.log_path, &segment.ledger_path] {
        match log.disk.remove_file(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    log.disk.sync_dir(&log.dir).await
}

fn refuse(log: &Log, error: &io::Error) -> WriteError {
    if is_full(error) {
        return WriteError::Full;
    }
    log.fail(error);
    WriteError::Failed
}
