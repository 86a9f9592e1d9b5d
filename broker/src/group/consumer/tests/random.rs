//! Random histories: joins, leaves, stalls, lost answers, late requests, changing subscriptions and
//! topics, coordinators that take over. Whatever happens, nobody gets what another has, epochs do
//! not go back, the log tells everything; and when the noise ends, everybody has their share.

use std::collections::BTreeMap;

use proptest::prelude::*;
use thalweg_protocol::KafkaStr;

use super::world::{Client, World, lasting};
use crate::group::consumer::member::EPOCH_LEAVE;

const TOPICS: [&str; 3] = ["a", "b", "c"];
const IDS: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];

#[derive(Clone, Debug)]
enum Event {
    /// A heartbeat, the first of which joins.
    Beat(usize),
    /// A heartbeat that is answered into the void.
    LostAnswer(usize),
    /// A heartbeat that says nothing of what the client uses.
    Silent(usize),
    /// A heartbeat with an epoch that many before or behind.
    Late(usize, i32),
    Leave(usize),
    /// A static member goes, and comes back under another id.
    Replace(usize),
    /// Subscribes to the topics of a mask, or to a pattern.
    Subscribe(usize, u8),
    CreateTopic(usize, usize),
    DeleteTopic(usize),
    AddPartition(usize),
    Pass(u64),
    /// Another coordinator takes over.
    Reload,
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..IDS.len();
    let topic = 0..TOPICS.len();
    prop_oneof![
        12 => client.clone().prop_map(Event::Beat),
        3 => client.clone().prop_map(Event::LostAnswer),
        2 => client.clone().prop_map(Event::Silent),
        2 => (client.clone(), -3..4).prop_map(|(at, by)| Event::Late(at, by)),
        2 => client.clone().prop_map(Event::Leave),
        2 => client.clone().prop_map(Event::Replace),
        3 => (client, any::<u8>()).prop_map(|(at, mask)| Event::Subscribe(at, mask)),
        1 => (topic.clone(), 1..6_usize).prop_map(|(at, count)| Event::CreateTopic(at, count)),
        1 => topic.clone().prop_map(Event::DeleteTopic),
        1 => topic.prop_map(Event::AddPartition),
        1 => (0..30_000_u64).prop_map(Event::Pass),
        1 => Just(Event::Reload),
    ]
}

struct History {
    world: World,
    clients: Vec<Client>,
    /// The highest epochs seen, of the group, of the assignment.
    epochs: (i32, i32),
    ids_made: usize,
}

impl History {
    fn new() -> History {
        let clients = IDS.iter().enumerate().map(|(at, id)| {
            let mut client = Client::new(id, &TOPICS[..1 + at % 3]);
            // The last two are static.
            client.instance_id = (at >= 4).then(|| KafkaStr::from(format!("i{at}")));
            client
        });
        let clients = clients.collect();
        History { world: World::new(&[("a", 5), ("b", 3)]), clients, epochs: (0, 0), ids_made: 0 }
    }

