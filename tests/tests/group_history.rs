//! Consumer groups of both protocols, whose members join, leave, crash and stall while records keep
//! coming: what happened is recorded, and the checker finds no rule broken.
//!
//! Every member has a thread and an event loop of its own, so that a member that stalls stalls
//! altogether, heartbeats and all, and one that crashes says goodbye to nobody. HISTORY_SEED and
//! HISTORY_STEPS make it another and a longer one.

use std::collections::BTreeSet;
use std::env;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thalweg_client::consumer::{
    Assignor, Consumer, GroupHandle, GroupProtocol, OffsetReset, RebalanceListener,
};
use thalweg_client::protocol::arbitrary::Source;
use thalweg_client::{Client, CommittedOffset, TopicPartition};
use thalweg_tests::broker::LocalBroker;
use thalweg_tests::history::{Event, Moment, check};
use thalweg_tests::topic::{batch, create, produce};
use thalweg_tests::wait::eventually;
use thalweg_tests::wire::Wire;

const TOPIC: &str = "work";
const GROUP: &str = "workers";
const PARTITIONS: i32 = 6;
const MEMBERS_MAX: usize = 4;
const STEPS: usize = 14;
/// Short, so that the group notices a crash while the test lasts.
const SESSION: Duration = Duration::from_millis(700);
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Longer than a session.
const STALL: Duration = Duration::from_millis(1_500);
const COMMIT_AFTER: usize = 10;

/// What has happened so far.
#[derive(Clone, Debug, Default)]
struct History(Arc<Mutex<Vec<Event>>>);

impl History {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: Event) {
        self.lock().push(event);
    }

    fn now(&self) -> Moment {
        self.lock().len()
    }
}

/// Tells the history what a member owns, and where it goes on.
struct Recorder {
    member: String,
    owned: BTreeSet<i32>,
    history: History,
}

impl Recorder {
    fn forget(&mut self, partitions: &[TopicPartition]) {
        self.owned.retain(|owned| partitions.iter().all(|it| it.partition != *owned));
    }

    fn record(&self, group: &GroupHandle) {
        let Some(generation) = group.generation() else { return };
        let (member, partitions) = (self.member.clone(), self.owned.clone());
        self.history.record(Event::Owns { member, generation, partitions });
    }
}

impl RebalanceListener for Recorder {
    async fn on_assigned(&mut self, group: &GroupHandle, partitions: &[TopicPartition]) {
        self.owned.extend(partitions.iter().map(|it| it.partition));
        self.record(group);
        let asked = self.history.now();
        // Whoever has lost its place meanwhile is told nothing.
        let Ok(committed) = group.committed(partitions).await else { return };
        for (partition, committed) in committed {
            let (member, partition) = (self.member.clone(), partition.partition);
            let offset = committed.map(|it| it.offset);
            self.history.record(Event::Resumed { member, partition, offset, asked });
        }
    }

    async fn on_revoked(&mut self, group: &GroupHandle, partitions: &[TopicPartition]) {
        self.forget(partitions);
        self.record(group);
    }

    async fn on_lost(&mut self, _: &GroupHandle, partitions: &[TopicPartition]) {
        self.forget(partitions);
    }
}

/// How the group's partitions are divided.
#[derive(Clone, Copy)]
enum Division {
    Members(Assignor),
    Coordinator,
    /// Every other member is of the newer protocol, so that the group goes over and back as they
    /// come and go.
    Either,
}

impl Division {
    /// How the member that is started as the `nth` takes part.
    fn of_member(self, nth: usize) -> Division {
        match self {
            Division::Either if nth.is_multiple_of(2) => Division::Coordinator,
            Division::Either => Division::Members(Assignor::CooperativeSticky),
            same => same,
        }
    }
}

enum Order {
    Stall,
    Leave,
    Crash,
}

/// A member at work on a thread of its own.
struct Member {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

impl Member {
    fn start(address: SocketAddr, name: String, division: Division, history: &History) -> Member {
        let (orders, inbox) = mpsc::channel();
        let history = history.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("an event loop");
            let consumer = runtime.block_on(join(address, &name, division, &history));
            let left = runtime.block_on(work(consumer, &name, &history, &inbox));
            if left {
                return;
            }
            // Whatever its tasks were about to send is never sent.
            runtime.shutdown_background();
        });
        Member { orders, thread }
    }

    fn tell(&self, order: Order) {
        self.orders.send(order).expect("the member is at work");
    }

    fn end(self, order: Order) {
        self.tell(order);
        self.thread.join().expect("the member has not panicked");
    }
}

async fn join(address: SocketAddr, name: &str, division: Division, history: &History) -> Consumer {
    let client = Client::connect(&address.to_string()).await.expect("the broker is there");
    let recorder =
        Recorder { member: name.to_owned(), owned: BTreeSet::new(), history: history.clone() };
    let builder = client.consumer().group(GROUP);
    let builder = match division {
        Division::Members(assignor) => builder.assignors([assignor]),
        Division::Coordinator | Division::Either => builder.group_protocol(GroupProtocol::Consumer),
    };
    builder
        .subscribe([TOPIC])
        .auto_offset_reset(OffsetReset::Earliest)
        .manual_commit()
        .session_timeout(SESSION)
        .heartbeat_interval(HEARTBEAT)
        .max_poll_interval(Duration::from_secs(5))
        .on_rebalance(recorder)
        .build()
}

