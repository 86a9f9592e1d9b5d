//! `thalweg cluster balance`.

use clap::Args;
use serde_json::json;
use thalweg_client::TopicPartition;
use thalweg_client::admin::{Admin, ElectionType};

use super::moves::{self, Pace, ShownMove, for_people};
use super::plan;
use super::view::View;
use crate::cli::failure::{Failure, settle};
use crate::cli::output::{Printer, counted};

#[derive(Debug, Args)]
pub(super) struct BalanceArgs {
    /// Move, instead of only showing what would move.
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    pace: Pace,
}

pub(super) async fn run(
    admin: &Admin,
    args: &BalanceArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let moves = plan::balance(&View::of(admin).await?);
    let shown: Vec<ShownMove> = moves.iter().map(ShownMove::from).collect();
    let copied = moves.iter().filter(|it| !it.is_only_order()).count();
    if args.execute && !moves.is_empty() {
        moves::carry_out(admin, &moves, args.pace).await?;
        let changed: Vec<TopicPartition> = moves
            .iter()
            .filter(|it| it.from.first() != it.to.first())
            .map(|it| it.partition.clone())
            .collect();
        if !changed.is_empty() {
            let elected = admin.elect_leaders(ElectionType::Preferred, Some(&changed)).await?;
            settle(elected.into_iter().map(|(_, outcome)| outcome)).1?;
        }
    }
    let result = json!({ "moves": shown, "executed": args.execute });
    Ok(printer.print(&result, |_| {
        if shown.is_empty() {
            return "Replicas and leaders are spread evenly: there is nothing to move.".to_owned();
        }
        let copies = counted(copied as u64, "partition");
        let orders = counted((moves.len() - copied) as u64, "partition");
        let (did, hint) = match args.execute {
            true => ("Moved", ""),
            false => {
                ("Would move", "\nNothing was changed. To move: thalweg cluster balance --execute")
            }
        };
        let table = for_people(&shown);
        format!("{did} {copies}, and prefer another leader of {orders}:\n\n{table}{hint}")
    })?)
}
