//! `thalweg consume`: the records of a topic, as lines, as JSON or after a template.
//!
//! Records are borrowed from the answer they came in and written through one buffer, which is
//! flushed whenever there is nothing to write. Outside groups Ctrl-C needs no handling: the
//! signal's own way of ending the process is quiet, and nothing that was printed is lost.

mod group;

use std::io::Write;

use clap::Args;
use futures_util::FutureExt;
use thalweg_client::consumer::{
    ConsumerBuilder, OffsetReset, PartitionConsumer, RecordBatch, StartAt,
};
use thalweg_client::{Client, Isolation, TopicPartition};

use crate::cli::connect::ConnectFlags;
use crate::cli::failure::{Failure, settle};
use crate::cli::format::Format;
use crate::cli::json::JsonRecord;
use crate::cli::offsets::place;
use crate::cli::output::{Output, Printer};
use crate::cli::position::Position;

/// Print the records of a topic.
///
/// Without --exit-at-end or --count it waits for new records until it is interrupted. Records of
/// one partition come in order; those of several are mixed as they arrive.
#[derive(Debug, Args)]
#[command(after_help = "Formats (-f) may hold:\n  \
    %t topic   %p partition   %o offset   %T timestamp in ms since 1970\n  \
    %k key     %v value       %h headers, as name=value,name=value\n  \
    %S size of the key   %s size of the value   (-1 for none)\n  \
    \\n \\t \\r \\0 \\\\ and %%\n\n\
    Examples:\n  \
    thalweg consume demo --offset start -e         all there is, then end\n  \
    thalweg consume demo --offset -10 -e           the last ten of each partition\n  \
    thalweg consume demo --offset @1h --json       from an hour ago on, as JSON\n  \
    thalweg consume demo -f '%p %o %k: %v\\n'       new ones, with partition, offset and key\n  \
    thalweg consume demo --group audit             its share of a group's records, committed")]
pub(super) struct ConsumeArgs {
    /// The topic.
    topic: String,
    /// Read as a member of this consumer group: members share the partitions, and the group goes on
    /// where it has committed. What was printed is committed every second and at the end.
    #[arg(short, long, conflicts_with = "partition")]
    group: Option<String>,
    /// Where to begin: start, end, an offset, -N for the last N, or @ and a time or how long ago.
    /// With --group: where it begins if it has not committed anything, start or end.
    #[arg(long, default_value = "end", value_name = "POSITION", allow_hyphen_values = true)]
    offset: Position,
    /// Print so many records, then end.
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// End where the partitions end now, instead of waiting for more.
    #[arg(short, long)]
    exit_at_end: bool,
    /// Only this partition; may be given several times.
    #[arg(short, long)]
    partition: Vec<i32>,
    /// How to write a record [default: %v\n].
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<Format>,
    /// Write each record as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Only records outside transactions and those of committed ones.
    #[arg(long)]
    committed: bool,
    #[command(flatten)]
    connect: ConnectFlags,
}

pub(super) async fn run(args: ConsumeArgs, printer: &mut Printer) -> Result<(), Failure> {
    let client = args.connect.connect().await?;
    let is_json = args.json || (printer.output == Output::Json && args.format.is_none());
    let writer = match &args.format {
        _ if is_json => Writer::Json,
        Some(format) => Writer::Format(format.clone()),
        None => Writer::Format(Format::lines()),
    };
    if let Some(group) = &args.group {
        return group::run(&client, group, &args, &writer, printer).await;
    }
    let mut consumer = begin(&client, &args).await?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let ready = consumer.next_batch().now_or_never();
        let batch = match ready {
            Some(batch) => batch?,
            None => {
                printer.flush()?;
                consumer.next_batch().await?
            }
        };
        let Some(batch) = batch else { break };
        left -= writer.write(&batch, left, printer)?.records;
    }
    Ok(printer.flush()?)
}

/// How a record is written.
enum Writer {
    Json,
    Format(Format),
}

/// What was written of a batch.
struct Written {
    records: u64,
    /// The first offset that was left out, if the limit was reached before the batch's end.
    cut_at: Option<i64>,
}

impl Writer {
    /// Writes at most `limit` records.
    fn write(
        &self,
        batch: &RecordBatch,
        limit: u64,
        printer: &mut Printer,
    ) -> Result<Written, Failure> {
        let source = batch.source();
        let mut written = Written { records: 0, cut_at: None };
        for record in batch.iter() {
            let record = record?;
            if written.records == limit {
                written.cut_at = Some(record.offset);
                break;
            }
            match self {
                Writer::Json => {
                    let json = JsonRecord::new(source, &record);
                    serde_json::to_writer(&mut *printer, &json).map_err(std::io::Error::from)?;
                    printer.write_all(b"\n")?;
                }
                Writer::Format(format) => format.write(printer, source, &record)?,
            }
            written.records += 1;
        }
        Ok(written)
    }
}

async fn begin(client: &Client, args: &ConsumeArgs) -> Result<PartitionConsumer, Failure> {
    let isolation =
        if args.committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    // What was asked for by number is an error if it is not there; the start is wherever it is by
    // now.
    let on_out_of_range = match args.offset {
        Position::Start => OffsetReset::Earliest,
        _ => OffsetReset::Fail,
    };
    let builder = client
        .consumer()
        .isolation(isolation)
        .on_offset_out_of_range(on_out_of_range)
        .stop_at_end(args.exit_at_end);
    Ok(assigned(client, builder, args).await?.build().await?)
}

async fn assigned(
    client: &Client,
    builder: ConsumerBuilder,
    args: &ConsumeArgs,
) -> Result<ConsumerBuilder, Failure> {
    let start = match args.offset {
        Position::Start => StartAt::Earliest,
        Position::End => StartAt::Latest,
        Position::Offset(offset) => StartAt::Offset(offset),
        Position::Time(ms) => StartAt::Timestamp(ms),
        Position::Last(count) => {
            let partitions = partitions(client, args).await?;
            let placed = place(&client.admin(), &partitions, Position::Last(count)).await;
            let starts: Result<Vec<_>, Failure> = placed.into_iter().collect();
            let starts = starts?.into_iter();
            return Ok(builder.assign(starts.map(|(it, offset)| (it, StartAt::Offset(offset)))));
        }
    };
    if args.partition.is_empty() {
        return Ok(builder.topic(&args.topic, start));
    }
    let name = |index: &i32| (TopicPartition::new(args.topic.as_str(), *index), start);
    Ok(builder.assign(args.partition.iter().map(name)))
}

async fn partitions(client: &Client, args: &ConsumeArgs) -> Result<Vec<TopicPartition>, Failure> {
    let indexes = if args.partition.is_empty() {
        let (found, outcome) = settle(client.admin().describe_topics(&[&args.topic]).await?);
        outcome?;
        found.iter().flat_map(|topic| &topic.partitions).map(|it| it.index).collect()
    } else {
        args.partition.clone()
    };
    let name = |index| TopicPartition::new(args.topic.as_str(), index);
    Ok(indexes.into_iter().map(name).collect())
}
