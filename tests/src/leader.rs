//! A connection to whichever broker leads a partition now, found by asking any broker.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::messages::{MetadataRequest, metadata};

use crate::wire::Wire;

/// After so long without an answer another broker is asked: this one may be paused or cut off.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// The last version in which topics go by name and nothing else is needed.
const METADATA: i16 = 9;

/// The way to a partition's leader.
#[derive(Debug)]
pub struct Leader {
    brokers: Vec<SocketAddr>,
    topic: String,
    partition: i32,
    /// The broker to ask next.
    turn: usize,
    wire: Option<(i32, Wire)>,
}

impl Leader {
    /// A way that asks `brokers` in turn.
    pub fn new(brokers: &[SocketAddr], topic: &str, partition: i32) -> Leader {
        let turn = usize::try_from(partition).unwrap_or(0);
        let (brokers, topic) = (brokers.to_vec(), topic.to_owned());
        Leader { brokers, topic, partition, turn, wire: None }
    }

    /// The connection, opened if there is none.
    pub fn wire(&mut self) -> io::Result<&mut Wire> {
        if self.wire.is_none() {
            let (node, address) = self.find()?;
            self.wire = Some((node, connect(address)?));
        }
        match &mut self.wire {
            Some((_, wire)) => Ok(wire),
            None => unreachable!("it has just been opened"),
        }
    }

    /// The broker that is believed to lead.
    pub fn node(&self) -> Option<i32> {
        self.wire.as_ref().map(|(node, _)| *node)
    }

    /// The broker does not lead any more, or does not answer: the next one is looked for.
    pub fn lost(&mut self) {
        self.wire = None;
    }

    /// A connection to any broker, for what all of them answer.
    pub fn any(&mut self) -> io::Result<Wire> {
        self.turn += 1;
        connect(self.brokers[self.turn % self.brokers.len()])
    }

    fn find(&mut self) -> io::Result<(i32, SocketAddr)> {
        let mut wire = self.any()?;
        let name = Some(KafkaStr::copied_from(&self.topic));
        let topic = metadata::MetadataRequestTopic { name, ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = wire.call(&request, METADATA)?;
        let brokers = response.brokers.iter().filter_map(|broker| {
            let address = format!("{}:{}", broker.host, broker.port).parse().ok()?;
            Some((broker.node_id, address))
        });
        let brokers: HashMap<i32, SocketAddr> = brokers.collect();
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let leader = partitions
            .filter(|partition| partition.partition_index == self.partition)
            .map(|partition| partition.leader_id)
            .next();
        let found = leader.and_then(|node| Some((node, *brokers.get(&node)?)));
        found.ok_or_else(|| io::Error::other("no leader is known"))
    }
}

/// A connection on which nothing is waited for longer than for a broker that is well.
pub fn connect(address: SocketAddr) -> io::Result<Wire> {
    let wire = Wire::connect_within(address, CONNECT_WITHIN)?;
    wire.stream().set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(wire)
}
