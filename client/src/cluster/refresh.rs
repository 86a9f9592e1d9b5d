//! Reading metadata: from any broker that answers, those with an open connection first.
//!
//! A reading asks about every topic that anybody is interested in, so that one serves all.

use std::sync::Arc;

use thalweg_protocol::messages::metadata::MetadataRequestTopic;
use thalweg_protocol::messages::{MetadataRequest, MetadataResponse};
use thalweg_protocol::{ErrorCode, KafkaStr, Message, Request};
use tokio::time::Instant;

use super::Cluster;
use crate::address::BrokerAddress;
use crate::connection::Connection;
use crate::error::{RequestError, RequestFault};

/// The first Metadata version that can ask for no topics at all, and says who the controller is.
const VERSION_MIN: i16 = 1;

/// The first version in which a reading can refrain from creating topics.
const VERSION_WITHOUT_CREATION: i16 = 4;

/// What is known of a topic without asking about it.
pub(crate) struct ListedTopic {
    pub(crate) id: uuid::Uuid,
    pub(crate) name: Arc<str>,
    /// It is the cluster's own, such as where offsets are kept.
    pub(crate) is_internal: bool,
}

impl Cluster {
    /// Reads metadata anew, or joins a reading under way. Each broker is tried once.
    ///
    /// Cancel-safe: the reading goes on for others.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<(), RequestError> {
        self.reading.join(|| self.clone().read()).await
    }

    pub(super) async fn read(self: Arc<Self>) -> Result<(), RequestError> {
        let mut failure = None;
        for broker in self.candidates() {
            let topics = self.interest().topics.iter().cloned().collect();
            match self.ask(&broker, Some(topics)).await {
                Ok(response) => {
                    self.publish(|metadata| Some(metadata.merged(&response, Instant::now())));
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(%error, "metadata not read");
                    failure = Some(error);
                }
            }
        }
        Err(failure.expect("there is always a bootstrap address to try"))
    }

    /// Metadata of `topics`, or of all there are, straight from one broker.
    pub(super) async fn ask(
        &self,
        broker: &BrokerAddress,
        topics: Option<Vec<Arc<str>>>,
    ) -> Result<MetadataResponse, RequestError> {
        let connection = self.connection::<MetadataRequest>(broker).await?;
        let wanted = VERSION_MIN..=*MetadataRequest::VERSIONS.end();
        let version = connection.version_within::<MetadataRequest>(wanted)?;
        let creation = self.creation(topics.as_deref()) || version < VERSION_WITHOUT_CREATION;
        let topics = topics.map(|topics| topics.iter().map(|name| by_name(name)).collect());
        let request = MetadataRequest {
            topics,
            allow_auto_topic_creation: creation,
            ..MetadataRequest::default()
        };
        let response = connection.call(&request, version, self.options.request_timeout).await?;
        match ErrorCode::from(response.error_code) {
            ErrorCode::None => Ok(response),
            _ => Err(disappointed(&connection)),
        }
    }

    /// All topics there are.
    ///
    /// Cancel-safe.
    pub(crate) async fn list_topics(&self) -> Result<Vec<ListedTopic>, RequestError> {
        let connection = self.any::<MetadataRequest>().await?;
        let response = self.ask(connection.broker(), None).await?;
        let listed = response.topics.into_iter().filter_map(|topic| {
            let name = Arc::from(topic.name.as_ref()?.as_str());
            Some(ListedTopic { id: topic.topic_id, name, is_internal: topic.is_internal })
        });
        Ok(listed.collect())
    }

    /// Creation is asked for only while a topic that may be created is not there, as the request
    /// cannot say for which of its topics.
    fn creation(&self, topics: Option<&[Arc<str>]>) -> bool {
        let metadata = self.metadata();
        let interest = self.interest();
        let is_known = |name: &str| metadata.topic(name).is_some_and(|topic| topic.error.is_none());
        topics.is_some_and(|topics| {
            let missing = topics.iter().filter(|name| !is_known(name));
            let mut creatable = missing.map(|name| interest.creatable.contains(name)).peekable();
            creatable.peek().is_some() && creatable.all(|creatable| creatable)
        })
    }

    /// Every broker there may be: connected ones, then known ones, then those we began with.
    pub(super) fn candidates(&self) -> Vec<BrokerAddress> {
        let metadata = self.metadata();
        let mut known: Vec<BrokerAddress> =
            metadata.brokers.values().map(|broker| broker.address.clone()).collect();
        rotate(&mut known, &self.jitter);
        known.sort_by_key(|broker| self.pool.open_connection(broker).is_none());
        let mut bootstrap = self.bootstrap.clone();
        rotate(&mut bootstrap, &self.jitter);
        known.extend(bootstrap);
        known
    }

    /// A connection for a request of type `R`.
    pub(crate) async fn connection<R: Request>(
        &self,
        broker: &BrokerAddress,
    ) -> Result<Connection, RequestError> {
        self.pool.connection(broker).await.map_err(|error| RequestError {
            broker: error.broker,
            api: R::API_KEY,
            fault: RequestFault::NotConnected(error.fault),
        })
    }
}

fn rotate(brokers: &mut [BrokerAddress], jitter: &crate::backoff::Jitter) {
    if !brokers.is_empty() {
        brokers.rotate_left(jitter.below(brokers.len()));
    }
}

fn by_name(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic {
        name: Some(KafkaStr::copied_from(name)),
        ..MetadataRequestTopic::default()
    }
}

/// The only error of a whole Metadata answer is that the broker is being rebootstrapped (KIP-1102).
fn disappointed(connection: &Connection) -> RequestError {
    RequestError {
        broker: connection.broker().clone(),
        api: MetadataRequest::API_KEY,
        fault: RequestFault::Disconnected(crate::error::Disconnect::ClosedByBroker),
    }
}
