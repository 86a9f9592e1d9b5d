//! A broker that has formed and answers who asks, as a running one does, on a thread of its own.

use std::net::TcpListener as StdListener;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::LocalSet;
use uuid::Uuid;

use crate::forming::Formed;
use crate::forming::answering::{Member, answer_form, serve as serve_all};
use crate::node_rpc::handshake::Hello;

/// The thread; it ends when the broker shuts down.
pub(super) struct NodePort {
    thread: JoinHandle<()>,
}

impl NodePort {
    /// Answers brokers that look for the cluster of `formed`, if it listens for any. `known_disk`
    /// tells the data directory that the cluster knows for an id.
    pub(super) fn start(
        formed: &mut Formed,
        known_disk: impl Fn(i32) -> Option<Uuid> + Send + 'static,
        shutdown: watch::Receiver<bool>,
    ) -> std::io::Result<Option<NodePort>> {
        let Some(listener) = formed.node_listener.take() else { return Ok(None) };
        let member = formed.member.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            let served = serve(listener, member, known_disk, shutdown);
            if let Err(error) = LocalSet::new().block_on(&runtime, served) {
                tracing::error!(%error, "nobody answers on the node port");
            }
        };
        let thread = std::thread::Builder::new().name("node-port".to_owned()).spawn(serve)?;
        Ok(Some(NodePort { thread }))
    }

    /// Waits for the thread, which has been told to end.
    pub(super) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread of the node port had panicked");
        }
    }
}

async fn serve(
    listener: StdListener,
    member: Member,
    known_disk: impl Fn(i32) -> Option<Uuid> + 'static,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let answer = move |hello: &Hello| answer_form(&member, hello, known_disk(hello.node));
    tokio::select! {
        never = serve_all(listener, answer, |_hello| ()) => match never {},
        _ = shutdown.wait_for(|stopping| *stopping) => Ok(()),
    }
}
