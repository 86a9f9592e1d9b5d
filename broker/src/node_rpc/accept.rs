//! Connections that other brokers open: who they are is checked once, then their frames go to the
//! shards that own the groups.
//!
//! Shard 0 accepts. A connection moves to the shard with the caller's number, so that between
//! brokers with equally many shards nothing has to cross.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, info, warn};

use super::frame::{self, FRAME_BYTES_MAX};
use super::handshake::{self, HandshakeError, Hello, Purpose, Welcome};
use super::network::{Stream, tune};
use super::transport::{decode_ask, decode_leaders, kind};
use crate::forming::answer_form;
use crate::replication::outgoing::GroupMessage;
use crate::replication::wire;
use crate::shard::Shard;
use crate::shard::router::ShardId;

/// After a failed accept, how long to leave the socket alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts brokers until this one shuts down. Runs on shard 0.
pub(crate) async fn accept(listener: StdListener, shard: Rc<Shard>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let shard = Rc::clone(&shard);
                tokio::task::spawn_local(async move {
                    if let Err(error) = admit(stream, peer, &shard).await {
                        shard.node.strangers.on_refused(peer, &error);
                    }
                });
            }
            Err(error) => {
                warn!(%error, "accepting a broker's connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Lets a broker in, on the shard that is to have its connection.
async fn admit(
    mut stream: TcpStream,
    peer: SocketAddr,
    shard: &Rc<Shard>,
) -> Result<(), HandshakeError> {
    tune(&stream).map_err(frame::FrameError::from)?;
    let Some((hello, theirs)) = greet(&mut stream, peer, shard).await? else { return Ok(()) };
    let shards = shard.node.router.shards().count();
    let to = ShardId(theirs % u16::try_from(shards).unwrap_or(u16::MAX).max(1));
    if to == shard.id {
        serve(stream, peer, hello, shard).await;
        return Ok(());
    }
    let stream = stream.into_std().map_err(frame::FrameError::from)?;
    let moved = shard.node.router.start(shard, to, move |shard| {
        let shard = Rc::clone(shard);
        async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream, peer, hello, &shard).await,
                Err(error) => warn!(%peer, %error, "taking over a broker's connection"),
            }
        }
    });
    if moved.await.is_err() {
        debug!(%peer, "shutting down");
    }
    Ok(())
}

/// Lets a broker in on this shard, over any stream.
pub(crate) async fn admit_here(
    mut stream: impl Stream,
    peer: SocketAddr,
    shard: &Rc<Shard>,
) -> Result<(), HandshakeError> {
    if let Some((hello, _theirs)) = greet(&mut stream, peer, shard).await? {
        serve(stream, peer, hello, shard).await;
    }
    Ok(())
}

/// Hears who calls, and answers. `None` if that was all; otherwise with the caller's shard.
async fn greet(
    stream: &mut impl Stream,
    peer: SocketAddr,
    shard: &Rc<Shard>,
) -> Result<Option<(Hello, u16)>, HandshakeError> {
    let hello = handshake::receive(stream).await?;
    let welcome = match check(&hello, shard) {
        Ok(welcome) => welcome,
        Err(reason) => {
            shard.node.strangers.on_broker(peer, hello.node, &reason);
            return handshake::refuse(stream, &reason).await.map(|()| None);
        }
    };
    handshake::welcome(stream, &welcome).await?;
    let Purpose::Raft { shard: theirs } = hello.purpose else { return Ok(None) };
    shard.node.learn_address(hello.node, &hello.address);
    Ok(Some((hello, theirs)))
}

/// What a broker that may come in is told, or why it may not.
fn check(hello: &Hello, shard: &Shard) -> Result<Welcome, String> {
    let node = &shard.node;
    if hello.cluster_id.is_none() && hello.purpose != Purpose::Form {
        return Err("a broker that belongs to no cluster".to_owned());
    }
    let image = node.images.load();
    let known_disk = image.brokers.get(&hello.node).and_then(|broker| broker.disk);
    answer_form(&node.member, hello, known_disk)
}

