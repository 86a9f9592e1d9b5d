//! Configuration by the names that Kafka's Java client and librdkafka know, for whoever has it in a
//! file or an environment already.
//!
//! A name that neither knows is an error that suggests what may have been meant. One that is known
//! but means nothing here is taken, with a warning; one that would change what is promised, such as
//! asking for TLS, is an error.

mod names;
mod value;

use std::time::Duration;

use thiserror::Error;

use self::names::{Meaning, meaning, nearest, unsupported};
use self::value::Value;
use crate::client::{Client, ClientBuilder};
use crate::cluster::Isolation;
use crate::consumer::{
    Assignor, ConsumerBuilder, GroupConsumerBuilder, GroupProtocol, OffsetReset,
};
use crate::producer::{Acks, Partitioner, ProducerBuilder};
use crate::{ClientError, Codec};

/// A configuration that was read: a client, and what is made of it, with these settings.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use thalweg_client::Client;
///
/// let properties = Client::from_properties([
///     ("bootstrap.servers", "localhost:9092"),
///     ("group.id", "billing"),
///     ("compression.type", "zstd"),
/// ])?;
/// for warning in properties.warnings() {
///     eprintln!("{warning}");
/// }
/// let client = properties.connect().await?;
/// let producer = properties.producer(&client).build();
/// let consumer = properties.group_consumer(&client)?.subscribe(["orders"]).build();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Properties {
    client: ClientBuilder,
    group: Option<String>,
    settings: Vec<(Meaning, Value)>,
    warnings: Vec<PropertyWarning>,
}

