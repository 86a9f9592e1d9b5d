//! The way in: a handle on one cluster, from which producers, consumers and admin are made.
//!
//! It owns nothing but its share of the cluster, so that any of them may outlive it.

use std::sync::Arc;
use std::time::Duration;

use thalweg_protocol::{KafkaStr, Request};
use thiserror::Error;

use crate::address::{AddressError, BrokerAddress};
use crate::admin::Admin;
use crate::backoff::Backoff;
use crate::cluster::{Broker, Cluster, Target};
use crate::consumer::ConsumerBuilder;
use crate::error::RequestError;
use crate::observer::Observer;
use crate::options::Options;
use crate::producer::ProducerBuilder;

/// A cluster of Kafka brokers. Cheap to clone; all clones, and everything made from them, share
/// their connections and metadata. Connections close when the last of all these is dropped.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use thalweg_client::{Client, Record};
///
/// let client = Client::connect("broker-1:9092,broker-2:9092").await?;
/// let producer = client.producer().build();
/// let written = producer.send(Record::to("greetings").value("hello")).await?;
/// println!("partition {}, offset {:?}", written.partition, written.offset);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    cluster: Arc<Cluster>,
}

/// The settings of a [`Client`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it connects"]
pub struct ClientBuilder {
    bootstrap: Result<Vec<BrokerAddress>, AddressError>,
    options: Options,
}

/// A client could not be made.
#[derive(Debug, Clone, Error)]
pub enum ClientError {
    /// The addresses cannot be read.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// None of the addresses answered. This is the last failure.
    #[error("no broker answered: {0}")]
    Unreachable(#[from] RequestError),
}

impl Client {
    /// Begins with the addresses of some brokers, `host:port` separated by commas; the others are
    /// found through them.
    pub fn builder(bootstrap: &str) -> ClientBuilder {
        ClientBuilder {
            bootstrap: BrokerAddress::parse_list(bootstrap),
            options: Options::default(),
        }
    }

    /// Connects with the usual settings. Fails if none of the brokers answers.
    ///
    /// Cancel-safe.
    pub async fn connect(bootstrap: &str) -> Result<Self, ClientError> {
        Self::builder(bootstrap).connect().await
    }

    /// Makes a producer.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.cluster.clone())
    }

    /// Makes a consumer of partitions that the caller names.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.cluster.clone())
    }

    /// Topics, configs and the cluster itself.
    pub fn admin(&self) -> Admin {
        Admin::new(self.cluster.clone())
    }

    /// The brokers of the cluster, as last heard of, by id.
    pub fn brokers(&self) -> Vec<Broker> {
        let mut brokers: Vec<Broker> = self.cluster.metadata().brokers.values().cloned().collect();
        brokers.sort_by_key(|broker| broker.id);
        brokers
    }

    /// The id of the cluster, if it has one.
    pub fn cluster_id(&self) -> Option<Arc<str>> {
        self.cluster.metadata().cluster_id.clone()
    }

    /// Sends any request of the protocol, as `build` makes it for the version that broker and
    /// client agree on. After a failure of the network it is sent again, until the operation
    /// timeout is over; error codes within the response are the caller's to look at.
    ///
    /// Cancel-safe, but a request that was sent may be carried out.
    pub async fn request<R: Request>(
        &self,
        target: Target,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, RequestError> {
        self.cluster.call(target, R::VERSIONS, build).await
    }
}

impl ClientBuilder {
    /// The name under which brokers log and meter this client. Default `thalweg-client`.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.options.client_id = KafkaStr::from(id.into());
        self
    }

    /// How long making one connection may take. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long a broker may leave a request unanswered before its connection is given up. Default
    /// 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.options.request_timeout = timeout;
        self
    }

    /// How long an operation may take in all, with all its attempts. Default 60 s.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.options.operation_timeout = timeout;
        self
    }

    /// The waits before a request is sent again. Default from 50 ms to 1 s.
    pub fn retry_backoff(mut self, min: Duration, max: Duration) -> Self {
        self.options.retry_backoff = Backoff { min, max };
        self
    }

    /// The waits before a broker is dialed again. Default from 50 ms to 1 s.
    pub fn reconnect_backoff(mut self, min: Duration, max: Duration) -> Self {
        self.options.reconnect_backoff = Backoff { min, max };
        self
    }

    /// How old metadata may be before it is read again. Default 5 min.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.options.metadata_max_age = age;
        self
    }

    /// How long to go on asking for a topic that the cluster does not know, as one that was created
    /// just now is not known everywhere at once. Default 2 s.
    pub fn unknown_topic_wait(mut self, wait: Duration) -> Self {
        self.options.unknown_topic_wait = wait;
        self
    }

    /// The largest answer that is accepted; a larger one ends the connection. Default 128 MiB.
    pub fn response_bytes_max(mut self, bytes: usize) -> Self {
        self.options.response_bytes_max = bytes;
        self
    }

    /// Tells this observer what the client, and everything made from it, does.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.options.observer = Some(observer);
        self
    }

    /// Connects: reads the cluster's metadata from the first broker that answers.
    ///
    /// Cancel-safe.
    pub async fn connect(self) -> Result<Client, ClientError> {
        let cluster = Cluster::new(self.bootstrap?, self.options);
        cluster.refresh().await?;
        Ok(Client { cluster })
    }
}
