//! What goes wrong in a run, one thing after the other and often several at once.
//!
//! It may hit any machine, or all of them; what happens to one of them only is in `wear.rs`.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use thalweg_protocol::messages::AlterPartitionReassignmentsRequest;
use thalweg_protocol::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignableTopic,
};
use thalweg_protocol::{ErrorCode, KafkaStr};
use thalweg_storage::disk::sim::Operation;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::book::Place;
use super::client::Client;
use super::dice::Dice;
use super::machine::Machine;
use super::network::{Host, Net};
use super::toll::Misfortune;
use super::trace::Trace;

/// Half an hour: less than what a topic's timestamps may be off.
const CLOCK_OFF_MS: i64 = 30 * 60 * 1000;

/// Whoever makes things go wrong.
pub(super) struct Faults {
    /// Their machines.
    pub(super) machines: Vec<Rc<Machine>>,
    /// The way between them.
    pub(super) net: Rc<Net>,
    /// The run's log.
    pub(super) trace: Rc<Trace>,
    /// Partitions that may be moved.
    pub(super) places: Vec<Place>,
    /// What decides.
    pub(super) dice: Dice,
}

impl Faults {
    /// Lets things go wrong for as long as `lasting`, then sets everything right again.
    pub(super) async fn run(self: Rc<Self>, lasting: Duration, mut client: Client) {
        let end = Instant::now() + lasting;
        while Instant::now() < end {
            sleep(self.dice.millis(100, 1500)).await;
            self.one(&mut client).await;
        }
        self.trace.note("faults end");
        self.net.heal();
        for machine in &self.machines {
            machine.pause(false);
            machine.disk().set_capacity(None);
            machine.disk().set_latency(None);
            machine.disk().clear_faults();
        }
    }

    fn any(&self) -> Rc<Machine> {
        Rc::clone(self.dice.pick(&self.machines))
    }

    async fn one(&self, client: &mut Client) {
        let machine = self.any();
        let host = machine.host;
        let note = |what: &str| self.trace.note(&format!("fault: {what}"));
        match self.dice.below(20) {
            0 | 1 => {
                if machine.kill(self.dice.millis(50, 3000)) {
                    note(&format!("kill {host}"));
                    self.trace.struck(Misfortune::Kill);
                }
            }
            2 | 3 => self.power_cut(&[machine], 50..=4000),
            4 => {
                let several = 1 + self.dice.below(self.machines.len() as u64);
                let mut down = self.dice.shuffled(&self.machines);
                down.truncate(usize::try_from(several).unwrap_or(1));
                self.power_cut(&down, 10..=1000);
            }
            5 => {
                note(&format!("stop {host}"));
                self.trace.struck(Misfortune::Stop);
                machine.stop();
            }
            6 | 7 => {
                note(&format!("pause {host}"));
                self.trace.struck(Misfortune::Pause);
                machine.pause(true);
                let wakes = self.dice.millis(50, 5000);
                spawn_local(async move {
                    sleep(wakes).await;
                    machine.pause(false);
                });
            }
            8 => self.isolate(host),
            9 => self.cut_one_way(host, self.any().host),
            10 => self.split(),
            11..=13 => {
                note("mend the network");
                self.net.heal();
            }
            14 => {
                let other = self.any().host;
                note(&format!("slow and resets between {host} and {other}"));
                self.net.slow_down(host, other, self.dice.below(800));
                self.net.reset(host, other);
            }
            15 => self.disk_trouble(&machine),
            16 => {
                let off = i64::try_from(self.dice.below(2 * CLOCK_OFF_MS.unsigned_abs()));
                let off = off.unwrap_or(0) - CLOCK_OFF_MS;
                note(&format!("the clock of {host} off by {off} ms"));
                self.trace.struck(Misfortune::ClockJump);
                machine.shift_clock(off);
            }
            // Once in a while nothing happens.
            17 => {}
            _ => self.reassign(client).await,
        }
    }

    /// Takes the power of machines away at once, each for so many milliseconds.
    fn power_cut(&self, machines: &[Rc<Machine>], down_ms: RangeInclusive<u64>) {
        let mut dark = Vec::new();
        for machine in machines {
            if machine.power_cut(self.dice.millis(*down_ms.start(), *down_ms.end())) {
                dark.push(machine.host);
            }
        }
        self.trace.note(&format!("fault: power of {dark:?}"));
        match dark.len() {
            0 => {}
            1 => self.trace.struck(Misfortune::PowerOfOne),
            all if all == self.machines.len() => self.trace.struck(Misfortune::PowerOfAll),
            _ => self.trace.struck(Misfortune::PowerOfSeveral),
        }
    }

