//! `thalweg cluster transfer-leader`: the wanted leader becomes the preferred one, and is elected.

use clap::Args;
use serde_json::json;
use thalweg_client::TopicPartition;
use thalweg_client::admin::{Admin, ElectionType};

use super::plan::Move;
use super::view::View;
use super::{ids, moves, named, partition};
use crate::cli::failure::{Failure, settle};
use crate::cli::output::Printer;

#[derive(Debug, Args)]
pub(super) struct TransferArgs {
    /// What it is to lead.
    #[arg(value_name = "TOPIC:PARTITION", value_parser = partition)]
    partition: TopicPartition,
    /// The broker that is to lead; it must have the partition.
    #[arg(long, value_name = "ID")]
    to: i32,
}

pub(super) async fn run(
    admin: &Admin,
    args: &TransferArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let view = View::of(admin).await?;
    let (partition, name) = (view.partition(&args.partition)?, named(&args.partition));
    let from = partition.goal();
    if partition.is_moving {
        return Err(Failure::Failed(format!(
            "{name} is on its way to {}; wait until it has arrived",
            ids(&from)
        )));
    }
    if !from.contains(&args.to) {
        view.broker(args.to)?;
        return Err(Failure::Failed(format!(
            "broker {} does not have {name}, only {} do; move it there first: \
             thalweg cluster move {name} --to {},{}",
            args.to,
            ids(&from),
            args.to,
            ids(&from)
        )));
    }
    let mut to = vec![args.to];
    to.extend(from.iter().filter(|node| **node != args.to));
    if to != from {
        let order = Move { partition: args.partition.clone(), from, to };
        settle(moves::begin(admin, &[order]).await?).1?;
    }
    let changed = partition.leader != Some(args.to) && elect(admin, &args.partition).await?;
    let result = json!({ "partition": name, "leader": args.to, "changed": changed });
    Ok(printer.print(&result, |_| match changed {
        true => format!("{name} is led by broker {} now", args.to),
        false => format!("{name} was led by broker {} already", args.to),
    })?)
}

/// Makes the preferred leader lead; returns whether it did not already.
async fn elect(admin: &Admin, partition: &TopicPartition) -> Result<bool, Failure> {
    let partitions = std::slice::from_ref(partition);
    let elected = admin.elect_leaders(ElectionType::Preferred, Some(partitions)).await?;
    let (changed, outcome) = settle(elected.into_iter().map(|(_, outcome)| outcome));
    outcome.map(|()| changed.contains(&true))
}