/// Processes, then commits. False if it has crashed.
async fn work(
    mut consumer: Consumer,
    name: &str,
    history: &History,
    inbox: &mpsc::Receiver<Order>,
) -> bool {
    let mut uncommitted = 0;
    loop {
        match inbox.try_recv() {
            Ok(Order::Stall) => thread::sleep(STALL),
            Ok(Order::Leave) => {
                commit(&consumer, name, history).await;
                consumer.close().await.expect("nothing is left to commit");
                return true;
            }
            Ok(Order::Crash) | Err(mpsc::TryRecvError::Disconnected) => {
                std::mem::forget(consumer);
                return false;
            }
            Err(mpsc::TryRecvError::Empty) => {}
        }
        let next = tokio::time::timeout(Duration::from_millis(20), consumer.next()).await;
        if let Ok(record) = next {
            let record = record.expect("nothing ends a member but its orders");
            let (partition, offset) = (record.partition(), record.offset);
            let member = name.to_owned();
            history.record(Event::Processed { member, partition, offset });
            uncommitted += 1;
        }
        if uncommitted >= COMMIT_AFTER {
            commit(&consumer, name, history).await;
            uncommitted = 0;
        }
    }
}

/// Commits what has been processed: all records given before, for they are processed at once.
async fn commit(consumer: &Consumer, name: &str, history: &History) {
    let offsets: Vec<(TopicPartition, CommittedOffset)> = consumer
        .assignment()
        .iter()
        .filter_map(|it| Some((TopicPartition::clone(it), consumer.position(it)?.into())))
        .collect();
    let asked = history.now();
    // A member that is none any more may not commit, and another one goes on for it.
    if consumer.commit_offsets(&offsets).await.is_ok() {
        for (partition, committed) in offsets {
            history.record(Event::Committed {
                member: name.to_owned(),
                partition: partition.partition,
                offset: committed.offset,
                asked,
            });
        }
    }
}

/// Produces to all partitions in turn until told to stop.
fn produce_steadily(address: SocketAddr, history: &History, stop: &AtomicBool) {
    let mut wire = Wire::connect(address).expect("the broker takes connections");
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let partition = number % PARTITIONS;
        let outcome = produce(&mut wire, TOPIC, partition, batch(&["one", "two", "three"]));
        let outcome = outcome.expect("Produce is answered");
        assert_eq!(outcome.error_code, 0);
        for offset in outcome.base_offset..outcome.base_offset + 3 {
            history.record(Event::Produced { partition, offset });
        }
        number += 1;
        thread::sleep(Duration::from_millis(2));
    }
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    let read = |text: String| text.parse().ok().unwrap_or_else(|| panic!("{name}={text}"));
    env::var(name).map_or(default, read)
}

/// The ups and downs of a group, decided by `seed`.
fn run(division: Division, seed: u64) -> Vec<Event> {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = [
        ("group.initial.rebalance.delay.ms", "50"),
        ("group.min.session.timeout.ms", "100"),
        ("group.consumer.min.session.timeout.ms", "700"),
        ("group.consumer.session.timeout.ms", "700"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "100"),
        ("group.consumer.assignment.interval.ms", "150"),
    ];
    let broker = LocalBroker::start(dir.path(), &settings);
    create(&mut broker.connect(), TOPIC, PARTITIONS, &[]);
    let (address, history) = (broker.address(), History::default());
    let stop = Arc::new(AtomicBool::new(false));
    let producer = {
        let (history, stop) = (history.clone(), Arc::clone(&stop));
        thread::spawn(move || produce_steadily(address, &history, &stop))
    };
    let mut source = Source::new(seed);
    let mut members: Vec<Member> = Vec::new();
    let mut started = 0;
    let mut start = |members: &mut Vec<Member>| {
        started += 1;
        let name = format!("member-{started}");
        members.push(Member::start(address, name, division.of_member(started), &history));
    };
    for _ in 0..setting("HISTORY_STEPS", STEPS) {
        match source.below(6) {
            _ if members.is_empty() => start(&mut members),
            0..=2 if members.len() < MEMBERS_MAX => start(&mut members),
            3 => members.swap_remove(source.below(members.len())).end(Order::Leave),
            4 => members.swap_remove(source.below(members.len())).end(Order::Crash),
            _ => members[source.below(members.len())].tell(Order::Stall),
        }
        thread::sleep(Duration::from_millis(100 + source.next_u64() % 500));
    }
    stop.store(true, Ordering::Relaxed);
    producer.join().expect("the producer has not panicked");
    if members.is_empty() {
        start(&mut members);
    }
    eventually("everything is processed", || {
        let violations = check(&history.lock());
        let is_lost = |it: &_| matches!(it, thalweg_tests::history::Violation::Lost { .. });
        (!violations.iter().any(is_lost)).then_some(())
    });
    members.into_iter().for_each(|member| member.end(Order::Leave));
    broker.stop();
    history.lock().clone()
}

fn judge(division: Division) {
    let seed = setting("HISTORY_SEED", 1);
    let history = run(division, seed);
    let violations = check(&history);
    assert!(violations.is_empty(), "seed {seed}: {violations:?}");
    let count = |is: fn(&Event) -> bool| history.iter().filter(|event| is(event)).count();
    let commits = count(|event| matches!(event, Event::Committed { .. }));
    let takeovers = count(|event| matches!(event, Event::Owns { .. }));
    println!("seed {seed}: {} events, {commits} commits, {takeovers} takeovers", history.len());
    assert!(commits > 10 && takeovers > 4, "{commits} commits, {takeovers} takeovers");
}

#[test]
fn eager_groups_lose_nothing_and_share_nothing() {
    judge(Division::Members(Assignor::Range));
}

#[test]
fn cooperative_groups_lose_nothing_and_share_nothing() {
    judge(Division::Members(Assignor::CooperativeSticky));
}

#[test]
fn groups_that_the_coordinator_divides_lose_nothing_and_share_nothing() {
    judge(Division::Coordinator);
}

#[test]
fn groups_of_both_protocols_lose_nothing_and_share_nothing() {
    judge(Division::Either);
}
