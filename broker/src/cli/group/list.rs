//! `thalweg group list`.

use clap::Args;
use serde::Serialize;
use thalweg_client::admin::{Admin, GroupFilter, GroupState, GroupType};

use crate::cli::failure::Failure;
use crate::cli::output::{Printer, or_dash, table};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only groups in this state, such as stable or empty; may be given several times.
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Vec<GroupState>,
    /// Only groups of this type: classic or consumer; may be given several times.
    #[arg(long = "type", value_name = "TYPE", value_parser = group_type)]
    group_type: Vec<GroupType>,
}

#[derive(Serialize)]
struct ListedGroup {
    group: String,
    state: Option<String>,
    #[serde(rename = "type")]
    group_type: Option<String>,
    /// What its members are; empty where only offsets were committed.
    protocol: String,
    coordinator: i32,
}

const STATES: [GroupState; 7] = [
    GroupState::Empty,
    GroupState::PreparingRebalance,
    GroupState::CompletingRebalance,
    GroupState::Stable,
    GroupState::Assigning,
    GroupState::Reconciling,
    GroupState::Dead,
];

/// The value parser of clap for states, in any case.
fn state(text: &str) -> Result<GroupState, String> {
    STATES.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let names: Vec<String> = STATES.iter().map(ToString::to_string).collect();
        format!("it must be one of {}", names.join(", "))
    })
}

/// The value parser of clap for types, in any case.
fn group_type(text: &str) -> Result<GroupType, &'static str> {
    [GroupType::Classic, GroupType::Consumer]
        .into_iter()
        .find(|group_type| group_type.as_str().eq_ignore_ascii_case(text))
        .ok_or("it must be classic or consumer")
}

pub(super) async fn run(
    admin: &Admin,
    args: ListArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let is_filtered = !(args.state.is_empty() && args.group_type.is_empty());
    let filter = GroupFilter { states: args.state, types: args.group_type };
    let listed = admin.list_groups(&filter).await?.into_iter().map(|group| ListedGroup {
        group: group.group.to_string(),
        state: group.state.map(|state| state.to_string()),
        group_type: group.group_type.map(|group_type| group_type.to_string()),
        protocol: group.protocol_type.to_string(),
        coordinator: group.coordinator.0,
    });
    let groups: Vec<ListedGroup> = listed.collect();
    printer.print(&groups, |groups| match groups.as_slice() {
        [] if is_filtered => "There is no such group.".to_owned(),
        [] => "There are no groups. Join one: thalweg consume TOPIC --group NAME".to_owned(),
        groups => {
            let row = |group: &ListedGroup| {
                let protocol = Some(&group.protocol).filter(|protocol| !protocol.is_empty());
                [
                    group.group.clone(),
                    or_dash(group.state.as_ref()),
                    or_dash(group.group_type.as_ref()),
                    or_dash(protocol),
                    group.coordinator.to_string(),
                ]
            };
            let header = ["GROUP", "STATE", "TYPE", "PROTOCOL", ">COORDINATOR"];
            table(header, groups.iter().map(row))
        }
    })?;
    Ok(())
}