    fn happen(&mut self, event: &Event) {
        let world = &mut self.world;
        match *event {
            Event::Beat(at) => drop(self.clients[at].beat(world)),
            Event::LostAnswer(at) => {
                let _ = world.send(self.clients[at].request());
                // Who had no answer tells everything, and so is told everything.
                self.clients[at].tells_all = true;
            }
            Event::Silent(at) => {
                let mut request = self.clients[at].request();
                if request.member_epoch > 0 && !self.clients[at].tells_all {
                    request.topic_partitions = None;
                    if let Ok(response) = world.send(request) {
                        self.clients[at].learn(&response);
                    }
                }
            }
            Event::Late(at, by) => {
                let mut request = self.clients[at].request();
                request.member_epoch = (request.member_epoch + by).max(1);
                let _ = world.send(request);
                self.clients[at].tells_all = true;
            }
            Event::Leave(at) => {
                let client = &mut self.clients[at];
                let mut request = client.request();
                request.member_epoch = EPOCH_LEAVE;
                let _ = world.send(request);
                client.epoch = 0;
                client.used.clear();
            }
            Event::Replace(at) => {
                let client = &mut self.clients[at];
                if client.instance_id.is_some() && client.epoch > 0 {
                    let mut request = client.request();
                    request.member_epoch = -2;
                    let _ = world.send(request);
                    self.ids_made += 1;
                    client.id = KafkaStr::from(format!("n{}", self.ids_made));
                    client.epoch = 0;
                    client.used.clear();
                    let _ = client.beat(world);
                }
            }
            Event::Subscribe(at, mask) => {
                let client = &mut self.clients[at];
                let named = TOPICS.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
                client.topics = named.map(|(_, topic)| KafkaStr::from(*topic)).collect();
                let pattern = if mask & 0x40 != 0 { "a|c" } else { "b.*" };
                client.regex = Some(if mask & 0x80 != 0 { pattern } else { "" }.into());
                client.assignor = Some(if mask & 0x20 != 0 { "range" } else { "uniform" }.into());
                client.tells_all = true;
            }
            Event::CreateTopic(at, count) => {
                if world.image.topic(TOPICS[at]).is_none() {
                    world.create_topic(TOPICS[at], count);
                }
            }
            Event::DeleteTopic(at) => {
                if world.image.topic(TOPICS[at]).is_some() {
                    world.delete_topic(TOPICS[at]);
                }
            }
            Event::AddPartition(at) => {
                if world.image.topic(TOPICS[at]).is_some() {
                    world.add_partitions(TOPICS[at], 1);
                }
            }
            Event::Pass(ms) => world.pass(ms),
            Event::Reload => {
                world.group = world.reloaded();
                world.turn(|group, turn| group.on_loaded(turn));
            }
        }
    }

    fn check(&mut self) {
        self.world.assert_disjoint();
        let group = &self.world.group;
        let epochs = (group.epoch, group.assignment_epoch);
        assert!(epochs.0 >= self.epochs.0 && epochs.1 >= self.epochs.1, "an epoch went back");
        assert!(epochs.1 <= epochs.0, "an assignment for an epoch to come");
        self.epochs = epochs;
        for member in group.members.values() {
            assert!(member.current.epoch <= epochs.1);
        }
        // Clients that the group knows, and who know it, never use the same.
        let mut users = BTreeMap::new();
        for client in self.clients.iter().filter(|it| group.members.contains_key(&it.id)) {
            for at in &client.used {
                let other = users.insert(*at, &client.id);
                assert!(other.is_none(), "{at:?} is used by {} and {other:?}", client.id);
            }
        }
    }

    fn check_log(&self) {
        let expected = lasting(&self.world.group);
        assert_eq!(lasting(&self.world.reloaded()), expected, "the log tells everything");
        assert_eq!(lasting(&self.world.reloaded_from_compacted()), expected, "compacted, too");
    }

    /// Everybody beats until nothing changes.
    fn settle(&mut self) {
        // Whoever is fenced joins; patterns are due again.
        self.world.now_ms += 11_000;
        for _ in 0..20 {
            for at in 0..self.clients.len() {
                self.happen(&Event::Beat(at));
                self.check();
            }
            self.world.now_ms += 100;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everybody_ends_with_their_share(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut history = History::new();
        for event in &events {
            history.happen(event);
            history.check();
            history.check_log();
        }
        history.settle();
        history.check_log();
        let group = &history.world.group;
        prop_assert_eq!(group.state_name(), "Stable", "{:#?}", group);
        let mut all = std::collections::BTreeSet::new();
        for client in &history.clients {
            prop_assert_eq!(&client.used, &group.targets[&client.id], "{}", client.id);
            all.extend(client.used.iter().copied());
        }
        let subscribed = group.subscribed_topics();
        let topics = history.world.image.topics.values();
        let topics = topics.filter(|topic| subscribed.contains(topic.name.as_str()));
        let expected: usize = topics.map(|topic| topic.partitions.len()).sum();
        prop_assert_eq!(all.len(), expected, "every partition is read");
    }
}
