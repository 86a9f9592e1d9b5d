//! `thalweg group describe`: a group, its members, what each reads, and how far it is behind.

use std::collections::BTreeMap;

use serde::Serialize;
use thalweg_client::TopicPartition;
use thalweg_client::admin::{Admin, GroupDescription, GroupMember};

use super::offsets::{self, PartitionLag};
use crate::cli::failure::{Failure, settle};
use crate::cli::output::{Printer, counted, or_dash, table};

#[derive(Serialize)]
struct DescribedGroup {
    group: String,
    state: String,
    #[serde(rename = "type")]
    group_type: String,
    protocol: String,
    assignor: String,
    coordinator: String,
    members: Vec<DescribedMember>,
    partitions: Vec<PartitionLag>,
}

#[derive(Serialize)]
struct DescribedMember {
    member: String,
    instance: Option<String>,
    client: String,
    host: String,
    topics: Vec<String>,
    /// The partitions it reads, by topic.
    assignment: BTreeMap<String, Vec<i32>>,
}

pub(super) async fn run(
    admin: &Admin,
    groups: &[String],
    printer: &mut Printer,
) -> Result<(), Failure> {
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let (found, outcome) = settle(admin.describe_groups(&names).await);
    let mut described = Vec::new();
    for group in found {
        described.push(gather(admin, group).await?);
    }
    if !described.is_empty() {
        printer.print(&described, |groups| {
            groups.iter().map(for_people).collect::<Vec<_>>().join("\n")
        })?;
    }
    outcome
}

/// Who reads which partition.
pub(super) fn readers(group: &GroupDescription) -> BTreeMap<TopicPartition, String> {
    let reads = |member: &GroupMember| {
        let name = member.group_instance_id.as_ref().unwrap_or(&member.member_id).to_string();
        member.assignment.clone().into_iter().map(move |partition| (partition, name.clone()))
    };
    group.members.iter().flat_map(reads).collect()
}

async fn gather(admin: &Admin, group: GroupDescription) -> Result<DescribedGroup, Failure> {
    let partitions = offsets::lags(admin, &group.group, &readers(&group)).await?;
    let member = |member: GroupMember| {
        let mut assignment = BTreeMap::<String, Vec<i32>>::new();
        for partition in &member.assignment {
            let of_topic = assignment.entry(partition.topic.to_string()).or_default();
            of_topic.push(partition.partition);
        }
        DescribedMember {
            member: member.member_id.to_string(),
            instance: member.group_instance_id.map(|instance| instance.to_string()),
            client: member.client_id.to_string(),
            host: member.host.to_string(),
            topics: member.topics.iter().map(ToString::to_string).collect(),
            assignment,
        }
    };
    Ok(DescribedGroup {
        group: group.group.to_string(),
        state: group.state.to_string(),
        group_type: group.group_type.to_string(),
        protocol: group.protocol_type.to_string(),
        assignor: group.assignor.to_string(),
        coordinator: group.coordinator.to_string(),
        members: group.members.into_iter().map(member).collect(),
        partitions,
    })
}

fn for_people(group: &DescribedGroup) -> String {
    let members = counted(group.members.len() as u64, "member");
    let mut text =
        format!("{}: {}, {} group, {members}", group.group, group.state, group.group_type);
    if !group.assignor.is_empty() {
        text += &format!(", assignor {}", group.assignor);
    }
    text += &format!(", coordinated by {}\n", group.coordinator);
    if !group.members.is_empty() {
        let row = |member: &DescribedMember| {
            [
                member.member.clone(),
                or_dash(member.instance.as_ref()),
                member.client.clone(),
                member.host.clone(),
                assignment(&member.assignment),
            ]
        };
        let header = ["MEMBER", "INSTANCE", "CLIENT", "HOST", "READS"];
        text += &format!("\n{}", table(header, group.members.iter().map(row)));
    }
    if !group.partitions.is_empty() {
        let row = |partition: &PartitionLag| {
            [
                partition.topic.clone(),
                partition.partition.to_string(),
                or_dash(partition.committed),
                or_dash(partition.end),
                or_dash(partition.lag),
                or_dash(partition.member.as_ref()),
                partition.metadata.clone(),
            ]
        };
        let header = ["TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", "READ BY", "NOTE"];
        text += &format!("\n{}", table(header, group.partitions.iter().map(row)));
    }
    text
}

/// `orders[0-3,7] users[1]`.
fn assignment(topics: &BTreeMap<String, Vec<i32>>) -> String {
    let all = topics.iter().map(|(topic, partitions)| format!("{topic}[{}]", ranges(partitions)));
    let all: Vec<String> = all.collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

/// Numbers in ascending order, neighbours drawn together.
fn ranges(numbers: &[i32]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(i32::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_drawn_together() {
        assert_eq!(ranges(&[0, 1, 2, 3, 7, 9, 10]), "0-3,7,9-10");
        assert_eq!(ranges(&[5]), "5");
        let topics = BTreeMap::from([("b".to_owned(), vec![1]), ("a".to_owned(), vec![0, 1])]);
        assert_eq!(assignment(&topics), "a[0-1] b[1]");
        assert_eq!(assignment(&BTreeMap::new()), "-");
    }
}