/// Takes frames until the connection ends or something is wrong with one.
async fn serve<S: Stream>(mut stream: S, peer: SocketAddr, hello: Hello, shard: &Rc<Shard>) {
    let mut shutdown = shard.node.shutdown.clone();
    debug!(node = hello.node, %peer, shard = shard.id.0, "a broker has connected");
    loop {
        let read = tokio::select! {
            read = frame::read(&mut stream, FRAME_BYTES_MAX) => read,
            _ = shutdown.wait_for(|stopping| *stopping) => return,
        };
        let refused = match read {
            Ok((kind, payload)) => take(kind, payload, &hello, shard).await,
            Err(frame::FrameError::Closed) => {
                debug!(node = hello.node, %peer, "a broker has disconnected");
                return;
            }
            Err(frame::FrameError::Io(error)) => {
                info!(node = hello.node, %peer, %error, "a broker's connection broke");
                return;
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = refused {
            shard.node.strangers.on_broker(peer, hello.node, &reason);
            return;
        }
    }
}

async fn take(
    kind: u8,
    payload: bytes::Bytes,
    hello: &Hello,
    shard: &Rc<Shard>,
) -> Result<(), String> {
    match kind {
        kind::GROUPS => {
            let messages = own_messages(payload, hello, shard)?;
            deliver(messages, shard, Shard::on_group_message).await;
            Ok(())
        }
        kind::GIVE => {
            let given = own_messages(payload, hello, shard)?;
            deliver(given, shard, Shard::on_given).await;
            Ok(())
        }
        kind::ASK => {
            let ask = decode_ask(&payload).ok_or("a request for entries cut short")?;
            let (owner, from) = (shard.owner_of(ask.group), hello.node);
            let asked = shard.node.router.start(shard, owner, move |shard| {
                shard.on_asked(from, ask);
                std::future::ready(())
            });
            asked.await.map(drop).map_err(|gone| gone.to_string())
        }
        kind::LEADERS => {
            let leaders = decode_leaders(&payload).ok_or("announcements cut short")?;
            if leaders.iter().any(|(_, announced)| announced.leader.node != hello.node) {
                return Err("an announcement in somebody else's name".to_owned());
            }
            if !leaders.is_empty() {
                shard.node.leaders.announce(&leaders);
            }
            Ok(())
        }
        kind::CONTROL => shard.on_control(hello.node, &payload).await,
        other => Err(format!("a frame of unknown kind {other}")),
    }
}

/// Messages that the caller sends to this broker in its own name.
fn own_messages(
    payload: bytes::Bytes,
    hello: &Hello,
    shard: &Shard,
) -> Result<Vec<GroupMessage>, String> {
    let messages = wire::decode(payload).map_err(|error| error.to_string())?;
    let own = |message: &GroupMessage| message.is_between(hello.node, shard.node.id);
    if messages.iter().all(own) {
        Ok(messages)
    } else {
        Err("a message in somebody else's name".to_owned())
    }
}

/// Gives messages to the shards that own their groups.
async fn deliver(
    messages: Vec<GroupMessage>,
    shard: &Rc<Shard>,
    take: fn(&Rc<Shard>, GroupMessage),
) {
    let mut elsewhere: HashMap<ShardId, Vec<GroupMessage>> = HashMap::new();
    for message in messages {
        let owner = shard.owner_of(message.group);
        if owner == shard.id {
            take(shard, message);
        } else {
            elsewhere.entry(owner).or_default().push(message);
        }
    }
    for (owner, messages) in elsewhere {
        let started = shard.node.router.start(shard, owner, move |shard| {
            for message in messages {
                take(shard, message);
            }
            std::future::ready(())
        });
        if started.await.is_err() {
            return;
        }
    }
}
