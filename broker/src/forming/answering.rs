//! Answering brokers that look for their cluster: before this one has found it, and after.
//!
//! What is answered is pure ([`answer_form`] and its like for a broker without a cluster); the rest
//! accepts connections, a bounded number at a time, and refuses whatever is no broker.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;
use uuid::Uuid;

use super::{FormError, Newcomer, duplicate_id, replaced};
use crate::config::HostPort;
use crate::node_rpc::handshake::{self, Founder, HandshakeError, Hello, Purpose, VERSION, Welcome};
use crate::node_rpc::strangers::Strangers;

/// Connections answered at once; more wait in the kernel.
const CONNECTIONS_MAX: usize = 64;
/// After a failed accept, how long to leave the socket alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a broker hears that is too early with anything but forming.
const NOT_SERVED: &str = "this broker is not yet ready for that; try again";

/// A broker that belongs to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub node: i32,
    /// Its data directory's identity.
    pub disk: Uuid,
    /// Its cluster.
    pub cluster_id: String,
    /// Who founded that, by id.
    pub voters: Vec<Founder>,
}

/// The answer of `own` to a broker that looks for its cluster, or the reason to refuse it.
/// `known_disk` is the data directory that the cluster knows for the caller's id.
pub fn answer_form(
    own: &Member,
    hello: &Hello,
    known_disk: Option<Uuid>,
) -> Result<Welcome, String> {
    if let Some(theirs) = hello.cluster_id.as_ref().filter(|theirs| **theirs != own.cluster_id) {
        return Err(format!(
            "this broker belongs to cluster {}, the caller to cluster {theirs}",
            own.cluster_id
        ));
    }
    if hello.node == own.node && hello.disk != own.disk {
        let address = own.voters.iter().find(|founder| founder.disk == own.disk);
        let address = address.map_or("this address", |founder| &founder.address);
        return Err(format!(
            "{}; if this one has replaced it, {}",
            duplicate_id(own.node, address),
            replaced(own.node)
        ));
    }
    let founded = own.voters.iter().find(|founder| founder.node == hello.node);
    let known_disk = known_disk.or(founded.map(|founder| founder.disk));
    if known_disk.is_some_and(|known| known != hello.disk) {
        return Err(replaced(hello.node));
    }
    Ok(Welcome {
        version: VERSION,
        node: own.node,
        disk: own.disk,
        cluster_id: Some(own.cluster_id.clone()),
        voters: own.voters.clone(),
        seeds: Vec::new(),
    })
}

/// Answers on `listener` for a broker that has not found its cluster, until a founder turns out to
/// have the same id: that is returned, once the other has been told. Within a `LocalSet`.
pub(super) async fn serve_newcomer(listener: TcpListener, own: &Newcomer) -> FormError {
    let (found, mut twins) = mpsc::channel(1);
    let (answering, refusing) = (own.clone(), own.clone());
    let answer = move |hello: &Hello| answering.answer(hello);
    let refused = move |hello: &Hello| {
        if let Some(twin) = refusing.twin_among_founders(hello) {
            // One is enough.
            let _ = found.try_send(twin);
        }
    };
    tokio::select! {
        never = serve(listener, answer, refused) => match never {},
        twin = twins.recv() => twin.expect("the loop that is served holds the sender"),
    }
}

impl Newcomer {
    fn answer(&self, hello: &Hello) -> Result<Welcome, String> {
        if hello.purpose != Purpose::Form {
            return Err(NOT_SERVED.to_owned());
        }
        if hello.node == self.node && hello.disk != self.disk {
            return Err(duplicate_id(self.node, &self.address));
        }
        Ok(Welcome {
            version: VERSION,
            node: self.node,
            disk: self.disk,
            cluster_id: None,
            voters: Vec::new(),
            seeds: self.seeds.iter().map(ToString::to_string).collect(),
        })
    }

    /// The error that `hello` is, if it comes from one of the seeds and has this broker's id. From
    /// anywhere else it is the caller's mistake alone.
    fn twin_among_founders(&self, hello: &Hello) -> Option<FormError> {
        let address: HostPort = hello.address.parse().ok()?;
        let is_founder = self.others.iter().any(|other| other.is_same_place(&address));
        let is_twin = hello.node == self.node && hello.disk != self.disk;
        (is_twin && is_founder).then_some(FormError::DuplicateId { node: self.node, address })
    }
}

/// Answers whoever calls with what `answer` says, for ever; `refused` hears of those that were
/// refused.
pub(super) async fn serve(
    listener: TcpListener,
    answer: impl Fn(&Hello) -> Result<Welcome, String> + 'static,
    refused: impl Fn(&Hello) + 'static,
) -> Infallible {
    let (answer, refused) = (Rc::new(answer), Rc::new(refused));
    let strangers = Rc::new(Strangers::default());
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Before the accept: whoever waits in the kernel costs nothing here.
        let connection = Arc::clone(&connections).acquire_owned().await;
        let (mut stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accepting a broker's connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (answer, refused) = (Rc::clone(&answer), Rc::clone(&refused));
        let strangers = Rc::clone(&strangers);
        tokio::task::spawn_local(async move {
            if let Err(error) = serve_one(&mut stream, &*answer, &*refused).await {
                strangers.on_refused(peer, &error);
            }
            drop(connection);
        });
    }
}

async fn serve_one(
    stream: &mut TcpStream,
    answer: &impl Fn(&Hello) -> Result<Welcome, String>,
    refused: &impl Fn(&Hello),
) -> Result<(), HandshakeError> {
    let hello = handshake::receive(stream).await?;
    match answer(&hello) {
        Ok(welcome) => handshake::welcome(stream, &welcome).await,
        Err(reason) => {
            let told = handshake::refuse(stream, &reason).await;
            refused(&hello);
            told
        }
    }
}
