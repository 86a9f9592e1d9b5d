//! What a client is configured with. The builder of [`Client`](crate::Client) writes it, all else
//! reads.

use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::KafkaStr;

use crate::backoff::Backoff;
use crate::observer::Observer;

/// The settings that connections, metadata and requests share.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) client_id: KafkaStr,
    pub(crate) connect_timeout: Duration,
    /// How long one request may go unanswered before its connection is given up.
    pub(crate) request_timeout: Duration,
    /// How long an operation may take in all, attempts and waits together.
    pub(crate) operation_timeout: Duration,
    pub(crate) reconnect_backoff: Backoff,
    pub(crate) retry_backoff: Backoff,
    pub(crate) metadata_max_age: Duration,
    /// How long a topic that no broker knows is asked for, as a new one takes a while to be known.
    pub(crate) unknown_topic_wait: Duration,
    pub(crate) response_bytes_max: usize,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            client_id: KafkaStr::from("thalweg-client"),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(60),
            reconnect_backoff: Backoff {
                min: Duration::from_millis(50),
                max: Duration::from_secs(1),
            },
            retry_backoff: Backoff { min: Duration::from_millis(50), max: Duration::from_secs(1) },
            metadata_max_age: Duration::from_secs(300),
            unknown_topic_wait: Duration::from_secs(2),
            response_bytes_max: 128 * 1024 * 1024,
            observer: None,
        }
    }
}