    /// Cuts a broker off from the other brokers; clients may still reach it.
    fn isolate(&self, host: Host) {
        self.trace.note(&format!("fault: cut {host} off from all brokers, and them from {host}"));
        self.trace.struck(Misfortune::Isolation);
        for other in &self.machines {
            self.net.cut(host, other.host);
            self.net.cut(other.host, host);
        }
    }

    fn cut_one_way(&self, from: Host, to: Host) {
        if from != to {
            self.trace.note(&format!("fault: cut {from} to {to} one way"));
            self.trace.struck(Misfortune::OneWay);
            self.net.cut(from, to);
        }
    }

    /// Cuts the brokers into two halves.
    fn split(&self) {
        let hosts: Vec<Host> = self.machines.iter().map(|machine| machine.host).collect();
        let hosts = self.dice.shuffled(&hosts);
        let at = 1 + self.dice.below(hosts.len() as u64 - 1);
        let (a, b) = hosts.split_at(usize::try_from(at).unwrap_or(1));
        self.trace.note(&format!("fault: split {a:?} from {b:?}"));
        self.trace.struck(Misfortune::Split);
        for (a, b) in a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b))) {
            self.net.cut(a, b);
            self.net.cut(b, a);
        }
    }

    fn disk_trouble(&self, machine: &Rc<Machine>) {
        let host = machine.host;
        let note = |what: &str| self.trace.note(&format!("fault: disk of {host}: {what}"));
        match self.dice.below(4) {
            0 | 1 if machine.is_spared() => {}
            0 => {
                note("EIO on the next sync");
                machine.disk().fail_next(Operation::Sync, libc::EIO, 1);
            }
            1 => {
                note("EIO on the next write");
                machine.disk().fail_next(Operation::Write, libc::EIO, 1);
            }
            2 => {
                note("full");
                machine.disk().set_capacity(Some(self.dice.below(1 << 20)));
                let (machine, room) = (Rc::clone(machine), self.dice.millis(200, 6000));
                spawn_local(async move {
                    sleep(room).await;
                    machine.disk().set_capacity(None);
                });
            }
            _ => {
                note("slow");
                self.trace.struck(Misfortune::SlowDisk);
                let slow: RangeInclusive<Duration> =
                    Duration::from_millis(1)..=self.dice.millis(2, 60);
                machine.disk().set_latency(Some(slow));
                let (machine, quick) = (Rc::clone(machine), self.dice.millis(500, 6000));
                spawn_local(async move {
                    sleep(quick).await;
                    machine.disk().set_latency(None);
                });
            }
        }
    }

    /// Asks for other replicas, or for the same in another order.
    async fn reassign(&self, client: &mut Client) {
        let (topic, partition) = self.dice.pick(&self.places).clone();
        let hosts: Vec<i32> = self.machines.iter().map(|machine| machine.host.into()).collect();
        let mut target = self.dice.shuffled(&hosts);
        target.truncate(3);
        self.trace.note(&format!("fault: {topic}-{partition} to {target:?}"));
        let request = reassignment(&topic, partition, target);
        let to = client.any();
        // Whether it was taken makes no difference to what must hold.
        let answer = client.call(to, &request, 0).await;
        let outcomes = answer.into_iter().flat_map(|answer| answer.responses);
        let mut outcomes = outcomes.flat_map(|topic| topic.partitions);
        if outcomes.any(|it| ErrorCode::from(it.error_code) == ErrorCode::None) {
            self.trace.struck(Misfortune::Reassignment);
        }
    }
}

/// A request that moves one partition.
pub(super) fn reassignment(
    topic: &str,
    partition: i32,
    replicas: Vec<i32>,
) -> AlterPartitionReassignmentsRequest {
    let partition = ReassignablePartition {
        partition_index: partition,
        replicas: Some(replicas),
        ..Default::default()
    };
    let topic = ReassignableTopic {
        name: KafkaStr::copied_from(topic),
        partitions: vec![partition],
        ..Default::default()
    };
    AlterPartitionReassignmentsRequest {
        topics: vec![topic],
        timeout_ms: 3000,
        ..Default::default()
    }
}
