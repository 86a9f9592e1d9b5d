//! `thalweg cluster info`: who belongs to a cluster, and how full it is.

use serde::Serialize;
use thalweg_client::admin::{Admin, ClusterMember};

use crate::cli::failure::Failure;
use crate::cli::output::{Printer, counted, or_dash, size_or_dash, table};

#[derive(Serialize)]
struct ClusterInfo {
    cluster_id: String,
    controller: Option<i32>,
    topics: usize,
    partitions: usize,
    brokers: Vec<BrokerInfo>,
}

#[derive(Serialize)]
struct BrokerInfo {
    id: i32,
    address: String,
    rack: Option<String>,
    fenced: bool,
    replicas: usize,
    log_dirs: Vec<LogDirInfo>,
    /// Why its directories are not known.
    error: Option<String>,
}

#[derive(Serialize)]
struct LogDirInfo {
    path: String,
    bytes: i64,
    total_bytes: Option<i64>,
    free_bytes: Option<i64>,
    error: Option<String>,
}

pub(super) async fn run(admin: &Admin, printer: &mut Printer) -> Result<(), Failure> {
    let cluster = admin.describe_cluster().await?;
    let topics = admin.list_topics().await?;
    let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
    let described = admin.describe_topics(&names).await?.into_iter().flatten();
    let partitions = described.map(|topic| topic.partitions.len()).sum();
    let mut brokers = Vec::new();
    for member in cluster.brokers {
        brokers.push(broker(admin, member).await);
    }
    let info = ClusterInfo {
        cluster_id: cluster.id.to_string(),
        controller: cluster.controller.map(|node| node.0),
        topics: topics.len(),
        partitions,
        brokers,
    };
    Ok(printer.print(&info, for_people)?)
}

async fn broker(admin: &Admin, member: ClusterMember) -> BrokerInfo {
    // A broker that is down still belongs into the picture.
    let (dirs, error) = match admin.describe_log_dirs(member.id).await {
        Ok(dirs) => (dirs, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    BrokerInfo {
        id: member.id.0,
        address: format!("{}:{}", member.address.host(), member.address.port()),
        rack: member.rack.map(|rack| rack.to_string()),
        fenced: member.is_fenced,
        replicas: dirs.iter().map(|dir| dir.replicas.len()).sum(),
        log_dirs: dirs
            .into_iter()
            .map(|dir| LogDirInfo {
                path: dir.path.to_string(),
                bytes: dir.replicas.iter().map(|replica| replica.bytes).sum(),
                total_bytes: dir.total_bytes,
                free_bytes: dir.usable_bytes,
                error: dir.error.map(|error| error.to_string()),
            })
            .collect(),
        error,
    }
}

fn for_people(info: &ClusterInfo) -> String {
    let mut text = format!(
        "cluster {}: {}, {}, {}; controller {}\n\n",
        info.cluster_id,
        counted(info.brokers.len() as u64, "broker"),
        counted(info.topics as u64, "topic"),
        counted(info.partitions as u64, "partition"),
        or_dash(info.controller),
    );
    let mut rows = Vec::new();
    let mut errors = Vec::new();
    for broker in &info.brokers {
        let begin = |dir: Option<&LogDirInfo>| {
            [
                broker.id.to_string(),
                broker.address.clone(),
                or_dash(broker.rack.as_ref()),
                if broker.fenced { "fenced" } else { "up" }.to_owned(),
                broker.replicas.to_string(),
                size_or_dash(dir.map(|dir| dir.bytes)),
                size_or_dash(dir.and_then(|dir| dir.free_bytes)),
                or_dash(dir.map(|dir| &dir.path)),
            ]
        };
        match broker.log_dirs.as_slice() {
            [] => rows.push(begin(None)),
            dirs => rows.extend(dirs.iter().map(|dir| begin(Some(dir)))),
        }
        let of_dirs = broker
            .log_dirs
            .iter()
            .filter_map(|dir| dir.error.as_ref().map(|error| format!("{}: {error}", dir.path)));
        errors.extend(broker.error.iter().cloned().chain(of_dirs));
    }
    let header =
        [">ID", "ADDRESS", "RACK", "STATE", ">REPLICAS", ">SIZE", ">FREE", "LOG DIRECTORY"];
    text += &table(header, rows);
    errors.iter().for_each(|error| text += &format!("{error}\n"));
    text
}
