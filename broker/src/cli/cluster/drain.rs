//! `thalweg cluster drain`: a broker is told to take nothing new, then everything moves off it.
//!
//! A topic may be created before the cluster has heard of that, so it is looked again until nothing
//! is left.

use clap::Args;
use serde_json::json;
use thalweg_client::admin::{Admin, ConfigChange, ConfigResource};
use thalweg_client::protocol::NodeId;

use super::moves::{self, Pace};
use super::named;
use super::plan::{self, Move, Stuck};
use super::view::{DRAINED, View};
use crate::cli::failure::{Failure, settle};
use crate::cli::output::{Printer, counted};

#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// The broker.
    #[arg(value_name = "ID")]
    node: i32,
    /// Let the broker have replicas again, instead.
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    pace: Pace,
}

pub(super) async fn run(
    admin: &Admin,
    args: &DrainArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let (node, view) = (args.node, View::of(admin).await?);
    view.broker(node)?;
    if args.undo {
        set_drained(admin, node, false).await?;
        let result = json!({ "node": node, "drained": false });
        return Ok(printer.print(&result, |_| {
            format!("broker {node} takes replicas again; to give it some: thalweg cluster balance")
        })?);
    }
    // Nothing is changed where it cannot end well.
    let mut moves = planned(&view, node)?;
    set_drained(admin, node, true).await?;
    let mut moved = 0;
    while !moves.is_empty() {
        moves::carry_out(admin, &moves, args.pace).await?;
        moved += moves.len();
        moves = planned(&View::of(admin).await?, node)?;
    }
    wait_for_others(admin, node).await?;
    let result = json!({ "node": node, "drained": true, "moved": moved });
    Ok(printer.print(&result, |_| {
        let moved = counted(moved as u64, "partition");
        format!(
            "broker {node} is empty: {moved} moved away; \
             stop it, and once it is fenced: thalweg cluster remove {node}"
        )
    })?)
}

fn planned(view: &View, node: i32) -> Result<Vec<Move>, Failure> {
    plan::drain(view, node).map_err(|stuck| {
        let Stuck { partition, replicas, brokers } = stuck;
        let (name, replicas) = (named(&partition), counted(replicas as u64, "replica"));
        let others = match brokers {
            0 => {
                return Failure::Failed(format!(
                    "{name} has {replicas}, and no other broker takes any: add a broker first"
                ));
            }
            1 => "only 1 other broker takes".to_owned(),
            brokers => format!("only {brokers} other brokers take"),
        };
        Failure::Failed(format!(
            "{name} has {replicas}, and {others} any: add a broker first, or let it have fewer: \
             thalweg cluster move {name} --to ID,ID"
        ))
    })
}

/// Waits for moves off the broker that somebody else had begun.
async fn wait_for_others(admin: &Admin, node: i32) -> Result<(), Failure> {
    loop {
        let moving = admin.list_partition_reassignments(None).await?;
        let from_here = moving.iter().filter(|it| it.removing.contains(&NodeId(node))).count();
        if from_here == 0 {
            return Ok(());
        }
        tokio::time::sleep(moves::LOOK_EVERY).await;
    }
}

async fn set_drained(admin: &Admin, node: i32, drained: bool) -> Result<(), Failure> {
    let change = match drained {
        true => ConfigChange::Set(DRAINED.into(), "true".into()),
        false => ConfigChange::Delete(DRAINED.into()),
    };
    let changes = [(ConfigResource::broker(NodeId(node)), vec![change])];
    settle(admin.alter_configs(&changes, false).await?).1
}
