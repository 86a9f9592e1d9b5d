//! A small Kafka client on the simulated network: one request at a time, and every way in which an
//! answer can fail to come. What it is told it tells on; it decides nothing.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use thalweg_protocol::messages::MetadataRequest;
use thalweg_protocol::messages::find_coordinator::FindCoordinatorRequest;
use thalweg_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponseTopic};
use thalweg_protocol::{
    ErrorCode, KafkaStr, Message, Reader, Request, ResponseHeader, encode_request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use super::network::{CLIENT_PORT, Host, Net, address};
use super::stream::SimStream;

/// How long an answer may take before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(4);
const METADATA_VERSION: i16 = 12;

/// One client's connections.
pub struct Client {
    net: Rc<Net>,
    host: Host,
    nodes: u8,
    dice: Dice,
    streams: BTreeMap<Host, SimStream>,
    last_id: Cell<i32>,
    /// Leader and epoch of each partition, as last heard.
    leaders: BTreeMap<(String, i32), (Host, i32)>,
    coordinators: BTreeMap<String, Host>,
}

/// Who leads a partition, as far as the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// The leader.
    pub by: Host,
    /// In which epoch.
    pub epoch: i32,
}

impl Client {
    /// A client without connections.
    pub fn new(net: &Rc<Net>, host: Host, nodes: u8, dice: Dice) -> Client {
        Client {
            net: Rc::clone(net),
            host,
            nodes,
            dice,
            streams: BTreeMap::new(),
            last_id: Cell::new(0),
            leaders: BTreeMap::new(),
            coordinators: BTreeMap::new(),
        }
    }

    /// The client's own randomness.
    pub fn dice(&self) -> &Dice {
        &self.dice
    }

    /// Any broker.
    pub fn any(&self) -> Host {
        1 + u8::try_from(self.dice.below(self.nodes.into())).unwrap_or(0)
    }

    /// Asks one broker; an error means that it is not known what became of the request.
    pub async fn call<R: Request>(
        &mut self,
        to: Host,
        request: &R,
        version: i16,
    ) -> io::Result<R::Response> {
        let outcome = timeout(PATIENCE, self.exchange(to, request, version)).await;
        let outcome = outcome.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()));
        if outcome.is_err() {
            self.streams.remove(&to);
        }
        outcome
    }

    async fn exchange<R: Request>(
        &mut self,
        to: Host,
        request: &R,
        version: i16,
    ) -> io::Result<R::Response> {
        if !self.streams.contains_key(&to) {
            let stream = self.net.call(self.host, &address(to, CLIENT_PORT).to_string()).await?;
            self.streams.insert(to, stream);
        }
        let stream = self.streams.get_mut(&to).ok_or(io::ErrorKind::NotConnected)?;
        self.last_id.set(self.last_id.get() + 1);
        let id = self.last_id.get();
        let frame = encode_request(id, Some("simulation".into()), request, version)
            .unwrap_or_else(|error| panic!("{} v{version}: {error}", R::NAME));
        stream.write_all(&frame.into_bytes()).await?;
        let size = stream.read_i32().await?;
        let mut frame = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        stream.read_exact(&mut frame).await?;
        let mut reader = Reader::new(frame.into());
        let header = ResponseHeader::decode(&mut reader, R::API_KEY, version);
        let header = header.map_err(io::Error::other)?;
        assert_eq!(header.correlation_id, id, "{} v{version}", R::NAME);
        Ok(R::Response::decode(&mut reader, version)
            .unwrap_or_else(|error| panic!("{} v{version}: {error}", R::NAME)))
    }

    /// What a broker says of these topics, or of all.
    pub async fn describe(
        &mut self,
        of: Host,
        topics: Option<&[&str]>,
    ) -> io::Result<Vec<MetadataResponseTopic>> {
        let wanted = |name: &&str| MetadataRequestTopic {
            name: Some(KafkaStr::copied_from(name)),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(wanted).collect()),
            ..Default::default()
        };
        Ok(self.call(of, &request, METADATA_VERSION).await?.topics)
    }

    /// Who leads a partition; asks around until somebody knows.
    pub async fn leader(&mut self, topic: &str, partition: i32) -> Led {
        loop {
            let known = self.leaders.get(&(topic.to_owned(), partition));
            if let Some(&(by, epoch)) = known {
                return Led { by, epoch };
            }
            let of = self.any();
            for described in self.describe(of, Some(&[topic])).await.unwrap_or_default() {
                for found in described.partitions {
                    if let Ok(by @ 1..) = Host::try_from(found.leader_id) {
                        let led = (by, found.leader_epoch);
                        self.leaders.insert((topic.to_owned(), found.partition_index), led);
                    }
                }
            }
            if !self.leaders.contains_key(&(topic.to_owned(), partition)) {
                sleep(self.dice.millis(20, 200)).await;
            }
        }
    }

    /// What was known of a leader was wrong.
    pub async fn forget_leader(&mut self, topic: &str, partition: i32) {
        self.leaders.remove(&(topic.to_owned(), partition));
        sleep(self.dice.millis(10, 150)).await;
    }

    /// Who coordinates a group; asks around until somebody knows.
    pub async fn coordinator(&mut self, group: &str) -> Host {
        loop {
            if let Some(known) = self.coordinators.get(group) {
                return *known;
            }
            let request = FindCoordinatorRequest {
                coordinator_keys: vec![KafkaStr::copied_from(group)],
                ..Default::default()
            };
            let of = self.any();
            let found =
                self.call(of, &request, 4).await.ok().and_then(|mut it| it.coordinators.pop());
            match found {
                Some(found) if ErrorCode::from(found.error_code) == ErrorCode::None => {
                    if let Ok(by) = Host::try_from(found.node_id) {
                        self.coordinators.insert(group.to_owned(), by);
                    }
                }
                _ => sleep(self.dice.millis(50, 300)).await,
            }
        }
    }

    /// What was known of a coordinator was wrong.
    pub async fn forget_coordinator(&mut self, group: &str) {
        self.coordinators.remove(group);
        sleep(self.dice.millis(20, 200)).await;
    }
}
