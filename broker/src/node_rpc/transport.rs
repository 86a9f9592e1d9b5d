//! One shard's connections to other brokers: everything its groups have to say to a broker in one
//! turn goes out as one frame, over one connection.
//!
//! A connection carries frames one way; answers come back over the connection that the other
//! broker has opened. Nothing waits for a broker that does not listen: what cannot be sent is
//! forgotten, Raft is told, and sends what is needed later.
//!
//! Invariant: frames to one broker arrive in the order in which they were sent, or not at all.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use thalweg_storage::votes::GroupId;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::frame;
use super::handshake::{self, Hello, Purpose};
use super::network::{BoxedStream, Network};
use crate::controller::leaders::{Announced, Leader};
use crate::replication::outgoing::{Ask, GroupMessage};
use crate::replication::wire;
use crate::shard::Shard;

/// Kinds of frames after the handshake.
pub(crate) mod kind {
    /// Raft messages of any number of groups.
    pub(crate) const GROUPS: u8 = 16;
    /// Who leads which partition.
    pub(crate) const LEADERS: u8 = 17;
    /// Between controllers, as JSON.
    pub(crate) const CONTROL: u8 = 18;
    /// A damaged replica asks for entries.
    pub(crate) const ASK: u8 = 19;
    /// The entries, in the form of Raft messages.
    pub(crate) const GIVE: u8 = 20;
}

/// Bytes that may wait for a broker; more than that is forgotten.
const QUEUED_BYTES_MAX: usize = 64 << 20;
/// A frame is begun anew when it has so much, so that the receiver can begin as well.
const FRAME_BYTES_AIM: usize = 4 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// A shard's ways to the other brokers.
pub(crate) struct Transport {
    network: Rc<dyn Network>,
    peers: RefCell<HashMap<i32, Rc<Peer>>>,
}

/// The way to one broker.
struct Peer {
    node: i32,
    queue: RefCell<VecDeque<(u8, Vec<Bytes>)>>,
    queued_bytes: Cell<usize>,
    /// There is to be a connection, also without anything to say.
    wanted: Cell<bool>,
    /// Something was sent since [`Transport::keep_connected`] looked.
    spoken: Cell<bool>,
    /// Something was forgotten since Raft was last told.
    lossy: Cell<bool>,
    wake: Notify,
}

impl Transport {
    /// A transport without connections: they are opened when there is something to say.
    pub(crate) fn new(network: Rc<dyn Network>) -> Transport {
        Transport { network, peers: RefCell::default() }
    }

    /// Sends what the shard's groups have said since the last call.
    pub(crate) fn flush(&self, shard: &Rc<Shard>) {
        let outgoing = &shard.env.outgoing;
        let leaders = outgoing.take_leaders();
        if !leaders.is_empty() {
            let frame = encode_leaders(&leaders);
            for node in shard.node.other_brokers() {
                self.send(shard, node, kind::LEADERS, vec![frame.clone()]);
            }
        }
        for (node, ask) in outgoing.take_asked() {
            self.send(shard, node, kind::ASK, vec![encode_ask(ask)]);
        }
        for (node, given) in outgoing.take_given() {
            self.send(shard, node, kind::GIVE, wire::encode(&[given]));
        }
        let messages = outgoing.take();
        if messages.is_empty() {
            return;
        }
        let mut by_node: Vec<(i32, Vec<GroupMessage>)> = Vec::new();
        for (node, message) in messages {
            match by_node.iter_mut().find(|(of, _)| *of == node) {
                Some((_, messages)) => messages.push(message),
                None => by_node.push((node, vec![message])),
            }
        }
        for (node, messages) in by_node {
            for messages in frames_of(messages) {
                self.send(shard, node, kind::GROUPS, wire::encode(&messages));
            }
        }
    }

    /// Keeps a connection to every other broker: each that starts has to hear who leads here.
    /// Called twice a second, and says something on connections that were silent since: one whose
    /// other end lost its power looks whole until it is written to.
    pub(crate) fn keep_connected(&self, shard: &Rc<Shard>) {
        for node in shard.node.other_brokers() {
            let peer = self.peer(shard, node);
            if !peer.wanted.replace(true) {
                peer.wake.notify_one();
            } else if !peer.spoken.replace(false) {
                self.send(shard, node, kind::LEADERS, vec![encode_leaders(&[])]);
            }
        }
    }

    /// Queues one frame for a broker.
    pub(crate) fn send(&self, shard: &Rc<Shard>, node: i32, kind: u8, chunks: Vec<Bytes>) {
        let peer = self.peer(shard, node);
        peer.spoken.set(true);
        let bytes: usize = chunks.iter().map(Bytes::len).sum();
        if peer.queued_bytes.get() + bytes > QUEUED_BYTES_MAX {
            peer.lossy.set(true);
            return;
        }
        peer.queued_bytes.set(peer.queued_bytes.get() + bytes);
        peer.queue.borrow_mut().push_back((kind, chunks));
        peer.wake.notify_one();
    }

