//! What the answers to a consumer's requests mean for its partitions.
//!
//! An answer counts only if no seek has happened in its partition since it was asked for: the
//! generation tells.

use std::sync::Arc;

use thalweg_protocol::messages::FetchResponse;
use thalweg_protocol::messages::fetch::PartitionData;
use thalweg_protocol::{ErrorCode, LeaderEpoch, NodeId};
use tokio::time::Instant;

use super::board::{Chunk, Content, NextFetch, Watermarks};
use super::builder::{OffsetReset, StartAt};
use super::error::{ConsumeError, ConsumeFault};
use super::fetched::Reading;
use super::fetcher::{Fetcher, LookUp};
use super::request::Asked;
use crate::address::BrokerAddress;
use crate::cluster::{Broker, FoundOffset, Isolation, PartitionError, TopicFault};
use crate::error::RequestError;
use crate::observer::ObservedFetch;

impl Fetcher {
    pub(super) fn on_found(
        &mut self,
        look_up: &LookUp,
        outcome: Result<Option<FoundOffset>, PartitionError>,
    ) {
        let mut board = self.board.lock();
        let Some(assignment) = board.current(look_up.place, look_up.generation) else { return };
        assignment.is_busy = false;
        match outcome {
            Ok(found) => {
                // Even the end of an empty partition is an offset; a broker without it has none.
                let offset = found.map_or(0, |found| found.offset);
                assignment.next_fetch = NextFetch::From { offset, last_epoch: None };
                if assignment.position.is_none() {
                    assignment.set_position(offset);
                    return;
                }
                // A reset: the position changes when the caller has had what was read before it.
                let (place, generation) = (look_up.place, look_up.generation);
                let content = Content::Skipped { next_offset: offset, epoch: None };
                board.push(Chunk { place, generation, content, bytes: 0 });
            }
            Err(error) if self.is_worth_waiting_for(&error) => {
                tracing::debug!(%error, "looking up again");
                assignment.failures = assignment.failures.saturating_add(1);
                let backoff = self.cluster.options.retry_backoff;
                let delay = backoff.delay(assignment.failures, &self.cluster.jitter);
                assignment.retry_at = Some(Instant::now() + delay);
            }
            Err(error) => {
                let broker = error.broker.clone();
                let fault = ConsumeFault::Start(Box::new(error));
                let (place, generation) = (look_up.place, look_up.generation);
                assignment.has_failed = true;
                let error = ConsumeError {
                    partition: look_up.partition.as_ref().clone(),
                    offset: None,
                    broker,
                    fault,
                };
                board.push(Chunk { place, generation, content: Content::Failed(error), bytes: 0 });
            }
        }
    }

    /// Whether looking up is tried again, for as long as the partition is assigned. What passes by
    /// itself is waited out; a topic that is not there only by whoever expects it to come.
    fn is_worth_waiting_for(&self, error: &PartitionError) -> bool {
        error.is_retriable() && (self.board.settings.is_patient || !error.is_unknown_topic())
    }

    pub(super) fn on_unanswered(&mut self, asked: &[Asked], error: RequestError) {
        tracing::debug!(%error, "a fetch failed");
        let (is_retriable, broker) = (error.is_retriable(), error.broker.clone());
        let error = Arc::new(error);
        for one in asked {
            if is_retriable {
                self.postpone(one);
            } else {
                self.fail(one, &broker, ConsumeFault::Unanswered(error.clone()));
            }
        }
        self.want_metadata();
    }