/// A property that was taken but does nothing here, or not what everybody would expect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {reason}")]
pub struct PropertyWarning {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: &'static str,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PropertyError {
    /// Nobody knows the name.
    #[error("there is no property {name}; near it are {}", .nearest.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// Names that are like it, the likest first.
        nearest: Vec<&'static str>,
    },
    /// It asks for what this client cannot do, and would not be safe to go on without.
    #[error("{name} cannot be had: {reason}")]
    Unsupported {
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The value is not one.
    #[error("{name} cannot be {value:?}: {expected}")]
    Invalid {
        /// The name of the property.
        name: String,
        /// Its value.
        value: String,
        /// What it could be.
        expected: &'static str,
    },
    /// A property that there must be is not there.
    #[error("{0} is not set")]
    Missing(&'static str),
}

impl Client {
    /// Reads a configuration by the names that Kafka's Java client and librdkafka know, of client,
    /// producer and consumer in any order. Of a name that occurs twice the last counts.
    pub fn from_properties<N: AsRef<str>, V: AsRef<str>>(
        properties: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Properties, PropertyError> {
        let (mut settings, mut warnings) = (Vec::new(), Vec::new());
        let (mut bootstrap, mut group) = (None, None);
        for (name, value) in properties {
            let (name, value) = (name.as_ref().trim(), value.as_ref().trim());
            match meaning(name) {
                None if unsupported(name).is_some() => {
                    let reason = unsupported(name).unwrap_or_default();
                    return Err(PropertyError::Unsupported { name: name.into(), reason });
                }
                None => {
                    return Err(PropertyError::Unknown {
                        name: name.into(),
                        nearest: nearest(name),
                    });
                }
                Some(Meaning::Nothing(reason)) => {
                    warnings.push(PropertyWarning { name: name.into(), reason });
                }
                Some(Meaning::Bootstrap) => bootstrap = Some(value.to_owned()),
                Some(Meaning::Group) => group = Some(value.to_owned()),
                Some(meaning) => {
                    let value = Value::parse(meaning, value).map_err(|expected| {
                        let (name, value) = (name.into(), value.into());
                        PropertyError::Invalid { name, value, expected }
                    })?;
                    if (meaning, &value) == (Meaning::AutoCommitInterval, &Value::Time(ZERO)) {
                        let reason = NO_PAUSE;
                        warnings.push(PropertyWarning { name: name.into(), reason });
                    }
                    settings.push((meaning, value));
                }
            }
        }
        let bootstrap = bootstrap.ok_or(PropertyError::Missing("bootstrap.servers"))?;
        let client = settings.iter().fold(Client::builder(&bootstrap), of_client);
        Ok(Properties { client, group, settings, warnings })
    }
}

impl Properties {
    /// The properties that mean nothing here, or not the same to everybody.
    pub fn warnings(&self) -> &[PropertyWarning] {
        &self.warnings
    }

    /// The client, to be configured further.
    pub fn client(&self) -> ClientBuilder {
        self.client.clone()
    }

    /// Connects. Cancel-safe.
    pub async fn connect(&self) -> Result<Client, ClientError> {
        self.client().connect().await
    }

    /// A producer with these settings.
    pub fn producer(&self, client: &Client) -> ProducerBuilder {
        self.settings.iter().fold(client.producer(), of_producer)
    }

    /// A consumer with these settings, of partitions yet to be named.
    pub fn consumer(&self, client: &Client) -> ConsumerBuilder {
        self.settings.iter().fold(client.consumer(), of_consumer)
    }

    /// A member of the group `group.id`, of topics yet to be named.
    pub fn group_consumer(&self, client: &Client) -> Result<GroupConsumerBuilder, PropertyError> {
        let group = self.group.as_deref().ok_or(PropertyError::Missing("group.id"))?;
        let mut builder = self.consumer(client).group(group);
        builder = self.settings.iter().fold(builder, of_group);
        let mut said = self.settings.iter().rev();
        let last = said.find(|(meaning, _)| *meaning == Meaning::AutoCommit);
        let is_manual = last.is_some_and(|(_, value)| *value == Value::Flag(false));
        Ok(if is_manual { builder.manual_commit() } else { builder })
    }
}

const ZERO: Duration = Duration::ZERO;

/// The one value of the one name by which Kafka's Java client and librdkafka mean different things.
const NO_PAUSE: &str = "0 commits without pause, as with Kafka's Java client; where librdkafka's \
    meaning is wanted, which is never to commit, set enable.auto.commit to false";

fn of_client(builder: ClientBuilder, (meaning, value): &(Meaning, Value)) -> ClientBuilder {
    match (meaning, value) {
        (Meaning::ClientId, Value::Text(id)) => builder.client_id(id.as_str()),
        (Meaning::RequestTimeout, Value::Time(time)) => builder.request_timeout(*time),
        (Meaning::OperationTimeout, Value::Time(time)) => builder.operation_timeout(*time),
        (Meaning::ConnectTimeout, Value::Time(time)) => builder.connect_timeout(*time),
        (Meaning::MetadataAge, Value::Time(time)) => builder.metadata_max_age(*time),
        (Meaning::RetryBackoff, Value::Time(time)) => {
            builder.retry_backoff(*time, (*time).max(Duration::from_secs(1)))
        }
        (Meaning::ReconnectBackoff, Value::Time(time)) => {
            builder.reconnect_backoff(*time, (*time).max(Duration::from_secs(1)))
        }
        (Meaning::ResponseBytes, Value::Count(bytes)) => builder.response_bytes_max(*bytes),
        _ => builder,
    }
}

fn of_producer(builder: ProducerBuilder, (meaning, value): &(Meaning, Value)) -> ProducerBuilder {
    match (meaning, value) {
        (Meaning::Acks, Value::Acks(acks)) => builder.acks(*acks),
        (Meaning::Compression, Value::Codec(codec)) => builder.compression(*codec),
        (Meaning::Linger, Value::Time(time)) => builder.linger(*time),
        (Meaning::BatchBytes, Value::Count(bytes)) => builder.batch_bytes(*bytes),
        (Meaning::ProduceBytes, Value::Count(bytes)) => builder.request_bytes_max(*bytes),
        (Meaning::BufferMemory, Value::Count(bytes)) => builder.buffer_memory(*bytes),
        (Meaning::BufferKib, Value::Count(kib)) => builder.buffer_memory(kib.saturating_mul(1024)),
        (Meaning::DeliveryTimeout, Value::Time(time)) => builder.delivery_timeout(*time),
        (Meaning::InFlight, Value::Count(requests)) => builder.max_in_flight(*requests),
        (Meaning::Idempotence, Value::Flag(flag)) => builder.idempotent(*flag),
        (Meaning::Partitioner, Value::RoundRobin) => builder.partitioner(Partitioner::RoundRobin),
        (Meaning::CreateTopics, Value::Flag(flag)) => builder.create_topics(*flag),
        _ => builder,
    }
}

fn of_consumer(builder: ConsumerBuilder, (meaning, value): &(Meaning, Value)) -> ConsumerBuilder {
    match (meaning, value) {
        (Meaning::FetchMin, Value::Count(bytes)) => builder.min_bytes(*bytes),
        (Meaning::FetchMax, Value::Count(bytes)) => builder.max_bytes(*bytes),
        (Meaning::FetchWait, Value::Time(time)) => builder.max_wait(*time),
        (Meaning::PartitionBytes, Value::Count(bytes)) => builder.partition_max_bytes(*bytes),
        (Meaning::PrefetchKib, Value::Count(kib)) => {
            builder.prefetch_bytes(kib.saturating_mul(1024))
        }
        (Meaning::CheckCrcs, Value::Flag(flag)) => builder.check_crcs(*flag),
        (Meaning::Isolation, Value::Isolation(isolation)) => builder.isolation(*isolation),
        (Meaning::OffsetReset, Value::Reset(reset)) => builder.on_offset_out_of_range(*reset),
        _ => builder,
    }
}

fn of_group(
    builder: GroupConsumerBuilder,
    (meaning, value): &(Meaning, Value),
) -> GroupConsumerBuilder {
    match (meaning, value) {
        (Meaning::OffsetReset, Value::Reset(reset)) => builder.auto_offset_reset(*reset),
        (Meaning::InstanceId, Value::Text(id)) => builder.group_instance_id(id),
        (Meaning::Rack, Value::Text(rack)) => builder.rack(rack),
        (Meaning::SessionTimeout, Value::Time(time)) => builder.session_timeout(*time),
        (Meaning::HeartbeatInterval, Value::Time(time)) => builder.heartbeat_interval(*time),
        (Meaning::MaxPollInterval, Value::Time(time)) => builder.max_poll_interval(*time),
        (Meaning::AutoCommitInterval, Value::Time(time)) => builder.auto_commit(*time),
        (Meaning::AutoStore, Value::Flag(false)) => builder.manual_store(),
        (Meaning::Assignors, Value::Assignors(assignors)) => builder.assignors(assignors.clone()),
        (Meaning::Protocol, Value::Protocol(protocol)) => builder.group_protocol(*protocol),
        (Meaning::ServerAssignor, Value::Text(name)) => builder.server_assignor(name),
        _ => builder,
    }
}

#[cfg(test)]
mod tests;
