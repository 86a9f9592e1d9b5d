//! What goes wrong in a run, one thing after the other and often several at once.
//!
//! Damage for good (bits that flip) hits one machine only, so that a majority always has every
//! record; everything else hits any machine, or all of them.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use thalweg_protocol::KafkaStr;
use thalweg_protocol::messages::AlterPartitionReassignmentsRequest;
use thalweg_protocol::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignableTopic,
};
use thalweg_storage::disk::Disk;
use thalweg_storage::disk::sim::Operation;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::book::Place;
use super::client::Client;
use super::dice::Dice;
use super::machine::Machine;
use super::network::{Host, Net};
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
    /// Whether bits may flip.
    pub(super) bit_rot: bool,
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
                note(&format!("kill {host}"));
                machine.kill(self.dice.millis(50, 3000));
            }
            2 | 3 => {
                note(&format!("power of {host}"));
                machine.power_cut(self.dice.millis(50, 4000));
            }
            4 => {
                note("power of several");
                let several = 1 + self.dice.below(self.machines.len() as u64);
                let down = self.dice.shuffled(&self.machines);
                for machine in down.iter().take(usize::try_from(several).unwrap_or(1)) {
                    machine.power_cut(self.dice.millis(10, 1000));
                }
            }
            5 => {
                note(&format!("stop {host}"));
                machine.stop();
            }
            6 | 7 => {
                note(&format!("pause {host}"));
                machine.pause(true);
                let wakes = self.dice.millis(50, 5000);
                spawn_local(async move {
                    sleep(wakes).await;
                    machine.pause(false);
                });
            }
            8 => self.isolate(host, |from, to| format!("cut {from} off, and from {to}")),
            9 => {
                let other = self.any().host;
                note(&format!("cut {host} to {other} one way"));
                self.net.cut(host, other);
            }
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
                machine.shift_clock(off);
            }
            17 => self.rot().await,
            _ => self.reassign(client).await,
        }
    }

    /// Cuts a broker off from the other brokers; clients may still reach it.
    fn isolate(&self, host: Host, what: impl Fn(Host, &str) -> String) {
        self.trace.note(&format!("fault: {}", what(host, "all brokers")));
        for other in &self.machines {
            self.net.cut(host, other.host);
            self.net.cut(other.host, host);
        }
    }

    /// Cuts the brokers into two halves.
    fn split(&self) {
        let hosts: Vec<Host> = self.machines.iter().map(|machine| machine.host).collect();
        let hosts = self.dice.shuffled(&hosts);
        let at = 1 + self.dice.below(hosts.len() as u64 - 1);
        let (a, b) = hosts.split_at(usize::try_from(at).unwrap_or(1));
        self.trace.note(&format!("fault: split {a:?} from {b:?}"));
        for (a, b) in a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b))) {
            self.net.cut(a, b);
            self.net.cut(b, a);
        }
    }

    fn disk_trouble(&self, machine: &Rc<Machine>) {
        let host = machine.host;
        let note = |what: &str| self.trace.note(&format!("fault: disk of {host}: {what}"));
        match self.dice.below(4) {
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

    /// Flips a bit of a segment, on the first machine only.
    async fn rot(&self) {
        let Some(machine) = self.machines.first().filter(|_| self.bit_rot) else { return };
        let disk = machine.disk().reopen();
        let Ok(files) = segments(&disk).await else { return };
        if files.is_empty() {
            return;
        }
        let path = self.dice.pick(&files);
        let (position, bit) = (self.dice.below(16384), self.dice.below(8));
        let flipped = disk.flip_bit(path, position, u8::try_from(bit).unwrap_or(0));
        if flipped.is_ok() {
            self.trace.note(&format!("fault: bit {bit} of byte {position} of {}", path.display()));
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
        let _ = client.call(to, &request, 0).await;
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

/// Segments and ledgers of all topics on a disk.
async fn segments(disk: &dyn Disk) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![PathBuf::from("/data/topics")];
    while let Some(dir) = dirs.pop() {
        for entry in disk.list_dir(&dir).await? {
            let path = dir.join(&entry.name);
            let is_log = |extension: &str| path.extension().is_some_and(|it| it == extension);
            if entry.is_dir {
                dirs.push(path);
            } else if is_log("log") || is_log("idx") {
                files.push(Path::to_owned(&path));
            }
        }
    }
    files.sort();
    Ok(files)
}
