//! A simulated machine: a disk, a clock, and a broker's process that comes and goes.
//!
//! The process is a `LocalSet` inside the run's one event loop. Killing it is dropping that, after
//! its disk has been told; a panic or a failed disk inside the broker kills it likewise.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use thalweg::config::{BrokerConfig, Layers};
use thalweg::embedded::{self, Parts};
use thalweg_storage::data_dir::Founder;
use thalweg_storage::disk::Disk;
use thalweg_storage::disk::sim::SimDisk;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::Bug;
use super::dice::Dice;
use super::network::{CLIENT_PORT, Host, NODE_PORT, Net, address};
use super::trace::Trace;

/// When simulated time begins: long after 1970, so that retention has something to count back from.
const EPOCH_MS: i64 = 1_800_000_000_000;

/// Flushes that a disk lies about after each start, if it does.
const LIES: u32 = 100_000;

thread_local! {
    /// Whose code runs now.
    static RUNNING: Cell<Option<Host>> = const { Cell::new(None) };
    /// Why the broker that runs now has to end.
    static END: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Panics nobody asked for.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// How far each machine's clock is off, in milliseconds.
    static CLOCKS: RefCell<[i64; 256]> = const { RefCell::new([0; 256]) };
}

/// The time of day as the running machine has it.
fn now_ms() -> i64 {
    let elapsed = BEGAN.get().map(|began| began.elapsed()).unwrap_or_default();
    let off = RUNNING.get().map_or(0, |host| CLOCKS.with_borrow(|it| it[usize::from(host)]));
    EPOCH_MS + i64::try_from(elapsed.as_millis()).unwrap_or(0) + off
}

/// Makes this thread's panics and ends known to its run.
pub(super) fn begin_run() {
    BEGAN.set(Some(Instant::now()));
    CLOCKS.set([0; 256]);
    END.take();
    PANICS.take();
    embedded::simulate_the_end(|why| {
        END.with_borrow_mut(|end| *end = end.take().or_else(|| Some(why.to_owned())));
    });
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match RUNNING.get() {
            Some(host) => PANICS.with_borrow_mut(|it| it.push(format!("broker {host}: {panic}"))),
            None => usual(panic),
        }));
    });
}

/// The panics of brokers since the last call.
pub(super) fn take_panics() -> Vec<String> {
    PANICS.take()
}

/// What all machines of a run share.
pub struct Cluster {
    /// The way between them.
    pub net: Rc<Net>,
    /// The run's log.
    pub trace: Rc<Trace>,
    /// Who founded the cluster.
    pub founders: Vec<Founder>,
    /// Where the broker's files are.
    pub data_dir: PathBuf,
    /// A mistake that is planted.
    pub bug: Option<Bug>,
}

/// One machine.
pub struct Machine {
    /// Its broker's id, and its place on the network.
    pub host: Host,
    cluster: Rc<Cluster>,
    disk: SimDisk,
    dice: Dice,
    process: RefCell<Option<Process>>,
    paused: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Not started again before.
    down_until: Cell<Instant>,
    dark: Cell<bool>,
    spared: Cell<bool>,
}

struct Process {
    tasks: LocalSet,
    shutdown: watch::Sender<bool>,
    /// How the broker's main future ended.
    ended: Rc<RefCell<Option<String>>>,
}

impl Machine {
    /// A machine with an empty disk, off.
    pub fn new(host: Host, cluster: &Rc<Cluster>, dice: Dice) -> Rc<Machine> {
        Rc::new(Machine {
            host,
            cluster: Rc::clone(cluster),
            disk: SimDisk::new(dice.roll()),
            dice,
            process: RefCell::default(),
            paused: Cell::new(false),
            waker: RefCell::default(),
            down_until: Cell::new(Instant::now()),
            dark: Cell::new(false),
            spared: Cell::new(false),
        })
    }

    /// Its disk, for faults.
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// Whether its process runs.
    pub fn is_up(&self) -> bool {
        self.process.borrow().is_some()
    }

