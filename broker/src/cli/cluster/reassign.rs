//! `thalweg cluster move`.

use clap::Args;
use serde_json::json;
use thalweg_client::TopicPartition;
use thalweg_client::admin::Admin;

use super::moves::{self, Pace, ShownMove, for_people};
use super::plan::Move;
use super::view::View;
use super::{named, partition};
use crate::cli::failure::{Failure, settle};
use crate::cli::output::Printer;

#[derive(Debug, Args)]
pub(super) struct MoveArgs {
    /// What to move.
    #[arg(required = true, value_name = "TOPIC:PARTITION", value_parser = partition)]
    partitions: Vec<TopicPartition>,
    /// The brokers that are to have it, the preferred leader first.
    #[arg(
        long,
        value_name = "ID,ID,...",
        value_delimiter = ',',
        required_unless_present = "cancel",
        conflicts_with = "cancel"
    )]
    to: Vec<i32>,
    /// Take back the move that is under way.
    #[arg(long)]
    cancel: bool,
    /// Do not wait until the replicas have arrived.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    pace: Pace,
}

pub(super) async fn run(
    admin: &Admin,
    args: MoveArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let view = View::of(admin).await?;
    for partition in &args.partitions {
        view.partition(partition)?;
    }
    if args.cancel {
        return cancel(admin, &args.partitions, printer).await;
    }
    for node in &args.to {
        view.broker(*node)?;
    }
    let wanted = args.partitions.iter().map(|name| {
        let from = view.partition(name)?.goal();
        Ok(Move { partition: name.clone(), from, to: args.to.clone() })
    });
    let wanted: Vec<Move> = wanted.collect::<Result<_, Failure>>()?;
    let outcome = match args.no_wait {
        true => settle(moves::begin(admin, &wanted).await?).1,
        false => moves::carry_out(admin, &wanted, args.pace).await,
    };
    outcome?;
    let shown: Vec<ShownMove> = wanted.iter().map(ShownMove::from).collect();
    let done = if args.no_wait { "under way" } else { "moved" };
    let result = json!({ "moves": shown, "waited": !args.no_wait });
    Ok(printer.print(&result, |_| format!("{done}:\n{}", for_people(&shown)))?)
}

async fn cancel(
    admin: &Admin,
    partitions: &[TopicPartition],
    printer: &mut Printer,
) -> Result<(), Failure> {
    let changes: Vec<_> = partitions.iter().map(|name| (name.clone(), None)).collect();
    let outcomes = admin.alter_partition_reassignments(&changes).await?;
    let done = partitions.iter().zip(outcomes);
    let (cancelled, outcome) = settle(done.map(|(name, outcome)| outcome.map(|()| named(name))));
    if !cancelled.is_empty() {
        let result = json!({ "cancelled": cancelled });
        printer.print(&result, |_| format!("on the way back: {}", cancelled.join(" ")))?;
    }
    outcome
}
