//! `thalweg cluster health`: one look that says whether anybody has to do anything.

use serde::Serialize;
use thalweg_client::admin::Admin;

use super::named;
use super::view::{PartitionView, View};
use crate::cli::failure::Failure;
use crate::cli::output::{Printer, counted, table};

/// Partitions named in a line for people; the others are counted.
const NAMED_MAX: usize = 3;

#[derive(Serialize)]
struct Health {
    healthy: bool,
    active_controller: Option<i32>,
    controllers: Vec<i32>,
    brokers_alive: Vec<i32>,
    brokers_fenced: Vec<i32>,
    brokers_drained: Vec<i32>,
    partitions: usize,
    without_leader: Vec<String>,
    under_replicated: Vec<String>,
    moving: Vec<String>,
    not_led_by_preferred: Vec<String>,
}

pub(super) async fn run(admin: &Admin, printer: &mut Printer) -> Result<(), Failure> {
    let health = judged(&View::of(admin).await?);
    printer.print(&health, for_people)?;
    if health.healthy {
        return Ok(());
    }
    if health.active_controller.is_none() {
        return Err(Failure::Failed(format!(
            "the cluster is not healthy: there is no active controller, so nothing can be created or \
             moved, and brokers that die are not noticed; most of the controllers ({}) have to be up",
            super::ids(&health.controllers)
        )));
    }
    let complaints = [
        (health.brokers_fenced.len(), "fenced broker"),
        (health.without_leader.len(), "partition without a leader"),
        (health.under_replicated.len(), "partition with replicas out of sync"),
    ];
    let complaints = complaints.iter().filter(|(count, _)| *count > 0);
    let complaints: Vec<_> = complaints.map(|(count, what)| format!("{count} × {what}")).collect();
    Err(Failure::Failed(format!(
        "the cluster is not healthy: {}; see 'thalweg cluster partitions --unhealthy'",
        complaints.join(", ")
    )))
}

fn judged(view: &View) -> Health {
    let brokers = |is: fn(&super::view::BrokerView) -> bool| {
        view.brokers.iter().filter(|broker| is(broker)).map(|broker| broker.id).collect()
    };
    let partitions = |is: fn(&PartitionView) -> bool| {
        let found = view.partitions.iter().filter(|partition| is(partition));
        found.map(|partition| named(&partition.name)).collect::<Vec<_>>()
    };
    let brokers_fenced: Vec<i32> = brokers(|broker| broker.fenced);
    let without_leader = partitions(|partition| partition.leader.is_none());
    let under_replicated = partitions(PartitionView::is_under_replicated);
    Health {
        healthy: view.active_controller.is_some()
            && brokers_fenced.is_empty()
            && without_leader.is_empty()
            && under_replicated.is_empty(),
        active_controller: view.active_controller,
        controllers: view.controllers.clone(),
        brokers_alive: brokers(|broker| !broker.fenced),
        brokers_drained: brokers(|broker| broker.drained),
        brokers_fenced,
        partitions: view.partitions.len(),
        without_leader,
        under_replicated,
        moving: partitions(|partition| partition.is_moving),
        not_led_by_preferred: partitions(PartitionView::is_led_by_another),
    }
}

fn for_people(health: &Health) -> String {
    let ids = |nodes: &[i32]| nodes.iter().map(i32::to_string).collect::<Vec<_>>();
    let row = |what: &str, all: &[String]| {
        let mut names = all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(" ");
        if all.len() > NAMED_MAX {
            names += &format!(" and {} more", all.len() - NAMED_MAX);
        }
        [what.to_owned(), all.len().to_string(), names]
    };
    let state = if health.healthy { "healthy" } else { "NOT HEALTHY" };
    let partitions = counted(health.partitions as u64, "partition");
    let active: Vec<i32> = health.active_controller.into_iter().collect();
    let rows = [
        row("active controller", &ids(&active)),
        row("controllers", &ids(&health.controllers)),
        row("brokers alive", &ids(&health.brokers_alive)),
        row("brokers fenced", &ids(&health.brokers_fenced)),
        row("brokers drained", &ids(&health.brokers_drained)),
        row("partitions without leader", &health.without_leader),
        row("partitions with replicas out of sync", &health.under_replicated),
        row("partitions moving", &health.moving),
        row("partitions not led by the preferred replica", &health.not_led_by_preferred),
    ];
    format!("{state}: {partitions}\n\n{}", table(["WHAT", ">COUNT", "WHICH"], rows))
}

#[cfg(test)]
mod tests {
    use thalweg_client::TopicPartition;

    use super::*;
    use crate::cli::cluster::view::BrokerView;

    fn broker(id: i32) -> BrokerView {
        BrokerView { id, address: String::new(), rack: None, fenced: false, drained: false }
    }

    fn partition(leader: Option<i32>, members: &[i32], in_sync: &[i32]) -> PartitionView {
        PartitionView {
            name: TopicPartition::new("t", 0),
            leader,
            members: members.to_vec(),
            in_sync: in_sync.to_vec(),
            offline: Vec::new(),
            is_moving: false,
            adding: Vec::new(),
            removing: Vec::new(),
        }
    }

    fn view(
        brokers: &[BrokerView],
        partition: PartitionView,
        active_controller: Option<i32>,
    ) -> View {
        View {
            brokers: brokers.to_vec(),
            partitions: vec![partition],
            controllers: vec![1, 2, 3],
            active_controller,
        }
    }

    #[test]
    fn what_is_ill_is_told_from_what_is_only_busy() {
        let healthy = |brokers: &[BrokerView], partition: PartitionView| {
            judged(&view(brokers, partition, Some(1))).healthy
        };
        let two = [broker(1), broker(2)];
        assert!(healthy(&two, partition(Some(1), &[1, 2], &[1, 2])));
        assert!(healthy(&two, partition(Some(2), &[1, 2], &[1, 2])), "another one leads");
        assert!(!healthy(&two, partition(None, &[1, 2], &[1, 2])));
        assert!(!healthy(&two, partition(Some(1), &[1, 2], &[1])));
        let adding = PartitionView {
            is_moving: true,
            adding: vec![3],
            ..partition(Some(1), &[1, 2, 3], &[1, 2])
        };
        assert!(healthy(&two, adding), "what is being added need not be in sync");
        let fenced = BrokerView { fenced: true, ..broker(2) };
        assert!(!healthy(&[broker(1), fenced], partition(Some(1), &[1], &[1])));
        let without = judged(&view(&two, partition(Some(1), &[1, 2], &[1, 2]), None));
        assert!(!without.healthy, "nobody notices who dies without an active controller");
    }

    #[test]
    fn a_preferred_leader_that_is_down_is_not_missed_twice() {
        let of =
            |in_sync| judged(&view(&[broker(1)], partition(Some(2), &[1, 2], in_sync), Some(1)));
        assert_eq!(of(&[1, 2]).not_led_by_preferred, ["t:0"]);
        assert!(of(&[2]).not_led_by_preferred.is_empty());
    }
}
