//! `thalweg bench consume`: a topic from its start to where it ends now, records counted and thrown
//! away.

use std::time::Duration;

use clap::Args;
use thalweg_client::TopicPartition;
use thalweg_client::consumer::StartAt;
use tokio::time::{Instant, timeout_at};

use super::{Tally, measure};
use crate::cli::connect::ConnectFlags;
use crate::cli::failure::{Failure, settle};
use crate::cli::output::Printer;
use crate::cli::pairs::{count, duration};

#[derive(Debug, Args)]
pub(super) struct ConsumeBench {
    /// The topic.
    topic: String,
    /// End after so many records of each consumer.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    records: Option<u64>,
    /// Follow the topic for so long, instead of ending at its end.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// How many consumers, each a thread with connections and partitions of its own.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    consumers: u16,
}

pub(super) fn run(
    connect: &ConnectFlags,
    bench: &ConsumeBench,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let consumers = usize::from(bench.consumers);
    measure(consumers, printer, async |index| bench.consume(connect, index).await)
}

impl ConsumeBench {
    async fn consume(&self, connect: &ConnectFlags, index: usize) -> Result<Tally, Failure> {
        let client = connect.connect().await?;
        let (found, outcome) = settle(client.admin().describe_topics(&[&self.topic]).await?);
        outcome?;
        let partitions = found.iter().flat_map(|topic| &topic.partitions).map(|it| it.index);
        let mine = partitions.skip(index).step_by(usize::from(self.consumers)).map(|partition| {
            (TopicPartition::new(self.topic.as_str(), partition), StartAt::Earliest)
        });
        let builder = client.consumer().assign(mine).stop_at_end(self.duration.is_none());
        let mut consumer = builder.build().await?;
        let begin = Instant::now();
        let end = self.duration.map(|duration| begin + duration);
        let mut tally = Tally::new(begin);
        while tally.records < self.records.unwrap_or(u64::MAX) {
            let next = match end {
                None => consumer.next_batch().await,
                Some(end) => match timeout_at(end, consumer.next_batch()).await {
                    Ok(next) => next,
                    Err(_time_is_up) => break,
                },
            };
            let Some(batch) = next? else { break };
            for record in batch.iter() {
                let record = record?;
                tally.records += 1;
                let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len) as u64;
                tally.bytes += length(record.key) + length(record.value);
            }
        }
        Ok(tally)
    }
}