    fn peer(&self, shard: &Rc<Shard>, node: i32) -> Rc<Peer> {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.entry(node).or_insert_with(|| {
            let peer = Rc::new(Peer {
                node,
                queue: RefCell::default(),
                queued_bytes: Cell::new(0),
                wanted: Cell::new(false),
                spoken: Cell::new(false),
                lossy: Cell::new(false),
                wake: Notify::new(),
            });
            let (shard, network) = (Rc::downgrade(shard), Rc::clone(&self.network));
            tokio::task::spawn_local(Rc::clone(&peer).run(shard, network));
            peer
        });
        Rc::clone(peer)
    }
}

impl Peer {
    /// Keeps a connection for as long as the shard lives.
    async fn run(self: Rc<Self>, shard: Weak<Shard>, network: Rc<dyn Network>) {
        let mut retry = RETRY_MIN;
        // What was said last of why the broker cannot be reached.
        let mut told = String::new();
        loop {
            if self.queue.borrow().is_empty() && !self.wanted.get() {
                self.wake.notified().await;
                continue;
            }
            let Some(hello) = shard.upgrade().map(|shard| hello(&shard)) else { return };
            let address = shard.upgrade().and_then(|shard| shard.node.address_of(self.node));
            let opened = match address {
                None if shard.upgrade().is_some_and(|it| it.node.is_removed(self.node)) => {
                    self.wanted.set(false);
                    self.forget();
                    continue;
                }
                Some(address) => open(&*network, address, self.node, &hello).await,
                None => Err("its address is not known".to_owned()),
            };
            match opened {
                Ok(stream) => {
                    info!(node = self.node, "connected to broker");
                    told.clear();
                    let began = Instant::now();
                    let ended = self.carry(stream, &shard).await;
                    if began.elapsed() > RETRY_MAX {
                        // One that is closed at once is not opened again and again at once.
                        retry = RETRY_MIN;
                    }
                    info!(node = self.node, reason = %ended, "connection to broker ended");
                }
                Err(reason) if reason != told => {
                    warn!(node = self.node, %reason, "cannot reach broker; trying again");
                    told = reason;
                }
                Err(reason) => debug!(node = self.node, %reason, "cannot reach broker"),
            }
            self.forget();
            let Some(shard) = shard.upgrade() else { return };
            shard.on_unreachable(self.node);
            drop(shard);
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
            // What was queued meanwhile is as old as the attempt.
            self.forget();
        }
    }

    fn forget(&self) {
        self.queue.borrow_mut().clear();
        self.queued_bytes.set(0);
    }

    /// Sends frames until the connection ends, and says why it did.
    async fn carry(&self, stream: BoxedStream, shard: &Weak<Shard>) -> String {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let Some(leaders) = shard.upgrade().map(|shard| encode_leaders(&shard.led())) else {
            return "the shard has stopped".to_owned();
        };
        if let Err(error) = frame::write(&mut writer, kind::LEADERS, &[leaders]).await {
            return error.to_string();
        }
        // The other side says nothing here; that reading ends means that it has gone.
        let mut nothing = [0; 1];
        let gone = reader.read(&mut nothing);
        tokio::pin!(gone);
        loop {
            let next = self.queue.borrow_mut().pop_front();
            let Some((kind, chunks)) = next else {
                tokio::select! {
                    () = self.wake.notified() => {}
                    _ = &mut gone => return "closed by the broker".to_owned(),
                }
                continue;
            };
            let bytes: usize = chunks.iter().map(Bytes::len).sum();
            let written = tokio::select! {
                written = frame::write(&mut writer, kind, &chunks) => written,
                _ = &mut gone => return "closed by the broker".to_owned(),
            };
            if let Err(error) = written {
                return error.to_string();
            }
            self.queued_bytes.set(self.queued_bytes.get().saturating_sub(bytes));
            if self.lossy.replace(false)
                && let Some(shard) = shard.upgrade()
            {
                warn!(node = self.node, "messages were dropped: the broker takes them too slowly");
                shard.on_unreachable(self.node);
                // Behind what is queued: of two announcements of one epoch the last one counts.
                let leaders = encode_leaders(&shard.led());
                self.queued_bytes.set(self.queued_bytes.get() + leaders.len());
                self.queue.borrow_mut().push_back((kind::LEADERS, vec![leaders]));
            }
        }
    }
}

/// Cuts a turn's messages into frames that are not too large.
fn frames_of(messages: Vec<GroupMessage>) -> Vec<Vec<GroupMessage>> {
    let mut frames = Vec::new();
    let mut frame = Vec::new();
    let mut bytes = 0;
    for message in messages {
        let size = message.entries.iter().map(|entry| entry.size()).sum::<usize>();
        if bytes + size > FRAME_BYTES_AIM && !frame.is_empty() {
            frames.push(std::mem::take(&mut frame));
            bytes = 0;
        }
        bytes += size;
        frame.push(message);
    }
    frames.push(frame);
    frames
}

