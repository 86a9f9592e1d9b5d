//! Whole clusters in one thread, decided by one number.
//!
//! A run has a safety phase, in which clients work while everything goes wrong, and a liveness
//! phase, in which nothing does and all of it must be well within a bound. The book knows what
//! clients were told ([`book`]); the trace is the same for the same seed ([`trace`]).
//!
//! Why this is not `turmoil`: docs/adr/0007-own-simulation.md.

pub mod book;
pub mod client;
pub mod dice;
pub mod entropy;
mod faults;
mod liveness;
pub mod machine;
pub mod network;
pub mod stream;
pub mod toll;
pub mod trace;
mod wear;
pub mod workload;

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use thalweg_storage::recovery::planted;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use self::book::{Book, Place, Tally};
use self::client::Client;
use self::dice::Dice;
use self::faults::Faults;
use self::machine::{Cluster, Machine};
use self::network::{Host, Net};
use self::toll::{Misfortune, Toll};
use self::trace::Trace;
use self::wear::Wear;
use self::workload::{Producer, Stage};

/// How long a cluster without faults may take until all is well.
const WELL_WITHIN: Duration = Duration::from_secs(120);
const TOPIC: &str = "orders";
const PARTITIONS: i32 = 3;
/// The first client's place on the network.
const CLIENTS: Host = 100;

/// A mistake that a broker could make, and that runs have to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A flush is said to be done and is not.
    SkipFsync,
    /// A start knows nothing of terms and votes.
    ForgetVotes,
    /// `acks=all` is answered when the leader alone has the records.
    AckBeforeQuorum,
    /// A start cuts every log at the first frame that does not verify.
    CutAtFirstBadCrc,
}

impl Bug {
    /// All of them, with their names.
    pub const ALL: [(&str, Bug); 4] = [
        ("skip-fsync", Bug::SkipFsync),
        ("forget-votes", Bug::ForgetVotes),
        ("ack-before-quorum", Bug::AckBeforeQuorum),
        ("cut-at-first-bad-crc", Bug::CutAtFirstBadCrc),
    ];
}

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// Brokers: 3 or 5.
    pub nodes: u8,
    /// How long things go wrong.
    pub seconds: u64,
    /// Whether the disk of one machine is bad, and links come and go.
    pub wear: bool,
    /// A mistake that every broker makes.
    pub bug: Option<Bug>,
    /// Whether lines are kept, for comparing two runs.
    pub keep_trace: bool,
    /// Whether it is told what happens.
    pub verbose: bool,
}

impl Options {
    /// The run of a seed: every third has five brokers.
    pub fn of(seed: u64) -> Options {
        let nodes = if seed % 3 == 2 { 5 } else { 3 };
        Options {
            seed,
            nodes,
            seconds: 20,
            wear: true,
            bug: None,
            keep_trace: false,
            verbose: false,
        }
    }
}

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What should not have happened; empty for a good run.
    pub violations: Vec<String>,
    /// The run as one number.
    pub hash: u64,
    /// How much happened in it.
    pub events: u64,
    /// How much went through.
    pub tally: Tally,
    /// How often each misfortune struck.
    pub toll: Toll,
    /// Its lines, if they were kept.
    pub lines: Vec<String>,
}

