//! Three brokers to which everything happens that happens to brokers: networks that fall apart,
//! also in one direction only, processes that stop for a while, are killed or restarted, disks that
//! fill up, and power that fails everywhere at once. A load goes on meanwhile, and in the end its
//! history must be one that a log can have.
//!
//! `CHAOS_SECONDS` says for how long, `CHAOS_SEED` what happens (it is printed, to be repeated).

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use thalweg_protocol::arbitrary::Source;
use thalweg_tests::cluster::Cluster;
use thalweg_tests::cluster_load::ClusterLoad;
use thalweg_tests::mount::{Filesystem, LoopMount};
use thalweg_tests::network::Network;
use thalweg_tests::topic::create_replicated;

const BINARY: &str = env!("CARGO_BIN_EXE_broker_under_test");
const NODES: u8 = 3;
/// A topic that keeps everything, and one whose followers fall behind what it keeps.
const TOPICS: [(&str, &[(&str, &str)]); 2] = [
    ("kept", &[("internal.segment.bytes", "65536")]),
    ("trimmed", &[("internal.segment.bytes", "16384"), ("retention.bytes", "65536")]),
];
const PARTITIONS: i32 = 2;
const SECONDS: u64 = 20;
const SETTINGS: [(&str, &str); 3] = [
    ("shards", "1"),
    ("log.retention.check.interval.ms", "500"),
    ("limits.disk_reserve_bytes", "4MiB"),
];

/// Something that happens, and passes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// No other broker hears this one, and it hears no other. Clients still reach it.
    Isolated(u8),
    /// The second hears nothing of the first.
    OneWay(u8, u8),
    /// The others do not hear this one, which hears them.
    Mute(u8),
    Paused(u8),
    Killed(u8),
    Restarted(u8),
    DiskFull(u8),
    PowerCut(u8),
    PowerCutEverywhere,
    AllKilled,
}

struct World {
    cluster: Cluster,
    network: Network,
    mounts: Vec<LoopMount>,
}

impl World {
    /// Or a word on why this machine cannot have it.
    fn new() -> Result<World, String> {
        let network = Network::new(NODES)?;
        let mounts = (1..=NODES).map(|node| {
            let xfs = node == NODES;
            let (filesystem, size) =
                if xfs { (Filesystem::Xfs, 320) } else { (Filesystem::Ext4, 256) };
            LoopMount::new(filesystem, size)
        });
        let mounts = mounts.collect::<Result<Vec<_>, _>>()?;
        let mut cluster = Cluster::planned(BINARY, &SETTINGS);
        for (node, mount) in (1..).zip(&mounts) {
            let mut site = cluster.site(node);
            site.ip = network.ip(node);
            site.inside = network.inside(node);
            site.data_dir = mount.path().join("data");
            cluster.plan(site);
        }
        cluster.start_all();
        Ok(World { cluster, network, mounts })
    }

    fn begin(&mut self, fault: Fault) {
        let others = |node| (1..=NODES).filter(move |other| *other != node);
        match fault {
            Fault::Isolated(node) => others(node).for_each(|other| {
                self.network.cut(node, other);
                self.network.cut(other, node);
            }),
            Fault::OneWay(from, to) => self.network.cut(from, to),
            Fault::Mute(node) => others(node).for_each(|other| self.network.cut(node, other)),
            Fault::Paused(node) => self.cluster.pause(node.into()),
            Fault::Killed(node) => self.cluster.kill(node.into()),
            Fault::Restarted(node) => {
                let (status, said) = self.cluster.terminate(node.into());
                assert!(status.success(), "{status}: {said}");
            }
            Fault::DiskFull(node) => fill(&self.mounts[usize::from(node) - 1]),
            Fault::PowerCut(node) => {
                self.mounts[usize::from(node) - 1].cut_power();
                self.cluster.kill(node.into());
            }
            Fault::PowerCutEverywhere => {
                self.mounts.iter().for_each(LoopMount::cut_power);
                self.cluster.kill_all();
            }
            Fault::AllKilled => self.cluster.kill_all(),
        }
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Isolated(_) | Fault::OneWay(..) | Fault::Mute(_) => self.network.heal(),
            Fault::Paused(node) => self.cluster.resume(node.into()),
            Fault::Killed(_) | Fault::Restarted(_) | Fault::AllKilled => self.cluster.start_all(),
            Fault::DiskFull(node) => {
                let root = self.mounts[usize::from(node) - 1].path();
                fs::remove_file(root.join("ballast")).expect("the ballast is there");
                // Power that fails next would bring it back.
                File::open(root).and_then(|root| root.sync_all()).expect("a directory");
            }
            Fault::PowerCut(node) => {
                self.mounts[usize::from(node) - 1].restore_power();
                self.cluster.start_all();
            }
            Fault::PowerCutEverywhere => {
                self.mounts.iter_mut().for_each(LoopMount::restore_power);
                self.cluster.start_all();
            }
        }
        self.cluster.assert_well();
    }
}

