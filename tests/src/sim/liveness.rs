//! What must hold once nothing goes wrong any more: every partition takes a record, every broker
//! knows every topic, groups stand where they were told, and each replica, made the leader, serves
//! the same records.

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg_protocol::messages::ElectLeadersRequest;
use thalweg_protocol::messages::elect_leaders::TopicPartitions;
use thalweg_protocol::{ErrorCode, KafkaStr};
use tokio::time::{Instant, sleep};

use super::book::{Existence, Place};
use super::client::Client;
use super::faults::reassignment;
use super::network::Host;
use super::workload::{self, Producer};
use super::{WELL_WITHIN, World};

const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Checks all of it.
pub(super) async fn check(world: &World) {
    let mut client = world.client();
    for place in world.places() {
        let producing = async {
            Producer::new(world.client(), &world.stage, place.clone()).await.one_batch().await;
        };
        if tokio::time::timeout(WELL_WITHIN, producing).await.is_err() {
            return world.book.violation(format!("{place:?} takes no record"));
        }
    }
    for group in world.book.groups() {
        let place = &world.places()[0];
        let looking = workload::look_up(&mut client, &world.book, &group, place);
        if tokio::time::timeout(WELL_WITHIN, looking).await.is_err() {
            return world.book.violation(format!("nobody says where group {group} stands"));
        }
    }
    topics(world, &mut client).await;
    for place in world.places() {
        if let Err(wrong) = replicas(world, &mut client, &place).await {
            return world.book.violation(format!("{place:?}: {wrong}"));
        }
    }
}

/// Every broker has to know what there is, and nothing else.
async fn topics(world: &World, client: &mut Client) {
    let due = world.book.topics();
    for host in 1..=world.options.nodes {
        let by = Instant::now() + WELL_WITHIN;
        loop {
            let mut wrong = Vec::new();
            let described = client.describe(host, None).await.unwrap_or_default();
            for (name, existence) in &due {
                let found = described.iter().any(|topic| topic.name.as_deref() == Some(name));
                match existence {
                    Existence::There if !found => wrong.push(format!("{name} is missing")),
                    Existence::Gone if found => wrong.push(format!("{name} is back")),
                    _ => {}
                }
            }
            for topic in &described {
                let name = topic.name.as_deref().unwrap_or_default();
                let leaderless = topic.partitions.iter().filter(|it| it.leader_id < 0);
                wrong.extend(leaderless.map(|partition| {
                    let index = partition.partition_index;
                    let replicas = &partition.replica_nodes;
                    format!("{name}-{index} on {replicas:?} has no leader")
                }));
            }
            if wrong.is_empty() {
                break;
            }
            if Instant::now() > by {
                world.book.violation(format!("as broker {host} knows it: {wrong:?}"));
                break;
            }
            sleep(ASK_AGAIN).await;
        }
    }
}

/// Makes each replica lead in turn, and reads all that it has.
async fn replicas(world: &World, client: &mut Client, place: &Place) -> Result<(), String> {
    let replicas = settled(client, place).await?;
    let mut first: Option<(Host, BTreeMap<i64, String>)> = None;
    for host in replicas.clone() {
        let by = Instant::now() + WELL_WITHIN;
        let all = loop {
            let epoch = lead(client, place, &replicas, host).await?;
            match read_all(client, place, host, epoch).await? {
                Some(all) => break all,
                // A transfer that was asked for earlier may only now come about.
                None if Instant::now() < by => sleep(ASK_AGAIN).await,
                None => return Err(format!("broker {host} does not stay its leader")),
            }
        };
        world.book.check_whole(place, &all);
        match &first {
            None => first = Some((host, all)),
            Some((other, others)) if *others != all => {
                let differ = others.iter().zip(&all).find(|(a, b)| a != b);
                let lens = (others.len(), all.len());
                return Err(format!("brokers {other} and {host} differ: {differ:?}, {lens:?}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The replicas, once no reassignment is under way.
async fn settled(client: &mut Client, (topic, partition): &Place) -> Result<Vec<Host>, String> {
    let by = Instant::now() + WELL_WITHIN;
    let mut last = String::new();
    while Instant::now() < by {
        let of = client.any();
        let described = client.describe(of, Some(&[topic])).await.unwrap_or_default();
        let found = described.into_iter().flat_map(|topic| topic.partitions);
        let found = found.filter(|found| found.partition_index == *partition);
        for found in found {
            let in_sync = found.isr_nodes.len() == found.replica_nodes.len();
            if found.replica_nodes.len() == 3 && in_sync {
                let hosts = found.replica_nodes.iter().filter_map(|id| Host::try_from(*id).ok());
                return Ok(hosts.collect());
            }
            last = format!("{found:?}");
        }
        sleep(ASK_AGAIN).await;
    }
    Err(format!("its replicas do not settle: {last}"))
}

/// Makes a replica the preferred leader and has it elected; returns its epoch.
async fn lead(
    client: &mut Client,
    (topic, partition): &Place,
    replicas: &[Host],
    host: Host,
) -> Result<i32, String> {
    let mut order = vec![i32::from(host)];
    order.extend(replicas.iter().filter(|other| **other != host).map(|other| i32::from(*other)));
    let reorder = reassignment(topic, *partition, order);
    let elect = ElectLeadersRequest {
        election_type: 0,
        topic_partitions: Some(vec![TopicPartitions {
            topic: KafkaStr::copied_from(topic),
            partitions: vec![*partition],
            ..Default::default()
        }]),
        timeout_ms: 2000,
        ..Default::default()
    };
    let by = Instant::now() + WELL_WITHIN;
    while Instant::now() < by {
        let _ = client.call(host, &reorder, 0).await;
        let _ = client.call(host, &elect, 2).await;
        let described = client.describe(host, Some(&[topic])).await.unwrap_or_default();
        let found = described.into_iter().flat_map(|topic| topic.partitions);
        for found in found.filter(|found| found.partition_index == *partition) {
            if found.leader_id == i32::from(host) {
                return Ok(found.leader_epoch);
            }
        }
        sleep(ASK_AGAIN).await;
    }
    Err(format!("broker {host} cannot be made its leader"))
}

/// All that the partition has; `None` if the broker leads it no longer.
async fn read_all(
    client: &mut Client,
    place: &Place,
    host: Host,
    epoch: i32,
) -> Result<Option<BTreeMap<i64, String>>, String> {
    let by = Instant::now() + WELL_WITHIN;
    let mut all = BTreeMap::new();
    let mut next = 0;
    loop {
        match workload::fetch(client, host, place, epoch, next).await {
            Ok(fetched) => {
                all.extend(fetched.values);
                next = all.keys().next_back().map_or(0, |last| last + 1);
                if next >= fetched.high_watermark {
                    return Ok(Some(all));
                }
            }
            Err(Some(ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)) => {
                return Ok(None);
            }
            Err(Some(code)) if !code.is_retriable() || Instant::now() > by => {
                return Err(format!("broker {host} does not serve offset {next}: {code:?}"));
            }
            Err(_) => sleep(ASK_AGAIN).await,
        }
        if Instant::now() > by {
            return Err(format!("broker {host} is not done with offset {next}"));
        }
    }
}