    pub(super) fn on_response(&mut self, node: NodeId, asked: &[Asked], response: FetchResponse) {
        let broker = self.cluster.metadata().brokers.get(&node).map(|it| it.address.clone());
        let broker = broker.unwrap_or_else(|| BrokerAddress::of_node(node, "unknown address", 0));
        let FetchResponse { error_code, responses, node_endpoints, .. } = response;
        let endpoint = |leader: i32| {
            let endpoint = node_endpoints.iter().find(|node| node.node_id == leader)?;
            let address = BrokerAddress::of_node(
                NodeId(leader),
                &endpoint.host,
                u16::try_from(endpoint.port).ok()?,
            );
            let rack = endpoint.rack.as_ref().map(|rack| Arc::from(rack.as_str()));
            Some(Broker { id: NodeId(leader), address, rack })
        };
        let records = || {
            let partitions = responses.iter().flat_map(|topic| &topic.partitions);
            let bytes = partitions.filter_map(|data| data.records.as_ref());
            bytes.map(|records| records.len()).filter(|bytes| *bytes > 0)
        };
        // An answer without records is no news: it comes as often as the long poll ends.
        let _span = records().next().map(|_| {
            let (partitions, bytes) = (records().count(), records().sum::<usize>());
            tracing::debug_span!("fetch", %broker, partitions, bytes).entered()
        });
        let mut is_answered = vec![false; asked.len()];
        let whole = ErrorCode::from(error_code);
        for topic in responses.into_iter().filter(|_| whole.is_none()) {
            for data in topic.partitions {
                let found = asked.iter().position(|one| {
                    one.is_of(&topic.topic, topic.topic_id)
                        && one.partition.partition == data.partition_index
                });
                let Some(at) = found else { continue };
                is_answered[at] = true;
                let leader = data.current_leader.leader_id;
                self.on_partition(&asked[at], &broker, data, endpoint(leader));
            }
        }
        // An error of the whole, or a partition left out: all the same, it is asked for again.
        for (one, _) in asked.iter().zip(is_answered).filter(|(_, is_answered)| !is_answered) {
            tracing::debug!(partition = %one.partition, error = %whole, "nothing in the response");
            self.postpone(one);
        }
    }

    fn on_partition(
        &mut self,
        asked: &Asked,
        broker: &BrokerAddress,
        data: PartitionData,
        endpoint: Option<Broker>,
    ) {
        match ErrorCode::from(data.error_code) {
            ErrorCode::None if data.diverging_epoch.end_offset >= 0 => {
                self.on_truncated(asked, broker, data.diverging_epoch.end_offset);
            }
            ErrorCode::None => self.on_records(asked, broker, data),
            ErrorCode::OffsetOutOfRange => self.on_out_of_range(asked, broker),
            error if error.is_retriable() => {
                tracing::debug!(partition = %asked.partition, %error, "fetching again");
                let leader = data.current_leader;
                if leader.leader_id >= 0 && leader.leader_epoch >= 0 {
                    let leader = (NodeId(leader.leader_id), LeaderEpoch(leader.leader_epoch));
                    let at = &asked.partition;
                    self.cluster.learn_leader(&at.topic, at.partition, leader, endpoint);
                }
                self.postpone(asked);
                self.want_metadata();
            }
            error => self.fail(asked, broker, ConsumeFault::Refused(error)),
        }
    }

    fn on_records(&mut self, asked: &Asked, broker: &BrokerAddress, data: PartitionData) {
        let settings = &self.board.settings;
        let is_committed = settings.isolation == Isolation::ReadCommitted;
        let aborted = data.aborted_transactions.as_deref().filter(|_| is_committed);
        let reading = Reading { start: asked.offset, check_crcs: settings.check_crcs, aborted };
        let records = data.records.unwrap_or_default().into_bytes();
        let fetched = reading.read(records);
        let mut board = self.board.lock();
        let Some(assignment) = board.current(asked.place, asked.generation) else { return };
        assignment.is_busy = false;
        assignment.failures = 0;
        assignment.retry_at = None;
        if !fetched.contents.is_empty() {
            self.fills += 1;
            assignment.filled_at = self.fills;
        }
        if let Some((offset, epoch)) = fetched.next {
            let last_epoch = (epoch >= 0).then_some(epoch);
            assignment.next_fetch = NextFetch::From { offset, last_epoch };
        }
        let last_stable_offset = match data.last_stable_offset {
            -1 => data.high_watermark,
            offset => offset,
        };
        assignment.watermarks = Some(Watermarks {
            log_start_offset: data.log_start_offset,
            high_watermark: data.high_watermark,
            last_stable_offset,
        });
        let end = if is_committed { last_stable_offset } else { data.high_watermark };
        assignment.end.get_or_insert(end);
        let (place, generation) = (asked.place, asked.generation);
        let next_offset = fetched.next.map_or(asked.offset, |(offset, _)| offset);
        let (mut batches, mut batch_bytes) = (0, 0);
        for (content, bytes) in fetched.contents {
            batches += usize::from(bytes > 0);
            batch_bytes += bytes;
            board.push(Chunk { place, generation, content, bytes });
        }
        let buffered_bytes = board.buffered_bytes();
        drop(board);
        if let Some(observer) = &self.cluster.options.observer {
            observer.on_fetch(&ObservedFetch {
                partition: &asked.partition,
                batches,
                bytes: batch_bytes,
                lag: (end - next_offset).max(0),
                buffered_bytes,
            });
        }
        self.on_good_answer();
        if let Some(fault) = fetched.fault {
            let offset = fetched.next.map_or(asked.offset, |(offset, _)| offset);
            self.fail_at(asked, offset, broker, ConsumeFault::Batch(fault));
        }
    }