/// Takes all room but what is below the broker's reserve.
fn fill(mount: &LoopMount) {
    let ballast = File::create(mount.path().join("ballast")).expect("a file more");
    let mut size: libc::off_t = 256 << 20;
    let mut position = 0;
    while size >= 1 << 20 {
        // SAFETY: the descriptor is open; the call takes numbers besides.
        if unsafe { libc::fallocate(ballast.as_raw_fd(), 0, position, size) } == 0 {
            position += size;
        } else {
            size /= 2;
        }
    }
}

/// Lets something last so long, and says when within that time every partition had taken records.
fn served_within(loads: &[ClusterLoad], lasting: Duration) -> Option<Duration> {
    let began = Instant::now();
    let acknowledged = || loads.iter().flat_map(ClusterLoad::acknowledged).collect::<Vec<u64>>();
    let before = acknowledged();
    let mut served = None;
    while began.elapsed() < lasting {
        std::thread::sleep(Duration::from_millis(10));
        let grown = acknowledged().iter().zip(&before).all(|(now, then)| *now >= then + 20);
        if grown && served.is_none() {
            served = Some(began.elapsed());
        }
    }
    served
}

fn some_fault(source: &mut Source) -> Fault {
    let node = 1 + u8::try_from(source.below(NODES.into())).expect("few nodes");
    let other = 1 + node % NODES;
    match source.below(12) {
        0 | 1 => Fault::Isolated(node),
        2 => Fault::OneWay(node, other),
        3 => Fault::OneWay(other, node),
        4 => Fault::Mute(node),
        5 => Fault::Paused(node),
        6 => Fault::Killed(node),
        7 => Fault::Restarted(node),
        8 => Fault::DiskFull(node),
        9 => Fault::PowerCut(node),
        10 => Fault::PowerCutEverywhere,
        _ => Fault::AllKilled,
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

#[test]
fn whatever_happens_nothing_that_was_told_is_lost() {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let seconds = number("CHAOS_SECONDS").unwrap_or(SECONDS);
    let mut world = match World::new() {
        Ok(world) => world,
        Err(missing) => {
            eprintln!("skipped: {missing}");
            return;
        }
    };
    eprintln!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds}");
    let mut source = Source::new(seed);
    let loads = TOPICS.map(|(topic, configs)| {
        create_replicated(&mut world.cluster.wire(1), topic, PARTITIONS, 3, configs);
        world.cluster.wait_in_sync(topic);
        ClusterLoad::start(&world.cluster.addresses(), topic, PARTITIONS)
    });
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let fault = some_fault(&mut source);
        let lasting = Duration::from_millis(200 << source.below(6));
        world.begin(fault);
        let served = served_within(&loads, lasting);
        world.end(fault);
        let ended = Instant::now();
        loads.iter().for_each(|load| load.go_on_for(20));
        let after = ended.elapsed();
        eprintln!("{fault:?} for {lasting:?}: served {served:?}, and {after:?} after it");
    }
    for load in loads {
        let produced = load.finish();
        let records: u64 = produced.iter().map(|it| it.acknowledged).sum();
        let gap = produced.iter().map(|it| it.gap_max).max();
        eprintln!("{records} records acknowledged; the longest wait for one was {gap:?}");
    }
}
