//! The admin HTTP server: `/metrics`, `/healthz`, `/readyz`.
//!
//! It has a thread and a runtime of its own, and nothing it serves takes a lock that a shard holds.
//! It has no authentication: keep its address off public interfaces.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use thiserror::Error;
use tokio::sync::oneshot;

use super::health::Health;
use super::metrics::{Metrics, plain_text};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN_METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// How long a scrape under way may take to finish when the broker stops.
const DRAIN: Duration = Duration::from_secs(1);

const INDEX: &str = "\
Thalweg admin

/metrics   what the broker counts, for Prometheus
/healthz   200 while the process lives, with what to know of it
/readyz    200 while clients should be sent here, otherwise 503 with the reasons
";

/// Why the admin server cannot start.
#[derive(Debug, Error)]
pub enum AdminError {
    /// Somebody else listens there.
    #[error("admin address {0} is in use: choose another with --admin-listen")]
    InUse(SocketAddr),
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on admin address {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The thread or its runtime cannot be made.
    #[error("cannot start the admin server: {0}")]
    Thread(#[source] io::Error),
}

/// A running admin server. It stops when it is dropped, and has stopped when [`stop`] returns.
///
/// [`stop`]: AdminServer::stop
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Sources {
    metrics: Metrics,
    health: Arc<Health>,
}

impl AdminServer {
    /// Listens on `address` and serves from now on.
    pub fn start(
        address: SocketAddr,
        metrics: Metrics,
        health: Arc<Health>,
    ) -> Result<Self, AdminError> {
        let bind_error = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => AdminError::InUse(address),
            _ => AdminError::Bind { address, source },
        };
        let listener = TcpListener::bind(address).map_err(bind_error)?;
        let bound = listener.local_addr().map_err(bind_error)?;
        listener.set_nonblocking(true).map_err(bind_error)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AdminError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let router = router(Sources { metrics, health });
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(serve(listener, router, stopped)))
            .map_err(AdminError::Thread)?;
        Ok(Self { address: bound, stop: Some(stop), thread: Some(thread) })
    }

    /// The address listened on, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, lets those under way finish for a second, and ends the thread.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Serves until the other end of `stopped` is dropped.
async fn serve(listener: TcpListener, router: Router, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin server cannot use its listener");
            return;
        }
    };
    let (drain, drained) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _ = stopped.await;
        drop(drain);
    });
    let deadline = async move {
        let _ = drained.await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => if let Err(error) = served {
            tracing::error!(%error, "the admin server ended");
        },
        () = deadline => {}
    }
}

fn router(sources: Sources) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(|uri: Uri| async move {
            let known = "try /metrics, /healthz or /readyz";
            (StatusCode::NOT_FOUND, format!("there is nothing at {}: {known}\n", uri.path()))
        })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n")
        })
        .with_state(sources)
}

async fn metrics(State(sources): State<Sources>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wants_openmetrics =
        accepted.into_iter().any(|value| value.contains("application/openmetrics-text"));
    let page = sources.metrics.encode();
    match wants_openmetrics {
        true => ([(CONTENT_TYPE, OPENMETRICS)], page).into_response(),
        false => ([(CONTENT_TYPE, PLAIN_METRICS)], plain_text(&page)).into_response(),
    }
}

async fn healthz(State(sources): State<Sources>) -> Response {
    report(StatusCode::OK, &sources.health)
}

async fn readyz(State(sources): State<Sources>) -> Response {
    let status = match sources.health.report().ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    report(status, &sources.health)
}

fn report(status: StatusCode, health: &Health) -> Response {
    let mut body = serde_json::to_string(&health.report()).expect("a report is plain JSON");
    body.push('\n');
    (status, [(CONTENT_TYPE, JSON)], body).into_response()
}

#[cfg(test)]
mod tests;
