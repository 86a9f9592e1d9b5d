//! Topics to measure with: created, checked to be configured as they should, and counted at the
//! end, so that nothing is measured that is not there.
//!
//! Whatever is not measured goes through thalweg-client, the same for every broker.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use thalweg_client::admin::{Config, ConfigResource, NewTopic};
use thalweg_client::protocol::ErrorCode;
use thalweg_client::{Client, Isolation, OffsetAt, Record, TopicPartition};

use crate::brokers::Brokers;
use crate::peers::{Durability, Peer};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until the broker answers, with as little delay as a client can have.
pub(crate) async fn connect(brokers: &mut Brokers) -> Result<Client> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        brokers.ensure_run()?;
        if all_listen(brokers).await {
            let client = Client::builder(&brokers.bootstrap())
                .retry_backoff(PAUSE, 5 * PAUSE)
                .reconnect_backoff(PAUSE, 5 * PAUSE);
            if let Ok(client) = client.connect().await {
                return Ok(client);
            }
        }
        ensure!(Instant::now() < deadline, "no broker after {PATIENCE:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn all_listen(brokers: &Brokers) -> bool {
    for address in brokers.addresses() {
        if tokio::net::TcpStream::connect(address).await.is_err() {
            return false;
        }
    }
    true
}

/// A topic to create.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: i32,
    pub(crate) replicas: i16,
    pub(crate) durability: Durability,
}

/// Creates a topic as soon as the broker can, waits until all of it is there, and checks that it
/// flushes as asked.
pub(crate) async fn create(client: &Client, peer: &dyn Peer, plan: &Plan<'_>) -> Result<()> {
    let Plan { name, partitions, durability, .. } = *plan;
    request(client, peer, plan).await?;
    let deadline = Instant::now() + PATIENCE;
    let described = loop {
        match described(client, name, partitions).await {
            Ok(described) => break described,
            Err(error) => ensure!(Instant::now() < deadline, "{name} is not there: {error:#}"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    for (key, value) in peer.topic_configs(durability) {
        let config = described.iter().find(|config| &*config.name == key);
        let has = config.and_then(|config| config.value.as_deref());
        ensure!(has == Some(value), "{name} of {} has {key}={has:?}, not {value}", peer.name());
    }
    Ok(())
}

/// Creates a topic as soon as the broker can.
pub(crate) async fn request(client: &Client, peer: &dyn Peer, plan: &Plan<'_>) -> Result<()> {
    let Plan { name, partitions, replicas, durability } = *plan;
    let mut new = NewTopic::named(name).partitions(partitions).replication_factor(replicas);
    for (key, value) in peer.topic_configs(durability) {
        new = new.config(key, value);
    }
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = created(client, &new).await {
        ensure!(Instant::now() < deadline, "cannot create {name}: {error:#}");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The configs of a topic of which every partition can be asked.
async fn described(client: &Client, name: &str, partitions: i32) -> Result<Vec<Config>> {
    ensure_holds(client, name, partitions, 0).await?;
    let described = client.admin().describe_configs(&[ConfigResource::topic(name)]).await?;
    Ok(described.into_iter().next().context("the topic was not described")??)
}

async fn created(client: &Client, new: &NewTopic) -> Result<()> {
    let outcomes = client.admin().create_topics(std::slice::from_ref(new), false).await?;
    for outcome in outcomes {
        match outcome {
            Ok(_) => {}
            // An earlier try did it after all.
            Err(error) if error.error == ErrorCode::TopicAlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Ends with an error unless the topic holds exactly so many records.
pub(crate) async fn ensure_holds(
    client: &Client,
    name: &str,
    partitions: i32,
    records: u64,
) -> Result<()> {
    let wanted: Vec<_> = (0..partitions)
        .map(|partition| (TopicPartition::new(name, partition), OffsetAt::Latest))
        .collect();
    let mut held = 0;
    for end in client.admin().list_offsets(&wanted, Isolation::ReadUncommitted).await {
        let Some(end) = end? else { bail!("a partition of {name} has no end") };
        held += u64::try_from(end.offset)?;
    }
    ensure!(held == records, "{name} holds {held} records, {records} were acknowledged");
    Ok(())
}

/// Writes one record and waits for its acknowledgement.
pub(crate) async fn write_one(client: &Client, name: &str) -> Result<()> {
    let producer = client.producer().linger(Duration::ZERO).build();
    producer.send(Record::to(name).partition(0).value("one")).await?;
    Ok(())
}
