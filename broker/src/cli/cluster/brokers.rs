//! `thalweg cluster brokers`.

use serde::Serialize;
use thalweg_client::admin::Admin;

use super::view::View;
use crate::cli::failure::Failure;
use crate::cli::output::{Printer, or_dash, table};

#[derive(Serialize)]
struct ListedBroker {
    id: i32,
    address: String,
    rack: Option<String>,
    fenced: bool,
    drained: bool,
    #[serde(skip)]
    state: &'static str,
    /// Partitions it has, is getting, or is losing.
    replicas: usize,
    leaders: usize,
    /// Partitions that it should lead.
    preferred_leaders: usize,
}

pub(super) async fn run(admin: &Admin, printer: &mut Printer) -> Result<(), Failure> {
    let view = View::of(admin).await?;
    let listed = view.brokers.iter().map(|broker| {
        let count = |counts: &dyn Fn(&super::view::PartitionView) -> bool| {
            view.partitions.iter().filter(|partition| counts(partition)).count()
        };
        ListedBroker {
            id: broker.id,
            address: broker.address.clone(),
            rack: broker.rack.clone(),
            fenced: broker.fenced,
            drained: broker.drained,
            state: broker.state(),
            replicas: count(&|partition| partition.members.contains(&broker.id)),
            leaders: count(&|partition| partition.leader == Some(broker.id)),
            preferred_leaders: count(&|partition| partition.members.first() == Some(&broker.id)),
        }
    });
    let listed: Vec<ListedBroker> = listed.collect();
    Ok(printer.print(&listed, |listed| {
        let row = |broker: &ListedBroker| {
            [
                broker.id.to_string(),
                broker.address.clone(),
                or_dash(broker.rack.as_ref()),
                broker.state.to_owned(),
                broker.replicas.to_string(),
                broker.leaders.to_string(),
                broker.preferred_leaders.to_string(),
            ]
        };
        let header = [">ID", "ADDRESS", "RACK", "STATE", ">REPLICAS", ">LEADS", ">SHOULD LEAD"];
        table(header, listed.iter().map(row))
    })?)
}