/// Runs one seed on a thread of its own.
///
/// The same seed makes the same run if it is the process's first: tokio counts its event loops, and
/// `select!` draws from that.
///
/// # Panics
/// If the simulation itself is wrong.
pub fn run(options: &Options) -> Outcome {
    let options = options.clone();
    let name = format!("seed {}", options.seed);
    let thread = std::thread::Builder::new().name(name).stack_size(8 << 20);
    let running = thread.spawn(move || {
        entropy::seed(options.seed);
        match options.bug {
            Some(Bug::AckBeforeQuorum) => thalweg::embedded::plant_ack_before_quorum(),
            Some(Bug::CutAtFirstBadCrc) => planted::cut_at_first_bad_crc(),
            // Their disks and their starts see to those.
            Some(Bug::SkipFsync | Bug::ForgetVotes) | None => {}
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        LocalSet::new().block_on(&runtime, simulate(options))
    });
    match running.expect("a thread").join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A run under way.
struct World {
    options: Options,
    trace: Rc<Trace>,
    net: Rc<Net>,
    book: Rc<Book>,
    machines: Vec<Rc<Machine>>,
    stage: Stage,
    dice: Dice,
    clients: Cell<Host>,
}

impl World {
    fn new(options: Options) -> World {
        machine::begin_run();
        let dice = Dice::new(options.seed);
        let trace = Rc::new(Trace::new(options.keep_trace, options.verbose));
        let net = Net::new(Rc::clone(&trace), dice.fork());
        let cluster = Rc::new(Cluster {
            net: Rc::clone(&net),
            trace: Rc::clone(&trace),
            founders: machine::founders(options.nodes),
            bug: options.bug,
            data_dir: PathBuf::from("/data"),
        });
        let machines = (1..=options.nodes).map(|host| Machine::new(host, &cluster, dice.fork()));
        let machines = machines.collect();
        let book = Book::new(&trace);
        let stage = Stage { book: Rc::clone(&book), over: Rc::default() };
        let clients = Cell::new(CLIENTS);
        World { options, trace, net, book, machines, stage, dice, clients }
    }

    fn client(&self) -> Client {
        let host = self.clients.replace(self.clients.get() + 1);
        Client::new(&self.net, host, self.options.nodes, self.dice.fork())
    }

    fn places(&self) -> Vec<Place> {
        (0..PARTITIONS).map(|partition| (TOPIC.to_owned(), partition)).collect()
    }

    /// What the run suffered, its disks included.
    fn toll(&self) -> Toll {
        let mut toll = self.trace.toll();
        for machine in &self.machines {
            let struck = machine.disk().struck();
            toll.add(Misfortune::TornWrite, struck.torn);
            toll.add(Misfortune::MisdirectedWrite, struck.misdirected);
            toll.add(Misfortune::FlippedBit, struck.flipped);
            toll.add(Misfortune::FailedRead, struck.failed_reads);
            toll.add(Misfortune::FailedWrite, struck.failed_writes);
            toll.add(Misfortune::FailedSync, struck.failed_syncs);
            toll.add(Misfortune::FullDisk, struck.full);
        }
        toll
    }

    /// Whether something is wrong already; panics of brokers are.
    fn is_wrong(&self) -> bool {
        for panic in machine::take_panics() {
            self.book.violation(panic);
        }
        !self.book.violations().is_empty()
    }
}

async fn simulate(options: Options) -> Outcome {
    let world = Rc::new(World::new(options));
    for machine in &world.machines {
        spawn_local(Rc::clone(machine).supervise());
    }
    let whole = async {
        let playing = play(Rc::clone(&world));
        tokio::pin!(playing);
        loop {
            tokio::select! {
                biased;
                () = &mut playing => return,
                () = sleep(Duration::from_millis(100)) => {}
            }
            if world.is_wrong() {
                return;
            }
        }
    };
    let limit = Duration::from_secs(world.options.seconds) + 4 * WELL_WITHIN;
    if timeout(limit, whole).await.is_err() {
        world.book.violation("the run does not end".to_owned());
    }
    world.is_wrong();
    world.trace.note("the end");
    Outcome {
        violations: world.book.violations(),
        hash: world.trace.hash(),
        events: world.trace.events(),
        tally: world.book.tally(),
        toll: world.toll(),
        lines: world.trace.lines(),
    }
}

async fn play(world: Rc<World>) {
    let (stage, places) = (&world.stage, world.places());
    let mut client = world.client();
    let created = workload::create(&mut client, stage, TOPIC, PARTITIONS);
    if timeout(WELL_WITHIN, created).await.is_err() {
        return world.book.violation("a new cluster takes no topic".to_owned());
    }
    let working = begin_work(&world, &places);
    let lasting = Duration::from_secs(world.options.seconds);
    let faults = Rc::new(Faults {
        machines: world.machines.clone(),
        net: Rc::clone(&world.net),
        trace: Rc::clone(&world.trace),
        places,
        dice: world.dice.fork(),
    });
    let going_wrong = faults.run(lasting, world.client());
    if world.options.wear {
        spawn_local(Rc::new(wear(&world, Instant::now() + lasting)).run());
    }
    going_wrong.await;
    world.trace.note(&format!("so far {}", world.book.tally()));
    let well_by = Instant::now() + WELL_WITHIN;
    stage.over.set(true);
    for (who, work) in working {
        match tokio::time::timeout_at(well_by, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return world.book.violation(format!("{who}: {error}")),
            Err(_late) => {
                let text = format!("{who} is not heard, though nothing is wrong any more");
                return world.book.violation(text);
            }
        }
    }
    world.trace.note("all clients were heard");
    liveness::check(&world).await;
}

/// Clients of every kind, with what to call them.
fn begin_work(world: &World, places: &[Place]) -> Vec<(String, JoinHandle<()>)> {
    let mut working = Vec::new();
    for place in places.iter().chain(places) {
        let (client, stage, place) = (world.client(), world.stage.clone(), place.clone());
        let who = format!("a producer of {place:?}");
        let producing = async move { Producer::new(client, &stage, place).await.work().await };
        working.push((who, spawn_local(producing)));
    }
    for _ in 0..2 {
        let reading = workload::read_on(world.client(), world.stage.clone(), places.to_vec());
        working.push(("a reader".to_owned(), spawn_local(reading)));
    }
    for group in ["reds", "blues"] {
        let (client, stage, place) = (world.client(), world.stage.clone(), places[0].clone());
        let committing = workload::commit_on(client, stage, group.to_owned(), place);
        working.push((format!("group {group}"), spawn_local(committing)));
    }
    let coming = workload::come_and_go(world.client(), world.stage.clone(), world.client());
    working.push(("who creates and deletes topics".to_owned(), spawn_local(coming)));
    working
}

fn wear(world: &World, end: Instant) -> Wear {
    let dice = world.dice.fork();
    Wear {
        machines: world.machines.clone(),
        worn: Rc::clone(dice.pick(&world.machines)),
        net: Rc::clone(&world.net),
        trace: Rc::clone(&world.trace),
        dice,
        end,
    }
}