fn hello(shard: &Shard) -> Hello {
    let node = &shard.node;
    Hello {
        version: handshake::VERSION,
        purpose: Purpose::Raft { shard: shard.id.0 },
        cluster_id: Some(node.cluster_id.clone()),
        node: node.id,
        disk: node.member.disk,
        address: node.own_address().unwrap_or_default(),
    }
}

/// Connects and makes sure that the right broker answers.
async fn open(
    network: &dyn Network,
    address: String,
    node: i32,
    hello: &Hello,
) -> Result<BoxedStream, String> {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, network.connect(address.clone()));
    let connected = connecting.await.map_err(|_late| format!("no answer from {address}"))?;
    let mut stream = connected.map_err(|error| format!("{address}: {error}"))?;
    let welcome = handshake::greet(&mut stream, hello).await;
    let welcome = welcome.map_err(|error| format!("{address}: {error}"))?;
    if welcome.node != node || welcome.cluster_id != hello.cluster_id {
        return Err(format!(
            "{address} is broker {} of cluster {}",
            welcome.node,
            welcome.cluster_id.as_deref().unwrap_or("(none)")
        ));
    }
    Ok(stream)
}

/// A request for entries: topic id, partition, first index, index after the last.
fn encode_ask(ask: Ask) -> Bytes {
    let mut bytes = BytesMut::with_capacity(ASK_BYTES);
    bytes.put_slice(ask.group.topic.as_bytes());
    bytes.put_i32(ask.group.partition);
    bytes.put_u64(ask.low);
    bytes.put_u64(ask.high);
    bytes.freeze()
}

const ASK_BYTES: usize = 36;

/// Reads a request for entries; `None` if it is not as long as one.
pub(crate) fn decode_ask(bytes: &Bytes) -> Option<Ask> {
    let (topic, rest) = bytes.split_first_chunk::<16>()?;
    let (partition, rest) = rest.split_first_chunk::<4>()?;
    let (low, rest) = rest.split_first_chunk::<8>()?;
    let high = <&[u8; 8]>::try_from(rest).ok()?;
    let partition = i32::from_be_bytes(*partition);
    let group = GroupId { topic: uuid::Uuid::from_bytes(*topic), partition };
    Some(Ask { group, low: u64::from_be_bytes(*low), high: u64::from_be_bytes(*high) })
}

/// Who leads which partition: a count (u32) and, for each, topic id, partition, broker, epoch, how
/// many members lag (u32), and who.
fn encode_leaders(leaders: &[(GroupId, Announced)]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(4 + leaders.len() * LEADER_BYTES_MIN);
    bytes.put_u32(u32::try_from(leaders.len()).unwrap_or(0));
    for (group, Announced { leader, lagging }) in leaders {
        bytes.put_slice(group.topic.as_bytes());
        bytes.put_i32(group.partition);
        bytes.put_i32(leader.node);
        bytes.put_i32(leader.epoch);
        bytes.put_u32(u32::try_from(lagging.len()).unwrap_or(0));
        lagging.iter().for_each(|node| bytes.put_i32(*node));
    }
    bytes.freeze()
}

const LEADER_BYTES_MIN: usize = 32;

/// Reads announcements; `None` if they are not what they count.
pub(crate) fn decode_leaders(bytes: &Bytes) -> Option<Vec<(GroupId, Announced)>> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let number = |rest: &mut &[u8]| {
        let (number, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        Some(i32::from_be_bytes(*number))
    };
    // Each takes some bytes, so a count that promises more than there are ends soon.
    let mut leaders = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (topic, after) = rest.split_first_chunk::<16>()?;
        rest = after;
        let group =
            GroupId { topic: uuid::Uuid::from_bytes(*topic), partition: number(&mut rest)? };
        let leader = Leader { node: number(&mut rest)?, epoch: number(&mut rest)? };
        let count = number(&mut rest)?;
        let lagging = (0..count).map(|_| number(&mut rest)).collect::<Option<Vec<_>>>()?;
        leaders.push((group, Announced { leader, lagging }));
    }
    rest.is_empty().then_some(leaders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_entries_comes_back_and_a_cut_one_is_refused() {
        let group = GroupId { topic: uuid::Uuid::from_u128(5), partition: 3 };
        let ask = Ask { group, low: 17, high: 90 };
        let bytes = encode_ask(ask);
        assert_eq!(decode_ask(&bytes), Some(ask));
        for len in 0..bytes.len() {
            assert_eq!(decode_ask(&bytes.slice(..len)), None);
        }
    }

    #[test]
    fn announcements_come_back_and_cut_ones_are_refused() {
        let leaders: Vec<_> = (1..4)
            .map(|n| {
                let group = GroupId { topic: uuid::Uuid::from_u128(n), partition: 7 };
                let lagging = (1..i32::try_from(n).expect("small")).collect();
                (group, Announced { leader: Leader { node: 3, epoch: 9 }, lagging })
            })
            .collect();
        let bytes = encode_leaders(&leaders);
        assert_eq!(decode_leaders(&bytes), Some(leaders));
        for len in 0..bytes.len() {
            assert_eq!(decode_leaders(&bytes.slice(..len)), None);
        }
    }
}
