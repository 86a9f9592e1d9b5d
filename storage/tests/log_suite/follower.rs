//! A log as a follower uses it: entries of one leader replaced by another's, again and again, while
//! peers and consumers read, and until the process or the power goes.
//!
//! Nothing here waits for the disk before it goes on. Whatever is read must be what the log holds
//! at the moment of the answer, never what was replaced; and what was stable must be found again.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::{Log, LogConfig, LogShared, ReadError, SharedConfig};
use tokio::task::JoinHandle;

use crate::crash::Witness;
use crate::harness::*;

/// One life of the log between two crashes or restarts.
struct Life {
    witness: Rc<RefCell<Witness>>,
    open: Rc<OpenRig>,
    dice: Dice,
    what: String,
    /// Whose assertions are to be heard.
    readers: Rc<RefCell<Vec<JoinHandle<()>>>>,
}

impl Life {
    fn log(&self) -> Rc<Log> {
        Rc::clone(&self.open.log)
    }

    fn begin(&self, reader: impl Future<Output = ()> + 'static) {
        self.readers.borrow_mut().push(tokio::task::spawn_local(reader));
    }

    async fn run(mut self) {
        for _ in 0..self.dice.below(60) {
            match self.dice.below(20) {
                0..5 => self.append(false),
                5..9 => self.replace(),
                9..11 => self.apply(),
                11..14 => self.send_to_peer(),
                14 => self.serve(),
                15 => self.trim(),
                16 => tokio::time::sleep(Duration::from_millis(self.dice.below(300))).await,
                17 => drop(self.open.log.flush()),
                _ => tokio::task::yield_now().await,
            }
            self.check_memory();
        }
    }

    fn append(&mut self, new_term: bool) {
        let log = self.log();
        let new_term = new_term || log.last_term() == 0 || self.dice.below(6) == 0;
        let mut feed = Feed::of(&log, log.last_term() + u32::from(new_term));
        let mut entries = Vec::new();
        if new_term {
            entries.push(feed.internal(b"a new leader"));
        }
        for _ in 0..self.dice.below(5) {
            entries.push(feed.batch(&[1, 2], self.dice.below(500) as usize));
        }
        self.witness.borrow_mut().append(&entries);
        log.append(entries).expect("the disk is sound");
    }

    /// Another leader's entries replace some of ours; nobody waits until the disk has cut.
    fn replace(&mut self) {
        let log = self.log();
        let depth = 1 << self.dice.below(6);
        let from = (log.last_index() + 1).saturating_sub(self.dice.below(depth));
        let from = from.max(self.witness.borrow().applied + 1).max(log.first_index());
        let before = log.last_term();
        let cut = log.truncate_suffix(from);
        self.witness.borrow_mut().truncate(from, &self.open);
        // The new leader's term is above all that were seen.
        let mut feed = Feed::of(&log, before + 1);
        let mut entries = vec![feed.internal(b"another leader")];
        entries.extend((0..self.dice.below(4)).map(|n| feed.batch(&[1], 90 * n as usize)));
        self.witness.borrow_mut().append(&entries);
        log.append(entries).expect("the disk is sound");
        if self.dice.below(2) == 0 {
            tokio::task::spawn_local(cut);
        }
    }

    /// Something stable turns out to be committed.
    fn apply(&mut self) {
        let log = self.log();
        let index = log.stable_index().saturating_sub(self.dice.below(6));
        let mut witness = self.witness.borrow_mut();
        witness.applied = witness.applied.max(index);
        log.applied_to(index);
    }

    fn trim(&mut self) {
        let log = self.log();
        let applied = self.witness.borrow().applied.min(log.flushed_index());
        let share = self.dice.below(101) as i64;
        let witness = Rc::clone(&self.witness);
        self.begin(async move {
            let Ok(meta) = log.load_meta(applied).await else { return };
            let start = log.log_start_offset();
            let offset = start + (meta.next_offset() - start).max(0) * share / 100;
            if log.advance_log_start(offset).await.is_ok() {
                let mut witness = witness.borrow_mut();
                witness.log_start_offset = witness.log_start_offset.max(offset);
            }
        });
    }

    /// Reads by index what may be replaced before it is read.
    fn send_to_peer(&mut self) {
        let (log, what) = (self.log(), self.what.clone());
        let witness = Rc::clone(&self.witness);
        let depth = 1 << self.dice.below(7);
        let from = (log.last_index() + 1).saturating_sub(self.dice.below(depth)).max(1);
        let (to, bytes_max) = (from + 1 + self.dice.below(20), 1 << self.dice.below(14));
        self.begin(async move {
            let to = to.min(log.last_index() + 1);
            let entries = match log.entries(from, to, bytes_max).await {
                Ok(entries) => entries,
                Err(error) => return assert_gone(&log, &error, &what),
            };
            assert!(!entries.is_empty() || from >= to, "{what}: nothing at {from}");
            let current = &witness.borrow().current;
            for (entry, index) in entries.iter().zip(from..) {
                let expected = current.iter().find(|entry| entry.index == index);
                assert_eq!(Some(entry), expected, "{what}: {index} of {from}..{to}");
            }
        });
    }

