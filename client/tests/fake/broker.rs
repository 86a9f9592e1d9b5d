//! The sockets of one fake broker.

use std::sync::Arc;

use bytes::Bytes;
use thalweg_client::protocol::{Reader, RequestHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::handlers::{Reply, answer};
use super::{Fault, Shared};

/// Accepts for ever. All connections end with it.
pub(crate) async fn serve(listener: TcpListener, id: i32, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("loopback accepts");
        shared.lock().connections += 1;
        connections.spawn(talk(stream, id, shared.clone()));
    }
}

async fn talk(mut stream: TcpStream, id: i32, shared: Arc<Shared>) {
    while let Some(frame) = read(&mut stream).await {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).expect("the client writes headers");
        let api = header.api_key;
        let fault = {
            let mut state = shared.lock();
            state.requests.push((api, header.api_version, id));
            state.faults.get_mut(&api).and_then(std::collections::VecDeque::pop_front)
        };
        match &fault {
            Some(Fault::HangUp) => return,
            Some(Fault::FallSilent) => std::future::pending().await,
            Some(Fault::Say(bytes)) => {
                shared.progress.notify_waiters();
                if stream.write_all(bytes).await.is_err() {
                    return;
                }
                continue;
            }
            Some(Fault::Hold) => {
                shared.lock().held += 1;
                shared.progress.notify_waiters();
                shared.released.notified().await;
                shared.lock().held -= 1;
            }
            _ => {}
        }
        let reply = answer(&shared, id, &header, reader, fault.as_ref()).await;
        shared.progress.notify_waiters();
        let frame = match reply {
            Reply::Frame(frame) if fault != Some(Fault::DoAndHangUp) => frame,
            Reply::Nothing => continue,
            _ => return,
        };
        if stream.write_all(&frame.into_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Bytes> {
    let size = stream.read_i32().await.ok()?;
    let mut frame = vec![0; usize::try_from(size).expect("the client writes sizes")];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame.into())
}
