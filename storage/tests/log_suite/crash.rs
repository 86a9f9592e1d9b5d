//! Power cuts at any moment of a random history, thousands of them.
//!
//! After each one the log must open without reporting damage, hold everything whose stable event
//! had fired, and hold nothing that was never appended at that place.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::{Entry, LogConfig, LogEvent};

use crate::harness::*;

/// All that was ever appended, and what must survive.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) versions: HashMap<u64, Vec<Entry>>,
    /// The entries as they stand, by index.
    pub(crate) current: Vec<Entry>,
    /// Everything up to this index was promised to survive.
    pub(crate) promised: u64,
    pub(crate) log_start_offset: i64,
    /// Without write caching.
    pub(crate) stable_is_durable: bool,
    /// Entries up to here are not truncated any more.
    pub(crate) applied: u64,
}

impl Witness {
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.versions.entry(entry.index).or_default().push(entry.clone());
            self.current.push(entry.clone());
        }
    }

    pub(crate) fn truncate(&mut self, from_index: u64, open: &OpenRig) {
        self.current.retain(|entry| entry.index < from_index);
        if self.stable_is_durable {
            self.note_stable(open);
        }
        open.events.borrow_mut().clear();
        self.promised = self.promised.min(from_index - 1);
    }

    /// Takes the stable events that have fired since the last time for promises.
    pub(crate) fn note_stable(&mut self, open: &OpenRig) {
        for event in open.events.take() {
            if let LogEvent::Stable(index) = event {
                self.promised = self.promised.max(index);
            }
        }
    }

    /// Checks what was found after a crash, and goes on from there.
    pub(crate) async fn check(&mut self, open: &OpenRig, seed: u64) {
        let log = &open.log;
        assert_eq!(open.report.damaged, [], "seed {seed}: no damage was done");
        let (first, last) = (log.first_index(), log.last_index());
        assert!(last >= self.promised, "seed {seed}: {} was stable, {last} is left", self.promised);
        let mut found = Vec::new();
        while (found.len() as u64) < last + 1 - first {
            let next = first + found.len() as u64;
            found
                .extend(log.entries(next, last + 1, 1 << 20).await.expect("every entry is intact"));
        }
        let mut next_offset = None;
        for entry in &found {
            let versions = &self.versions[&entry.index];
            assert!(versions.contains(entry), "seed {seed}: entry {} is invented", entry.index);
            if entry.index <= self.promised {
                let promised = self.current.iter().find(|e| e.index == entry.index);
                assert_eq!(promised, Some(entry), "seed {seed}: entry {}", entry.index);
            }
            let header = *view(entry).header();
            assert!(next_offset.is_none_or(|next| next == header.base_offset), "seed {seed}");
            next_offset = Some(header.next_offset());
        }
        let batches = read_all(log, log.log_start_offset(), 1 << 20).await.expect("no damage");
        let visible = found.iter().map(view).filter(|batch| {
            let next_offset = batch.header().next_offset();
            !batch.attributes().is_internal() && next_offset > log.log_start_offset()
        });
        assert_eq!(batches, visible.collect::<Vec<_>>(), "seed {seed}");
        assert!(
            log.log_start_offset() >= self.log_start_offset,
            "seed {seed}: the log start went back"
        );
        self.current = found;
        // It has been flushed by recovery.
        self.promised = last;
    }
}

/// One life of the log: a random history, cut off at a random moment.
struct Life<'a> {
    witness: &'a RefCell<Witness>,
    open: &'a OpenRig,
    term: u32,
    dice: Dice,
}

