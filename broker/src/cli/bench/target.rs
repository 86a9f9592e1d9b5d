//! The topic that a benchmark writes to, and what its records are like.

use clap::Args;
use thalweg_client::admin::NewTopic;
use thalweg_client::producer::Partitioner;
use thalweg_client::protocol::ErrorCode;

use super::payload::Payload;
use super::threads::Share;
use super::writers::Writers;
use crate::cli::connect::ConnectFlags;
use crate::cli::failure::Failure;
use crate::cli::pairs::bytes;
use crate::cli::writing::WriteFlags;

/// Where records go.
#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    /// The topic; it is created unless it is there.
    pub(super) topic: String,
    /// Partitions of the topic, if it is created.
    #[arg(short, long, value_name = "COUNT")]
    partitions: Option<i32>,
    /// Replicas of each partition, if the topic is created.
    #[arg(long, value_name = "COUNT")]
    replicas: Option<i16>,
    /// Acknowledge before records are flushed to disk, if the topic is created: what Kafka does.
    #[arg(long)]
    write_caching: bool,
    /// How large each record is.
    #[arg(long, default_value = "1KiB", value_name = "SIZE", value_parser = bytes)]
    pub(super) record_size: usize,
    /// Write each record to the next partition, instead of a batch to each.
    #[arg(long)]
    round_robin: bool,
    #[command(flatten)]
    writing: WriteFlags,
}

impl Target {
    /// Creates the topic, unless it is there.
    pub(super) async fn ensure_topic(&self, connect: &ConnectFlags) -> Result<(), Failure> {
        let mut new = NewTopic::named(&self.topic);
        if let Some(count) = self.partitions {
            new = new.partitions(count);
        }
        if let Some(factor) = self.replicas {
            new = new.replication_factor(factor);
        }
        if self.write_caching {
            new = new.config("write.caching", "true");
        }
        let admin = connect.connect().await?.admin();
        match admin.create_topics(&[new], false).await?.into_iter().next() {
            Some(Err(error)) if error.error != ErrorCode::TopicAlreadyExists => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Opens a thread's connections.
    pub(super) async fn connect(
        &self,
        connect: &ConnectFlags,
        share: Share,
    ) -> Result<Writers, Failure> {
        let payload = Payload::new(self.record_size, share.thread as u64 + 1);
        let payloads = share.numbers().map(|number| payload.beginning_at(number));
        let partitioner = match self.round_robin {
            true => Partitioner::RoundRobin,
            false => Partitioner::default(),
        };
        Writers::connect(connect, &self.writing, &partitioner, &self.topic, payloads).await
    }
}