    /// The cluster does not know the topic any more.
    pub(super) fn on_gone(&self, asked: &Asked, error: ErrorCode) {
        let mut board = self.board.lock();
        let Some(assignment) = board.current(asked.place, asked.generation) else { return };
        assignment.has_failed = true;
        let error = ConsumeError {
            partition: asked.partition.as_ref().clone(),
            offset: Some(asked.offset),
            broker: None,
            fault: ConsumeFault::Topic(Box::new(TopicFault::Refused(error))),
        };
        let (place, generation) = (asked.place, asked.generation);
        board.push(Chunk { place, generation, content: Content::Failed(error), bytes: 0 });
        drop(board);
        self.board.arrival.notify_one();
    }

    fn on_out_of_range(&mut self, asked: &Asked, broker: &BrokerAddress) {
        let start = match self.board.settings.on_out_of_range {
            OffsetReset::Fail => {
                self.fail(asked, broker, ConsumeFault::OffsetOutOfRange);
                return;
            }
            reset => reset.start(),
        };
        tracing::warn!(partition = %asked.partition, offset = asked.offset, ?start, "out of range");
        if let Some(assignment) = self.board.lock().current(asked.place, asked.generation) {
            assignment.is_busy = false;
            assignment.next_fetch = NextFetch::LookUp(start);
        }
    }

    /// The log was cut behind what was read: to go on there is to read other records at offsets
    /// that the caller has seen, which only the caller can want.
    fn on_truncated(&mut self, asked: &Asked, broker: &BrokerAddress, end_offset: i64) {
        match self.board.settings.on_out_of_range {
            OffsetReset::Fail => self.fail(asked, broker, ConsumeFault::Truncated { end_offset }),
            OffsetReset::Earliest | OffsetReset::Latest | OffsetReset::Newer(_) => {
                tracing::warn!(partition = %asked.partition, end_offset, "the log was cut");
                if let Some(assignment) = self.board.lock().current(asked.place, asked.generation) {
                    assignment.start_at(StartAt::Offset(end_offset));
                }
            }
        }
    }

    fn postpone(&self, asked: &Asked) {
        let options = &self.cluster.options;
        if let Some(assignment) = self.board.lock().current(asked.place, asked.generation) {
            assignment.is_busy = false;
            assignment.failures = assignment.failures.saturating_add(1);
            let delay = options.retry_backoff.delay(assignment.failures, &self.cluster.jitter);
            assignment.retry_at = Some(Instant::now() + delay);
        }
    }

    fn fail(&self, asked: &Asked, broker: &BrokerAddress, fault: ConsumeFault) {
        self.fail_at(asked, asked.offset, broker, fault);
    }

    fn fail_at(&self, asked: &Asked, offset: i64, broker: &BrokerAddress, fault: ConsumeFault) {
        let mut board = self.board.lock();
        let Some(assignment) = board.current(asked.place, asked.generation) else { return };
        assignment.is_busy = false;
        assignment.has_failed = true;
        let error = ConsumeError {
            partition: asked.partition.as_ref().clone(),
            offset: Some(offset),
            broker: Some(broker.clone()),
            fault,
        };
        let (place, generation) = (asked.place, asked.generation);
        board.push(Chunk { place, generation, content: Content::Failed(error), bytes: 0 });
    }
}