impl Life<'_> {
    async fn run(mut self) {
        let steps = self.dice.below(30);
        for _ in 0..steps {
            match self.dice.below(16) {
                0..8 => self.append(),
                8..10 => self.truncate().await,
                10 => self.flush().await,
                11 => self.trim().await,
                12 => tokio::time::sleep(Duration::from_millis(self.dice.below(400))).await,
                13 => tokio::time::sleep(Duration::from_micros(self.dice.below(3000))).await,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    fn append(&mut self) {
        let mut feed = Feed::of(&self.open.log, self.term);
        let mut entries = Vec::new();
        if self.open.log.last_term() != self.term || self.dice.below(8) == 0 {
            self.term += 1;
            feed.term = self.term;
            entries.push(feed.internal(b"a new leader"));
        }
        for _ in 0..self.dice.below(4) {
            entries.push(feed.batch(&[1, 2], self.dice.below(700) as usize));
        }
        self.witness.borrow_mut().append(&entries);
        self.open.log.append(entries).expect("the disk is sound");
    }

    async fn truncate(&mut self) {
        let log = &self.open.log;
        let from = log.last_index().saturating_sub(self.dice.below(10));
        let from = from.max(self.witness.borrow().applied + 1);
        let cut = log.truncate_suffix(from);
        self.witness.borrow_mut().truncate(from, self.open);
        self.term += 1;
        self.append();
        if self.dice.below(2) == 0 {
            cut.await.expect("the disk is sound");
        }
    }

    async fn flush(&mut self) {
        let last = self.open.log.last_index();
        self.open.log.flush().await.expect("the disk is sound");
        let mut witness = self.witness.borrow_mut();
        witness.promised = witness.promised.max(last);
    }

    async fn trim(&mut self) {
        let log = &self.open.log;
        let applied = log.flushed_index();
        if applied < log.first_index() {
            return;
        }
        log.applied_to(applied);
        self.witness.borrow_mut().applied = applied;
        let end = log.load_meta(applied).await.expect("the disk is sound").next_offset();
        let start = log.log_start_offset();
        let offset = start + (end - start) * self.dice.below(101) as i64 / 100;
        log.advance_log_start(offset).await.expect("the disk is sound");
        self.witness.borrow_mut().log_start_offset = offset;
    }
}

/// Three lives of one log, each ended by a power cut.
fn lives(seed: u64, write_caching: bool) {
    run(async {
        let mut dice = Dice::new(seed);
        let disk = SimDisk::new(seed);
        let mut rig = Rig::new(disk.clone());
        rig.config = LogConfig { write_caching, flush_ms_max: 20, ..small_config() };
        if dice.below(2) == 0 {
            rig = rig.without_tail_cache();
        }
        let witness =
            RefCell::new(Witness { stable_is_durable: !write_caching, ..Witness::default() });
        for life in 0..4 {
            rig.disk = Rc::new(disk.reopen());
            rig.applied = witness.borrow().applied;
            let open = rig.open().await;
            let mut found = witness.take();
            found.check(&open, seed).await;
            witness.replace(found);
            if life == 3 {
                break;
            }
            if dice.below(4) > 0 {
                disk.set_latency(Some(Duration::ZERO..=Duration::from_micros(1 << dice.below(12))));
            }
            let term = open.log.last_term();
            let history =
                Life { witness: &witness, open: &open, term, dice: Dice::new(dice.below(1 << 40)) };
            let moment = Duration::from_micros(1 << dice.below(22));
            let _ = tokio::time::timeout(moment, history.run()).await;
            disk.power_cut(dice.below(1 << 40));
            disk.set_latency(None);
            if !write_caching {
                witness.borrow_mut().note_stable(&open);
            }
        }
    });
}

#[test]
fn power_cuts_lose_nothing_that_was_stable() {
    (0..2_000).for_each(|seed| lives(seed, false));
}

#[test]
fn power_cuts_lose_nothing_that_was_flushed_with_write_caching() {
    (0..1_000).for_each(|seed| lives(seed, true));
}

/// A cut that power interrupts may zero the middle of what it cuts and leave valid frames behind.
#[test]
fn seed_1401_half_of_a_cut() {
    lives(1401, false);
}