    /// Reads by offset what is applied.
    fn serve(&mut self) {
        let (log, what) = (self.log(), self.what.clone());
        let witness = Rc::clone(&self.witness);
        let bytes_max = 1 << self.dice.below(13);
        self.begin(async move {
            let applied = witness.borrow().applied;
            let Ok(meta) = log.load_meta(applied).await else { return };
            let upper = meta.next_offset();
            let from = log.log_start_offset();
            let fetched = match log.read(from, bytes_max, upper, true).await {
                Ok(fetched) => fetched,
                Err(error) => return assert_gone(&log, &error, &what),
            };
            if from >= upper {
                return assert_eq!(fetched.bytes, 0, "{what}: {from}..{upper}");
            }
            assert!(fetched.bytes > 0, "{what}: nothing at {from}, below {upper}");
            let expected = witness.borrow().current.iter().map(view).collect::<Vec<_>>();
            let expected = expected.iter().filter(|batch| {
                let header = batch.header();
                let wanted =
                    header.next_offset() > from && header.base_offset < fetched.next_offset;
                wanted && !batch.attributes().is_internal()
            });
            let expected =
                expected.flat_map(|batch| batch.clone().into_bytes()).collect::<Vec<_>>();
            assert_eq!(fetched.records.concat(), expected, "{what}: {from}..{upper}");
        });
    }

    /// What Raft asks, and what must be answered at once.
    fn check_memory(&self) {
        let (log, witness) = (&self.open.log, self.witness.borrow());
        let (first, last) = (log.first_index(), log.last_index());
        let what = &self.what;
        assert_eq!(witness.current.last().map_or(first - 1, |last| last.index), last, "{what}");
        for entry in witness.current.iter().filter(|entry| entry.index >= first) {
            assert_eq!(log.term(entry.index), Some(entry.term), "{what}: term {}", entry.index);
            let header = *view(entry).header();
            match log.meta(entry.index) {
                Some(meta) => {
                    let found = (meta.term, meta.base_offset, meta.next_offset());
                    let expected = (entry.term, header.base_offset, header.next_offset());
                    assert_eq!(found, expected, "{what}: meta {}", entry.index);
                }
                None => assert!(entry.index <= witness.applied, "{what}: meta {}", entry.index),
            }
        }
        assert!(log.term(first - 1).is_some() && log.term(last + 1).is_none(), "{what}");
        let progress = [log.flushed_index(), log.stable_index(), log.written_index(), last];
        assert!(progress.is_sorted(), "{what}: {progress:?}");
    }
}

