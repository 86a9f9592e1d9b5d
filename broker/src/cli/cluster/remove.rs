//! `thalweg cluster remove`.

use clap::Args;
use serde_json::json;
use thalweg_client::admin::Admin;
use thalweg_client::protocol::NodeId;

use super::view::View;
use crate::cli::failure::Failure;
use crate::cli::output::{Printer, confirm, counted};

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The broker.
    #[arg(value_name = "ID")]
    node: i32,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl RemoveArgs {
    /// Asks whether the broker is to be removed, if somebody is there to answer.
    pub(super) fn confirm(&self) -> Result<(), Failure> {
        match self.yes {
            true => Ok(()),
            false => confirm(&format!("Remove broker {} for good?", self.node)),
        }
    }
}

pub(super) async fn run(
    admin: &Admin,
    args: &RemoveArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let (node, view) = (args.node, View::of(admin).await?);
    let broker = view.broker(node)?;
    let held = view.partitions.iter().filter(|partition| partition.members.contains(&node));
    let held = held.count();
    if held > 0 {
        let held = counted(held as u64, "partition");
        return Err(Failure::Failed(format!(
            "broker {node} has {held}; move them away first: thalweg cluster drain {node}"
        )));
    }
    if !broker.fenced {
        return Err(Failure::Failed(format!(
            "broker {node} is running; stop it, wait until 'thalweg cluster brokers' shows it as \
             fenced, and try again"
        )));
    }
    admin.unregister_broker(NodeId(node)).await?;
    let result = json!({ "removed": node });
    Ok(printer.print(&result, |_| format!("broker {node} is no longer part of the cluster"))?)
}
