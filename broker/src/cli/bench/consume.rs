//! `thalweg bench consume`: a topic from its start to where it ends now, records counted and thrown
//! away.

use std::time::Duration;

use clap::Args;
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use thalweg_client::consumer::{RecordBatch, StartAt};
use thalweg_client::{Client, TopicPartition};
use tokio::time::{Instant, timeout_at};

use super::report::Report;
use super::tally::Tally;
use super::threads::{Share, measure};
use crate::cli::connect::ConnectFlags;
use crate::cli::failure::{Failure, settle};
use crate::cli::output::Printer;
use crate::cli::pairs::{count, duration};

#[derive(Debug, Args)]
pub(super) struct ConsumeBench {
    /// The topic.
    topic: String,
    /// End after so many records of each client.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    records: Option<u64>,
    /// Follow the topic for so long, instead of ending at its end.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// How many clients, each with connections and partitions of its own; they share a thread for
    /// each core.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
}

pub(super) fn run(
    connect: &ConnectFlags,
    bench: &ConsumeBench,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let found = crate::cli::on_runtime(async {
        partitions(&connect.connect().await?, &bench.topic).await
    })?;
    let connections = usize::from(bench.connections);
    if connections > found.len() {
        let (topic, count) = (&bench.topic, found.len());
        let said = format!("{topic} has {count} partitions, which is the most --connections");
        return Err(Failure::Usage(said));
    }
    let report = measure(connections, async |share| bench.consume(connect, &found, share).await)?;
    Ok(printer.print(&report, Report::for_people)?)
}

impl ConsumeBench {
    async fn consume(
        &self,
        connect: &ConnectFlags,
        partitions: &[TopicPartition],
        share: Share,
    ) -> Result<Tally, Failure> {
        let open = async |number| Ok::<_, Failure>((number, connect.connect().await?));
        let opening: FuturesUnordered<_> = share.numbers().map(open).collect();
        let clients: Vec<(usize, Client)> = opening.try_collect().await?;
        let mut total = Tally::begin();
        let read = async |(number, client): &(usize, Client)| {
            let mine = partitions.iter().skip(*number).step_by(share.connections);
            self.read(client, mine.cloned(), total.began).await
        };
        let reading: FuturesUnordered<_> = clients.iter().map(read).collect();
        let tallies: Vec<Tally> = reading.try_collect().await?;
        tallies.iter().for_each(|tally| total.add(tally));
        Ok(total)
    }

    async fn read(
        &self,
        client: &Client,
        partitions: impl Iterator<Item = TopicPartition>,
        began: Instant,
    ) -> Result<Tally, Failure> {
        let mine = partitions.map(|partition| (partition, StartAt::Earliest));
        let builder = client.consumer().assign(mine).stop_at_end(self.duration.is_none());
        let mut consumer = builder.build().await?;
        let end = self.duration.map(|duration| began + duration);
        let mut tally = Tally::begin();
        while tally.records < self.records.unwrap_or(u64::MAX) {
            let next = match end {
                None => consumer.next_batch().await,
                Some(end) => match timeout_at(end, consumer.next_batch()).await {
                    Ok(next) => next,
                    Err(_time_is_up) => break,
                },
            };
            let Some(batch) = next? else { break };
            count_read(&mut tally, &batch)?;
        }
        Ok(tally)
    }
}

/// Looks at every record of a batch.
pub(super) fn count_read(tally: &mut Tally, batch: &RecordBatch) -> Result<(), Failure> {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len) as u64;
    for record in batch.iter() {
        let record = record?;
        tally.records += 1;
        tally.bytes += length(record.key) + length(record.value);
    }
    Ok(())
}

/// All partitions of a topic.
pub(super) async fn partitions(
    client: &Client,
    topic: &str,
) -> Result<Vec<TopicPartition>, Failure> {
    let (found, outcome) = settle(client.admin().describe_topics(&[topic]).await?);
    outcome?;
    let partitions = found.iter().flat_map(|topic| &topic.partitions);
    Ok(partitions.map(|it| TopicPartition::new(topic, it.index)).collect())
}