/// What was asked for was trimmed, replaced by less, or the machine is going down.
fn assert_gone(log: &Log, error: &ReadError, what: &str) {
    match error {
        ReadError::IndexOutOfRange { index, .. } => {
            let there = (log.first_index()..=log.last_index()).contains(index);
            assert!(!there, "{what}: {error}");
        }
        ReadError::OutOfRange { offset, .. } => {
            let there = (log.log_start_offset()..=log.next_offset()).contains(offset);
            assert!(!there, "{what}: {error}");
        }
        ReadError::Io(_) => {}
        _ => panic!("{what}: {error}"),
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Kill,
    PowerCut,
}

async fn end(life: &OpenRig, disk: &SimDisk, end: End, seed: u64) {
    disk.set_latency(None);
    match end {
        End::Close => {
            life.log.close().await.expect("the disk is sound");
            disk.kill(seed);
        }
        End::Kill => disk.kill(seed),
        End::PowerCut => disk.power_cut(seed),
    }
}

/// Four lives of one log.
fn lives(seed: u64, write_caching: bool) {
    run(async {
        let what = format!("seed {seed}, write caching {write_caching}");
        let mut dice = Dice::new(seed);
        let disk = SimDisk::new(seed);
        let mut rig = Rig::new(disk.clone());
        rig.config = LogConfig { write_caching, flush_ms_max: 20, ..small_config() };
        let tail_cache_bytes_max = [0, 1_500, 1 << 20][dice.below(3) as usize];
        let config = SharedConfig { tail_cache_bytes_max, mappings_max: 3 };
        rig.shared = Rc::new(LogShared::new(config));
        let witness = Witness { stable_is_durable: !write_caching, ..Witness::default() };
        let witness = Rc::new(RefCell::new(witness));
        for _ in 0..4 {
            rig.disk = Rc::new(disk.reopen());
            rig.applied = witness.borrow().applied;
            let open = Rc::new(rig.open().await);
            let mut found = witness.take();
            found.check(&open, seed).await;
            found.applied = found.applied.min(open.log.last_index());
            witness.replace(found);
            let slowest = Duration::from_millis(1 << dice.below(6));
            disk.set_latency((dice.below(4) > 0).then_some(Duration::ZERO..=slowest));
            let readers = Rc::new(RefCell::new(Vec::new()));
            let life = Life {
                witness: Rc::clone(&witness),
                open: Rc::clone(&open),
                dice: Dice::new(dice.below(1 << 40)),
                what: what.clone(),
                readers: Rc::clone(&readers),
            };
            let moment = Duration::from_millis(1 << dice.below(12));
            let tasks = tokio::task::LocalSet::new();
            let _ = tokio::time::timeout(moment, tasks.run_until(life.run())).await;
            let how = [End::Close, End::Kill, End::PowerCut, End::PowerCut][dice.below(4) as usize];
            tasks.run_until(end(&open, &disk, how, dice.below(1 << 40))).await;
            let durable = !write_caching || matches!(how, End::Close | End::Kill);
            if durable {
                witness.borrow_mut().note_stable(&open);
            }
            // Readers that are still at work meet a dead disk.
            for reader in readers.take() {
                tasks.run_until(reader).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
    });
}

#[test]
fn followers_lose_and_mistake_nothing() {
    (0..1_500).for_each(|seed| lives(seed, false));
}

#[test]
fn followers_with_write_caching_lose_and_mistake_nothing() {
    (0..1_500).for_each(|seed| lives(seed, true));
}

/// A log of one large segment, and the same log opened after a byte of entry `index` was flipped.
async fn damaged_at(index: u64, recovered: bool) -> (Rig, OpenRig, Model) {
    let disk = SimDisk::new(5);
    let mut rig = Rig::new(disk.clone()).without_tail_cache();
    rig.config = LogConfig { segment_bytes_max: 1 << 20, ..small_config() };
    rig.applied = 4;
    let open = rig.open().await;
    let mut feed = Feed::of(&open.log, 1);
    let mut entries = vec![feed.internal(b"a leader")];
    entries.extend((0..11).map(|n| feed.batch(&[n, n], 200)));
    let model = Model { entries: entries.clone(), ..Model::default() };
    open.log.append(entries).unwrap();
    open.log.close().await.unwrap();
    drop(open);
    let name = rig.names().await.into_iter().find(|name| name.ends_with(".log")).unwrap();
    let bytes = rig.contents(&name).await;
    let victim = view(model.entry(index).unwrap()).into_bytes();
    let at = bytes.windows(victim.len()).position(|found| found == victim).unwrap();
    let position = (at + victim.len() - 1) as u64;
    if recovered {
        disk.flip_bit(&rig.dir.join(&name), position, 2).unwrap();
        // Nothing vouches for the segment, so all of it is verified.
        rig.disk.remove_file(&rig.dir.join(name.replace(".log", ".idx"))).await.unwrap();
        let open = rig.open().await;
        assert_eq!(open.log.damage().len(), 1);
        return (rig, open, model);
    }
    let open = rig.open().await;
    disk.flip_bit(&rig.dir.join(&name), position, 2).unwrap();
    assert!(matches!(open.log.entries(index, index + 1, 1).await, Err(ReadError::Damaged(_))));
    (rig, open, model)
}

/// Damage that is not committed goes with the entries that another leader's replace.
#[test]
fn what_replaces_damage_is_not_damaged() {
    for recovered in [false, true] {
        run(async {
            let (rig, open, mut model) = damaged_at(9, recovered).await;
            let log = &open.log;
            let cut = log.truncate_suffix(9);
            let mut feed = Feed::of(log, 2);
            let entries =
                vec![feed.internal(b"another"), feed.batch(&[1], 300), feed.batch(&[2], 9)];
            model.truncate(9);
            model.append(&entries);
            log.append(entries).unwrap();
            cut.await.unwrap();
            log.flush().await.unwrap();
            assert_eq!(log.damage(), [], "recovered: {recovered}");
            assert_holds(log, &model).await;
            log.close().await.unwrap();
            let again = rig.open().await;
            assert_eq!(again.report.damaged, [], "recovered: {recovered}");
            assert_holds(&again.log, &model).await;
        });
    }
}

/// Damage below what is replaced stays known, also to a start that trusts the segment's footer.
#[test]
fn damage_below_what_is_replaced_stays_known() {
    run(async {
        let (mut rig, open, _) = damaged_at(6, true).await;
        let known = open.log.damage();
        open.log.truncate_suffix(9).await.unwrap();
        rig.config.segment_bytes_max = 500;
        open.log.set_config(rig.config.clone());
        let mut feed = Feed::of(&open.log, 2);
        open.log.append(vec![feed.internal(b"another"), feed.batch(&[1], 300)]).unwrap();
        open.log.close().await.unwrap();
        assert_eq!(open.log.damage(), known);
        rig.applied = u64::MAX;
        let again = rig.open().await;
        assert!(again.report.segments[0].sealed, "{:?}", again.report);
        assert_eq!(again.log.damage(), known);
        assert_eq!(again.report.damaged, known);
    });
}