    /// Starts the process whenever it is down and may be up, for ever.
    pub async fn supervise(self: Rc<Self>) {
        tokio::task::spawn_local(Rc::clone(&self).drive());
        loop {
            if !self.is_up() && Instant::now() >= self.down_until.get() {
                self.start();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn config(&self) -> BrokerConfig {
        let file = "shards = 1\nadmin_listen = \"off\"\n[kafka]\ndefault.replication.factor = 3\n\
                    offsets.topic.num.partitions = 2\nlog.retention.check.interval.ms = 5000\n\
                    log.segment.bytes = 1048576\nauto.create.topics.enable = false\n\
                    metadata.log.max.record.bytes.between.snapshots = 256\n";
        let layers =
            Layers { file: Some((Path::new("simulation.toml"), file)), ..Layers::default() };
        let config = BrokerConfig::from_layers(layers);
        let mut config = config.unwrap_or_else(|error| panic!("the configuration: {error}"));
        config.node_id = i32::from(self.host);
        config.data_dir = self.cluster.data_dir.clone();
        config.listen = address(self.host, CLIENT_PORT);
        config.limits.tail_cache_bytes = 1 << 20;
        config
    }

    fn start(&self) {
        if self.dark.replace(false) {
            self.cluster.net.lighten(self.host);
        }
        let net = &self.cluster.net;
        let disk = self.disk.reopen();
        let (shutdown, stopping) = watch::channel(false);
        let parts = Parts {
            config: self.config(),
            disk: Rc::new(disk) as Rc<dyn Disk>,
            network: net.seen_from(self.host),
            clients: net.listen(self.host, CLIENT_PORT),
            brokers: net.listen(self.host, NODE_PORT),
            now_ms,
            cluster_id: "simulated".to_owned(),
            founders: self.cluster.founders.clone(),
            shutdown: stopping,
        };
        if self.cluster.bug == Some(Bug::SkipFsync) {
            // More than any life flushes.
            (0..LIES).for_each(|_| self.disk.lie_next_sync());
        }
        let forgets = self.cluster.bug == Some(Bug::ForgetVotes);
        let (votes_of, votes) = (self.disk.reopen(), self.cluster.data_dir.join("shard-0"));
        let ended = Rc::<RefCell<Option<String>>>::default();
        let tasks = LocalSet::new();
        let how = Rc::clone(&ended);
        tasks.spawn_local(async move {
            if forgets {
                // There are none before the first start.
                let _ = votes_of.remove_dir_all(&votes).await;
            }
            let end = match embedded::run(parts).await {
                Ok(()) => "stopped cleanly".to_owned(),
                Err(error) => format!("ended: {error}"),
            };
            *how.borrow_mut() = Some(end);
        });
        *self.process.borrow_mut() = Some(Process { tasks, shutdown, ended });
        self.cluster.trace.note(&format!("broker {} starts", self.host));
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    async fn drive(self: Rc<Self>) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        *self.waker.borrow_mut() = Some(context.waker().clone());
        if self.paused.get() {
            return Poll::Pending;
        }
        let Some(mut process) = self.process.borrow_mut().take() else { return Poll::Pending };
        RUNNING.set(Some(self.host));
        let span = tracing::error_span!("broker", id = self.host).entered();
        let _ = Pin::new(&mut process.tasks).poll(context);
        drop(span);
        RUNNING.set(None);
        let ended = END.take().or_else(|| process.ended.borrow_mut().take());
        *self.process.borrow_mut() = Some(process);
        if let Some(why) = ended {
            self.cluster.trace.note(&format!("broker {} is gone: {why}", self.host));
            self.end(self.dice.millis(300, 1500));
        }
        Poll::Pending
    }

    /// Crashes do not happen to it, nor do failing disks, for as long as it is `spared`.
    pub fn spare(&self, spared: bool) {
        self.spared.set(spared);
    }

    /// Whether it is spared now.
    pub fn is_spared(&self) -> bool {
        self.spared.get()
    }

    /// Ends the process at once; what it has written stays. Back after `down`. Returns whether that
    /// was so.
    pub fn kill(&self, down: std::time::Duration) -> bool {
        let strikes = !self.is_spared();
        if strikes {
            self.end(down);
        }
        strikes
    }

    fn end(&self, down: std::time::Duration) {
        if self.is_up() {
            self.disk.kill(self.dice.roll());
        }
        self.stay_down(down);
        self.end_process();
    }

    /// Takes the power away: what was not flushed is lost in part. Back after `down`. Returns
    /// whether that was so.
    pub fn power_cut(&self, down: std::time::Duration) -> bool {
        if self.is_spared() {
            return false;
        }
        self.dark.set(true);
        self.cluster.net.darken(self.host);
        self.disk.power_cut(self.dice.roll());
        self.stay_down(down);
        self.end_process();
        true
    }

    /// Asks the process to stop, as SIGTERM does.
    pub fn stop(&self) {
        if let Some(process) = &*self.process.borrow() {
            process.shutdown.send_replace(true);
        }
    }

    fn stay_down(&self, down: std::time::Duration) {
        self.down_until.set(self.down_until.get().max(Instant::now() + down));
    }

    fn end_process(&self) {
        self.paused.set(false);
        let process = self.process.borrow_mut().take();
        RUNNING.set(Some(self.host));
        drop(process);
        RUNNING.set(None);
        // What the tasks said while they were dropped is not heard any more.
        END.take();
    }

    /// Holds the process, as SIGSTOP does, or lets it go on.
    pub fn pause(&self, paused: bool) {
        self.paused.set(paused);
        self.wake();
    }

    /// Sets the machine's clock forward or back.
    pub fn shift_clock(&self, ms: i64) {
        CLOCKS.with_borrow_mut(|clocks| clocks[usize::from(self.host)] = ms);
    }
}

/// Who founds a cluster of so many brokers.
pub fn founders(nodes: u8) -> Vec<Founder> {
    let founder = |host: Host| Founder {
        node: i32::from(host),
        disk: Uuid::from_u128(u128::from(host) + 0xd15c),
        address: address(host, NODE_PORT).to_string(),
    };
    (1..=nodes).map(founder).collect()
}
