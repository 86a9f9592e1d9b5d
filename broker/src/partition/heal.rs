//! Damage is looked for, and healed from another replica.
//!
//! A partition that knows of damage does not vote and does not lead: another replica has the bytes.
//! It asks the other members for the entries, one after the other; what comes is verified, put
//! back, and read again before the damage is forgotten. Only committed entries are asked for: they
//! are the same everywhere. When nobody can help for a minute it votes again, because a partition
//! that nobody leads helps nobody; the range stays refused, and asking goes on.
//!
//! A lone replica reports its damage and refuses the range.

use std::rc::Rc;
use std::time::Duration;

use thalweg_storage::DamagedRange;
use thalweg_storage::entry::Entry;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::Partition;

/// How long one replica has for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before everybody is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long a damaged replica waits for help before it votes again.
const HELPLESS_AFTER: Duration = Duration::from_secs(60);
/// Bytes of entries in one answer.
const ANSWER_BYTES: usize = 4 << 20;

/// Where healing stands.
#[derive(Default)]
pub(super) struct Healing {
    /// A task asks for what is damaged.
    pub(super) running: bool,
    /// Who waits for entries of another replica.
    waiting: Option<oneshot::Sender<Vec<Entry>>>,
    /// The damage that has been reported and is still there.
    reported: Vec<DamagedRange>,
}

impl Partition {
    /// Verifies the next piece of the log. Returns false at the end of it.
    pub(crate) async fn scrub(self: &Rc<Self>, max_bytes: usize) -> bool {
        let from = self.state.borrow().scrubbed;
        let (next, _) = match self.log.scrub(from, max_bytes).await {
            Ok(scrubbed) => scrubbed,
            Err(error) => {
                warn!(topic = %self.name, partition = self.id.partition, %error, "scrubbing");
                return false;
            }
        };
        self.state.borrow_mut().scrubbed = next;
        self.report_damage();
        next != thalweg_storage::ScrubPosition::START
    }

    /// Says what damage has been found since the last look, whoever has found it: the start, a
    /// reader, the scrubber.
    pub(super) fn report_damage(&self) {
        let damage = self.log.damage();
        let mut state = self.state.borrow_mut();
        let known = |range: &DamagedRange| {
            state.healing.reported.iter().any(|known| {
                known.path == range.path
                    && known.positions.start <= range.positions.start
                    && range.positions.end <= known.positions.end
            })
        };
        for range in damage.iter().filter(|range| !known(range)) {
            self.env.metrics.on_damage_found();
            error!(topic = %self.name, partition = self.id.partition, %range,
                "damage found on disk: the range is kept and not served");
        }
        state.healing.reported = damage;
    }

    /// Begins healing if there is damage that others may heal.
    pub(crate) fn look_for_damage(self: &Rc<Self>) {
        self.report_damage();
        if self.is_alone() || self.state.borrow().healing.running || self.log.damage().is_empty() {
            return;
        }
        self.state.borrow_mut().healing.running = true;
        tokio::task::spawn_local(Rc::clone(self).heal());
    }

    async fn heal(self: Rc<Self>) {
        let since = Instant::now();
        let mut abstains = true;
        self.abstain(true);
        warn!(topic = %self.name, partition = self.id.partition,
            "damaged: neither voting nor leading until other replicas have helped");
        loop {
            let damage = self.log.damage();
            if damage.is_empty() || self.is_closed() {
                break;
            }
            // Leading is for replicas that have everything.
            self.hand_over();
            let mut helped = false;
            for range in damage {
                helped |= self.heal_range(range).await;
            }
            if !helped {
                if abstains && since.elapsed() > HELPLESS_AFTER {
                    abstains = false;
                    self.abstain(false);
                    warn!(topic = %self.name, partition = self.id.partition,
                        "still damaged, and nobody has helped: voting again");
                }
                sleep(ASK_AGAIN_AFTER).await;
            }
        }
        self.abstain(false);
        self.state.borrow_mut().healing.running = false;
    }

    /// Heals one range, or its beginning. Returns whether anything was put back.
    async fn heal_range(&self, range: DamagedRange) -> bool {
        let committed = self.state.borrow().commit + 1;
        let (low, high) = (range.indexes.start, range.indexes.end.min(committed));
        if range.indexes.is_empty() {
            return self.put_back(range, Vec::new(), None).await;
        }
        if low >= high {
            return false;
        }
        let others = self.group.borrow().members().all();
        for node in others.into_iter().filter(|node| *node != self.env.node) {
            let entries = self.ask(node, low, high).await;
            if !entries.is_empty() && self.put_back(range.clone(), entries, Some(node)).await {
                return true;
            }
        }
        false
    }

    async fn put_back(&self, range: DamagedRange, entries: Vec<Entry>, from: Option<i32>) -> bool {
        let shown = range.to_string();
        match self.log.repair(range, entries).await {
            Ok(()) => {
                self.env.metrics.on_damage_healed();
                info!(topic = %self.name, partition = self.id.partition, range = shown, ?from,
                    "damage healed");
                true
            }
            Err(error) => {
                warn!(topic = %self.name, partition = self.id.partition, range = shown, ?from,
                    %error, "damage not healed");
                false
            }
        }
    }

    /// Asks another replica for entries; nothing if it does not answer.
    async fn ask(&self, node: i32, low: u64, high: u64) -> Vec<Entry> {
        let (given, waiting) = oneshot::channel();
        self.state.borrow_mut().healing.waiting = Some(given);
        self.env.outgoing.ask(node, self.id, low, high);
        self.env.scheduler.schedule(self.id);
        let answer = timeout(ANSWER_TIMEOUT, waiting).await;
        answer.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Another replica has sent what was asked for. It was verified on arrival.
    pub(crate) fn on_given(&self, entries: Vec<Entry>) {
        if let Some(waiting) = self.state.borrow_mut().healing.waiting.take() {
            let _ = waiting.send(entries);
        }
    }

    /// Another replica needs committed entries; those that can be read here are sent.
    pub(crate) fn on_asked(self: &Rc<Self>, node: i32, low: u64, high: u64) {
        let committed = self.state.borrow().applied + 1;
        let (low, high) = (low.max(self.log.first_index()), high.min(committed));
        let partition = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let entries = match low < high {
                true => partition.log.entries(low, high, ANSWER_BYTES).await.unwrap_or_default(),
                false => Vec::new(),
            };
            let mut group = partition.group.borrow_mut();
            group.give(node, low, entries);
        });
    }

    fn abstain(&self, abstain: bool) {
        self.group.borrow_mut().abstain(abstain);
    }

    /// Waits until an entry that cannot be read has been healed. Returns whether it is worth trying
    /// again.
    pub(super) async fn wait_for_healing(self: &Rc<Self>, since: Instant) -> bool {
        if self.is_alone() || since.elapsed() > HELPLESS_AFTER || self.is_closed() {
            return false;
        }
        self.look_for_damage();
        sleep(ASK_AGAIN_AFTER).await;
        true
    }
}
