//! `thalweg topic trim`: deleting the oldest records of partitions.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use thalweg_client::admin::Admin;
use thalweg_client::{Isolation, OffsetAt, TopicPartition};

use crate::cli::failure::{Failure, settle};
use crate::cli::output::{Printer, table};
use crate::cli::position::Position;

/// Delete the oldest records of a topic.
#[derive(Debug, Args)]
pub(super) struct TrimArgs {
    /// Its name.
    name: String,
    /// Only this partition; may be given several times.
    #[arg(short, long, value_name = "PARTITION")]
    partition: Vec<i32>,
    /// Records before this go: an offset, "end" for all there are, or a time (@7d, @2026-01-31).
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
    before: Position,
}

pub(super) async fn run(
    admin: &Admin,
    args: TrimArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let partitions = partitions(admin, &args).await?;
    let (below, looked_up) = settle(targets(admin, partitions, args.before).await?);
    let outcomes = admin.delete_records(&below).await;
    let named = below.iter().zip(outcomes).map(|((partition, _), outcome)| {
        outcome.map(|deleted| (partition.partition, deleted.low_watermark))
    });
    let (trimmed, outcome) = settle(named);
    if !trimmed.is_empty() {
        let starts: BTreeMap<i32, i64> = trimmed.into_iter().collect();
        let result = json!({"topic": args.name, "start_offsets": starts});
        printer.print(&result, |_| {
            let row = |(partition, start): (&i32, &i64)| [partition.to_string(), start.to_string()];
            table([">PARTITION", ">NOW STARTS AT"], starts.iter().map(row))
        })?;
    }
    looked_up.and(outcome)
}

async fn partitions(admin: &Admin, args: &TrimArgs) -> Result<Vec<TopicPartition>, Failure> {
    let (found, outcome) = settle(admin.describe_topics(&[&args.name]).await?);
    outcome?;
    let all = found.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.index);
    let wanted = if args.partition.is_empty() { all.collect() } else { args.partition.clone() };
    let name = |index| TopicPartition::new(args.name.as_str(), index);
    Ok(wanted.into_iter().map(name).collect())
}

type Below = (TopicPartition, Option<i64>);

/// Below which offset each partition is to be trimmed; nothing for all that is committed.
async fn targets(
    admin: &Admin,
    partitions: Vec<TopicPartition>,
    before: Position,
) -> Result<Vec<Result<Below, Failure>>, Failure> {
    let at = match before {
        Position::Offset(offset) => {
            let with = |partition| Ok((partition, Some(offset)));
            return Ok(partitions.into_iter().map(with).collect());
        }
        Position::End => return Ok(partitions.into_iter().map(|it| Ok((it, None))).collect()),
        Position::Time(ms) => OffsetAt::Timestamp(ms),
        Position::Last(_) => OffsetAt::Latest,
        Position::Start => return Err(Failure::Usage("nothing is before the start".into())),
    };
    let wanted: Vec<_> = partitions.into_iter().map(|partition| (partition, at)).collect();
    let found = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await;
    let target = |(partition, _), found: Result<Option<_>, _>| {
        let found: Option<thalweg_client::FoundOffset> = found?;
        let offset = match before {
            Position::Last(count) => found.map(|end| end.offset.saturating_sub(count).max(0)),
            _ => found.map(|found| found.offset),
        };
        Ok((partition, offset))
    };
    Ok(wanted.into_iter().zip(found).map(|(wanted, found)| target(wanted, found)).collect())
}
