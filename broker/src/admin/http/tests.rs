//! Real requests over TCP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::admin::metrics::MetricsOptions;

const DEADLINE: Duration = Duration::from_secs(10);

struct Server {
    server: AdminServer,
    metrics: Metrics,
    health: Arc<Health>,
}

fn start() -> Server {
    let metrics = Metrics::new(&MetricsOptions { shards: 1, topics_max: 1, started_at: 0.0 });
    let health = Arc::new(Health::new());
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let server =
        AdminServer::start(any, metrics.clone(), Arc::clone(&health)).expect("a free port");
    Server { server, metrics, health }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Sends one request and reads until the server closes.
fn exchange(address: SocketAddr, method: &str, path: &str, headers: &str) -> String {
    let mut stream = connect(address);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{headers}\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

impl Server {
    fn get(&self, path: &str) -> String {
        exchange(self.server.address(), "GET", path, "")
    }
}

fn status(answer: &str) -> &str {
    answer.get(..12).unwrap_or(answer)
}

#[test]
fn metrics_are_served_in_the_format_the_scraper_asks_for() {
    let server = start();
    server.metrics.on_connection_accepted();
    let plain = server.get("/metrics");
    assert_eq!(status(&plain), "HTTP/1.1 200");
    assert!(
        plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{plain}"
    );
    assert!(plain.contains("# TYPE thalweg_connections_accepted_total counter\n"), "{plain}");
    assert!(plain.contains("\nthalweg_connections_accepted_total 1\n"), "{plain}");
    assert!(!plain.contains("# EOF"));

    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2\r\n";
    let open = exchange(server.server.address(), "GET", "/metrics", accept);
    assert!(open.contains(&format!("content-type: {OPENMETRICS}\r\n")), "{open}");
    assert!(open.contains("# TYPE thalweg_connections_accepted counter\n"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
    server.server.stop();
}

#[test]
fn readiness_follows_the_brokers_life() {
    let server = start();
    let answer = server.get("/readyz");
    assert_eq!(status(&answer), "HTTP/1.1 503");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    assert!(answer.contains(r#""reasons":["starting"]"#), "{answer}");

    server.health.begin_recovery(7);
    server.health.on_partition_recovered();
    assert!(server.get("/readyz").contains(r#""reasons":["recovering 1/7 partitions"]"#));
    assert_eq!(status(&server.get("/healthz")), "HTTP/1.1 200", "alive although not ready");

    server.health.begin_serving();
    server.health.set_disk_full(true);
    assert_eq!(status(&server.get("/readyz")), "HTTP/1.1 200", "a full disk can still be read");
    assert!(server.get("/healthz").contains("disk full: writes are refused"));

    server.health.begin_draining();
    assert!(server.get("/readyz").contains(r#""reasons":["draining"]"#));
    server.server.stop();
}

#[test]
fn other_paths_and_methods_are_answered_in_text() {
    let server = start();
    assert!(server.get("/").contains("/metrics"));
    let missing = server.get("/nothing");
    assert_eq!(status(&missing), "HTTP/1.1 404");
    assert!(missing.contains("content-type: text/plain"), "{missing}");
    assert!(missing.ends_with("there is nothing at /nothing: try /metrics, /healthz or /readyz\n"));
    let posted = exchange(server.server.address(), "POST", "/metrics", "Content-Length: 0\r\n");
    assert_eq!(status(&posted), "HTTP/1.1 405");
    assert!(posted.contains("only GET and HEAD"), "{posted}");
    let head = exchange(server.server.address(), "HEAD", "/healthz", "");
    assert_eq!(status(&head), "HTTP/1.1 200");
    assert!(head.ends_with("\r\n\r\n"), "a HEAD answer has no body: {head}");
    server.server.stop();
}

#[test]
fn an_address_in_use_is_refused_with_what_to_do() {
    let server = start();
    let address = server.server.address();
    let error = AdminServer::start(address, server.metrics.clone(), Arc::clone(&server.health))
        .expect_err("taken");
    assert_eq!(
        error.to_string(),
        format!("admin address {address} is in use: choose another with --admin-listen")
    );
    server.server.stop();
}

#[test]
fn stopping_ends_the_thread_and_frees_the_port_even_with_idle_connections() {
    let server = start();
    let address = server.server.address();
    let mut idle = connect(address);
    write!(idle, "GET / HTTP/1.1\r\nHost: t\r\n\r\n").expect("sent");
    let mut first = [0; 12];
    idle.read_exact(&mut first).expect("an answer");
    server.server.stop();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).expect("closed by the server");
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
