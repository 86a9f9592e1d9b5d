//! Sending: one request to each broker that has room for it, with a batch from each of the
//! partitions that wait for it.

use std::collections::VecDeque;

use futures_util::FutureExt;
use thalweg_protocol::NodeId;
use tokio::time::Instant;
use tracing::Instrument;

use super::{Driver, Event};
use crate::address::BrokerAddress;
use crate::connection::Connection;
use crate::producer::exchange::{Exchange, Sent};

impl Driver {
    pub(super) fn dispatch(&mut self, now: Instant) {
        let nodes: Vec<NodeId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.waiting.is_empty())
            .map(|(node, _)| *node)
            .collect();
        for node in nodes {
            self.send_to(node, now);
        }
    }

    /// Sends requests to one broker until it has as many as it may or nothing waits.
    fn send_to(&mut self, node: NodeId, now: Instant) {
        loop {
            let max_in_flight = self.shared.settings.max_in_flight;
            let Some(lane) = self.lanes.get_mut(&node) else { return };
            let is_open = lane.in_flight < max_in_flight && !lane.is_dialing && !lane.is_throttled;
            if !is_open || lane.waiting.is_empty() {
                return;
            }
            let address = self.metadata.borrow().brokers.get(&node).map(|it| it.address.clone());
            let Some(address) = address else {
                // The broker has left the cluster: its partitions look for another.
                let waiting = std::mem::take(&mut lane.waiting);
                self.requeue(waiting);
                return;
            };
            let Some(connection) = self.cluster.pool.open_connection(&address) else {
                lane.is_dialing = true;
                self.dial(node, address);
                return;
            };
            let sent = self.load(node, now);
            if sent.is_empty() {
                return;
            }
            self.send(node, &connection, sent);
        }
    }

    fn requeue(&mut self, slots: VecDeque<usize>) {
        for slot in slots {
            self.parts[slot].is_queued = false;
            self.queue(slot);
        }
        // Not visited in this turn, which could go in circles, but in the next one.
        self.shared.bell.notify_one();
    }

    fn dial(&mut self, node: NodeId, address: BrokerAddress) {
        let cluster = self.cluster.clone();
        let dial = async move {
            let outcome = cluster.pool.connection(&address).await.map(drop);
            Event::Dialed { node, outcome }
        };
        self.events.push(dial.boxed());
    }

    /// Takes one batch from each partition that waits for `node`, as far as a request goes.
    fn load(&mut self, node: NodeId, now: Instant) -> Vec<Sent> {
        let Some(lane) = self.lanes.get_mut(&node) else { return Vec::new() };
        let is_idle = lane.in_flight == 0;
        let mut waiting = std::mem::take(&mut lane.waiting);
        let mut sent: Vec<Sent> = Vec::new();
        let mut bytes = 0;
        while let Some(slot) = waiting.pop_front() {
            if self.leader(slot) != Some(node) {
                self.requeue([slot].into());
                continue;
            }
            let Some(key) = self.pick(slot, is_idle, now) else {
                self.parts[slot].is_queued = false;
                continue;
            };
            let part = &mut self.parts[slot];
            let Some(batch) = part.lineup.get(key) else { continue };
            if !sent.is_empty()
                && bytes + batch.bytes.len() > self.shared.settings.request_bytes_max
            {
                waiting.push_front(slot);
                break;
            }
            bytes += batch.bytes.len();
            let topic = part.accumulator.topic.clone();
            sent.push(Sent {
                slot,
                key,
                topic_id: self.metadata.borrow().topic(&topic).map(|it| it.id).unwrap_or_default(),
                topic,
                partition: part.accumulator.partition,
                bytes: batch.bytes.clone(),
            });
            part.lineup.on_sent(key);
        }
        // Those that have been served stand at the end, if they have more.
        for batch in &sent {
            self.parts[batch.slot].is_queued = false;
        }
        if let Some(lane) = self.lanes.get_mut(&node) {
            lane.waiting = waiting;
            lane.in_flight += usize::from(!sent.is_empty());
        }
        for batch in &sent {
            self.visit(batch.slot, now);
        }
        sent
    }

    fn send(&mut self, node: NodeId, connection: &Connection, mut sent: Vec<Sent>) {
        sent.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        let timeout = self.cluster.options.request_timeout;
        let broker = connection.broker().clone();
        let span = tracing::debug_span!(
            "produce",
            %broker,
            partitions = sent.len(),
            bytes = sent.iter().map(|batch| batch.bytes.len()).sum::<usize>(),
            attempt = self.attempt(&sent),
        );
        let exchange =
            span.in_scope(|| Exchange::begin(connection, &sent, &self.shared.settings, timeout));
        let answered = async move {
            let outcome = exchange.end().await;
            Event::Answered { node, broker, sent, outcome }
        };
        self.events.push(answered.instrument(span).boxed());
    }

    /// The most attempts, this one included, that any of the batches has had.
    fn attempt(&self, sent: &[Sent]) -> u32 {
        let batches = sent.iter().filter_map(|it| self.parts[it.slot].lineup.get(it.key));
        batches.map(|batch| batch.attempts).max().unwrap_or_default()
    }
}
