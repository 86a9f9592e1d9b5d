//! ListPartitionReassignments (key 46), version 0: which partitions are on their way to other
//! brokers (KIP-455). Those that are not, or that do not exist, are left out.

use std::rc::Rc;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};

use crate::controller::image::Topic;
use crate::server::connection::Connection;

pub(super) async fn handle(
    connection: Rc<Connection>,
    _version: i16,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let image = connection.shard.node.images.load();
    let topics: Vec<_> = match request.topics {
        None => image.topics.values().map(|topic| ongoing(topic, |_| true)).collect(),
        Some(asked) => {
            let known = asked.iter().filter_map(|asked| Some((image.topic(&asked.name)?, asked)));
            let listed = known.map(|(topic, asked)| {
                ongoing(topic, |partition| asked.partition_indexes.contains(&partition))
            });
            listed.collect()
        }
    };
    ListPartitionReassignmentsResponse {
        error_message: None,
        topics: topics.into_iter().filter(|topic| !topic.partitions.is_empty()).collect(),
        ..ListPartitionReassignmentsResponse::default()
    }
}

fn ongoing(topic: &Topic, is_wanted: impl Fn(i32) -> bool) -> OngoingTopicReassignment {
    let under_way = (0..).zip(&topic.partitions).filter(|(_, it)| it.target.is_some());
    let partitions = under_way.filter(|(partition, _)| is_wanted(*partition));
    let partitions = partitions.map(|(partition_index, it)| OngoingPartitionReassignment {
        partition_index,
        replicas: it.members(),
        adding_replicas: it.adding(),
        removing_replicas: it.removing(),
        ..OngoingPartitionReassignment::default()
    });
    OngoingTopicReassignment {
        name: KafkaStr::copied_from(&topic.name),
        partitions: partitions.collect(),
        ..OngoingTopicReassignment::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::controller::assignment::Assignment;

    #[test]
    fn only_what_moves_and_is_asked_for_is_listed() {
        let moving = |target: &[i32]| Assignment {
            target: Some(target.to_vec()),
            ..Assignment::new(vec![1, 2])
        };
        let topic = Topic {
            id: uuid::Uuid::from_u128(1),
            name: "t".to_owned(),
            partitions: vec![Assignment::new(vec![1, 2]), moving(&[3, 2]), moving(&[1])],
            configs: BTreeMap::new(),
        };
        let all = ongoing(&topic, |_| true).partitions;
        let shown: Vec<String> = all
            .iter()
            .map(|it| {
                let (adding, removing) = (&it.adding_replicas, &it.removing_replicas);
                format!("{}: {:?} +{adding:?} -{removing:?}", it.partition_index, it.replicas)
            })
            .collect();
        assert_eq!(shown, ["1: [1, 2, 3] +[3] -[1]", "2: [1, 2] +[] -[2]"]);
        assert_eq!(ongoing(&topic, |partition| partition == 0).partitions, []);
    }
}
