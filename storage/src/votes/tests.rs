//! No vote that was acknowledged is forgotten, whatever the disk and the power do.

use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;

use super::record::{Content, RECORD_LEN, Record};
use super::recovery::{ScanError, scan};
use super::writer::encode_sealed;
use super::*;
use crate::disk::sim::{Crashed, Operation, SimDisk};
use crate::disk::{DiskStats, StdDisk};

/// Rewrites early, so that tests see many.
const SMALL: VotesConfig = VotesConfig { records_per_group_max: 3, rewrite_records_min: 20 };

/// Seals at the beginning of a file that was just created.
const SEALS: u64 = 2;

fn dir() -> &'static Path {
    Path::new("shard-0")
}

fn file() -> PathBuf {
    dir().join(FILE_NAME)
}

fn group(number: u32) -> GroupId {
    GroupId { topic: Uuid::from_u128(u128::from(number) << 64 | 7), partition: number as i32 % 5 }
}

fn term(term: u64) -> HardState {
    HardState { term, vote: term % 3 + 1, commit: term * 10 }
}

async fn open(disk: &SimDisk) -> (Votes, HashMap<GroupId, HardState>) {
    Votes::open(Rc::new(disk.clone()), dir(), SMALL).await.unwrap()
}

async fn open_error(disk: &SimDisk) -> VotesOpenError {
    Votes::open(Rc::new(disk.clone()), dir(), SMALL).await.err().unwrap()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    tokio::task::LocalSet::new().block_on(&runtime.unwrap(), test)
}

#[test]
fn saved_states_are_found_again_and_removed_ones_are_not() {
    run(async {
        let disk = SimDisk::new(1);
        let (votes, states) = open(&disk).await;
        assert!(states.is_empty());
        votes.save(vec![(group(1), term(1)), (group(2), term(1))]).await.unwrap();
        votes.save(vec![(group(1), term(2)), (group(3), term(4))]).await.unwrap();
        votes.remove(group(2)).await.unwrap();

        let (votes, states) = open(&disk).await;
        assert_eq!(states, HashMap::from([(group(1), term(2)), (group(3), term(4))]));
        // A group that comes back starts anew, also below its earlier term.
        votes.save(vec![(group(2), HardState::default())]).await.unwrap();
        let (_, states) = open(&disk).await;
        assert_eq!(states[&group(2)], HardState::default());
    });
}

#[test]
fn saves_that_meet_share_a_flush() {
    let directory = tempfile::tempdir().unwrap();
    let flushes = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&flushes);
    let stats = DiskStats::with_sync_observer(Box::new(move |_: Duration| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));
    run(async {
        let disk = StdDisk::new(1, Arc::new(stats)).unwrap();
        let (votes, _) = Votes::open(Rc::new(disk), directory.path(), SMALL).await.unwrap();
        flushes.store(0, std::sync::atomic::Ordering::Relaxed);
        let saves = (0..1_000).map(|number| votes.save(vec![(group(number), term(1))]));
        for saved in join_all(saves).await {
            saved.unwrap();
        }
    });
    // One for all of them, and one if the file was rewritten after.
    assert!(flushes.load(std::sync::atomic::Ordering::Relaxed) <= 2, "{flushes:?}");
}

#[test]
fn a_dropped_save_is_saved_all_the_same() {
    run(async {
        let disk = SimDisk::new(1);
        let (votes, _) = open(&disk).await;
        drop(votes.save(vec![(group(1), term(1))]));
        votes.save(vec![(group(2), term(1))]).await.unwrap();
        let (_, states) = open(&disk).await;
        assert_eq!(states.len(), 2);
    });
}

/// One simulated machine over several lives, and what its groups may rely on.
struct Machine {
    seed: u64,
    disk: SimDisk,
    /// The highest term that a group was told is safe, by a save or by an open.
    acknowledged: HashMap<GroupId, u64>,
    asked: HashMap<GroupId, u64>,
}

impl Machine {
    async fn live(&mut self, life: u64) {
        let opened = Votes::open(Rc::new(self.disk.clone()), dir(), SMALL).await;
        let (votes, states) =
            opened.unwrap_or_else(|error| panic!("seed {}, life {life}: {error}", self.seed));
        self.check(&states);
        let disk = self.disk.clone();
        let dying = die(&disk, self.seed, life);
        let saving = self.save_until_it_dies(&votes, states);
        tokio::join!(saving, dying);
        self.disk = self.disk.reopen();
    }

    fn check(&mut self, states: &HashMap<GroupId, HardState>) {
        for (group, last) in &self.acknowledged {
            let found = states.get(group).map_or(0, |state| state.term);
            assert!(found >= *last, "seed {}: {found} after {last}", self.seed);
        }
        for (group, state) in states {
            assert_eq!(*state, term(state.term));
            assert!(state.term <= self.asked[group], "seed {}: a vote out of nowhere", self.seed);
            self.acknowledged.insert(*group, state.term);
        }
    }

    async fn save_until_it_dies(&mut self, votes: &Votes, states: HashMap<GroupId, HardState>) {
        let mut terms: HashMap<GroupId, u64> =
            states.into_iter().map(|(group, state)| (group, state.term)).collect();
        for round in 0.. {
            let mut saves = Vec::new();
            for offset in 0..=round % 12 {
                let group = group((round * 7 + offset) % 15);
                let next = terms.get(&group).map_or(1, |last| last + 1);
                terms.insert(group, next);
                self.asked.insert(group, next);
                let saved = votes.save(vec![(group, term(next))]);
                saves.push(async move { (group, next, saved.await) });
            }
            for (group, term, saved) in join_all(saves).await {
                match saved {
                    Ok(()) => self.acknowledged.insert(group, term),
                    Err(VotesSaveError::Disk(error)) if Crashed::caused(&error) => return,
                    Err(error) => panic!("seed {}: {error}", self.seed),
                };
            }
        }
    }
}

async fn die(disk: &SimDisk, seed: u64, life: u64) {
    // Every other life ends before anything was saved in it: it rests on what it found.
    let brief = life % 2 == 1;
    // Without latency the saves never rest, and a paused clock stands still.
    if seed.is_multiple_of(2) {
        let micros = seed * 977 % if brief { 2_000 } else { 40_000 };
        tokio::time::sleep(Duration::from_micros(micros)).await;
    } else {
        for _ in 0..(seed * 31 + life * 7) % if brief { 10 } else { 600 } {
            tokio::task::yield_now().await;
        }
    }
    if (seed + life).is_multiple_of(3) {
        disk.kill(seed + life);
    } else {
        disk.power_cut(seed + life);
    }
}

/// Groups save ever higher terms while the machine dies at a random moment, over and over.
/// What was acknowledged is there each time, and nothing that was never saved.
#[test]
fn no_crash_takes_an_acknowledged_vote() {
    let mut rewrites_interrupted = 0;
    for seed in 0..300 {
        run(async {
            let disk = SimDisk::new(seed);
            if seed.is_multiple_of(2) {
                disk.set_latency(Some(Duration::from_micros(10)..=Duration::from_millis(2)));
            }
            let (acknowledged, asked) = (HashMap::new(), HashMap::new());
            let mut machine = Machine { seed, disk, acknowledged, asked };
            for life in 0..6 {
                machine.live(life).await;
                let names = machine.disk.list_dir(dir()).await.unwrap_or_default();
                let interrupted = names.iter().any(|entry| entry.name.ends_with(".tmp"));
                rewrites_interrupted += u32::from(interrupted);
            }
        });
    }
    assert!(rewrites_interrupted > 10, "crashes came in the middle of rewrites");
}

#[test]
fn the_file_is_rewritten_when_it_is_mostly_history() {
    run(async {
        let disk = SimDisk::new(1);
        let (votes, _) = open(&disk).await;
        for round in 1..200 {
            votes.save(vec![(group(1), term(round)), (group(2), term(round))]).await.unwrap();
        }
        votes.remove(group(2)).await.unwrap();
        let (_, states) = open(&disk).await;
        assert_eq!(states, HashMap::from([(group(1), term(199))]));
        let file = disk.open(&file(), crate::disk::OpenMode::Existing).await.unwrap();
        let records = file.len().await.unwrap() / RECORD_LEN as u64;
        assert!(records <= 23, "{records} records for one group");
        assert_eq!(disk.list_dir(dir()).await.unwrap().len(), 1);
    });
}

#[test]
fn a_rewrite_that_fails_is_no_failure_to_save() {
    run(async {
        let disk = SimDisk::new(1);
        let (votes, _) = open(&disk).await;
        for round in 1..30 {
            // The file itself is open; only a rewrite opens another.
            disk.fail_next(Operation::Open, libc::ENOSPC, 1);
            votes.save(vec![(group(1), term(round))]).await.unwrap();
        }
        disk.clear_faults();
        for round in 30..90 {
            votes.save(vec![(group(1), term(round))]).await.unwrap();
        }
        let (_, states) = open(&disk).await;
        assert_eq!(states[&group(1)], term(89));
        let file = disk.open(&file(), crate::disk::OpenMode::Existing).await.unwrap();
        assert!(file.len().await.unwrap() < 60 * RECORD_LEN as u64, "rewritten in the end");
    });
}

#[test]
fn a_full_disk_is_a_state_that_passes() {
    run(async {
        let disk = SimDisk::new(1);
        let (votes, _) = open(&disk).await;
        disk.set_capacity(Some(0));
        let full = votes.save(vec![(group(1), term(1))]).await.unwrap_err();
        assert!(matches!(full, VotesSaveError::NoSpace), "{full}");
        disk.set_capacity(None);
        votes.save(vec![(group(2), term(1))]).await.unwrap();
        // From here a full disk leaves room for thousands of votes.
        disk.set_capacity(Some(0));
        for round in 2..500 {
            disk.fail_next(Operation::Open, libc::ENOSPC, 1);
            votes.save(vec![(group(2), term(round))]).await.unwrap();
        }
        disk.clear_faults();
        disk.set_capacity(None);
        let (_, states) = open(&disk).await;
        assert_eq!(states[&group(2)], term(499));
    });
}

/// Whoever tries again after a full disk may be overtaken by a later vote, and must not undo it.
#[test]
fn what_is_saved_again_is_the_latest() {
    run(async {
        let disk = SimDisk::new(1);
        let (votes, _) = open(&disk).await;
        disk.set_capacity(Some(0));
        for round in [1, 2] {
            votes.save(vec![(group(1), term(round))]).await.unwrap_err();
        }
        votes.save_again(group(1)).await.unwrap_err();
        disk.set_capacity(None);
        votes.save_again(group(1)).await.unwrap();
        let (votes, states) = open(&disk).await;
        assert_eq!(states, HashMap::from([(group(1), term(2))]));
        votes.remove(group(1)).await.unwrap();
        votes.save_again(group(1)).await.unwrap();
        let (_, states) = open(&disk).await;
        assert!(states.is_empty(), "a group that is gone does not come back");
    });
}

#[test]
fn after_a_failed_flush_nothing_is_acknowledged_any_more() {
    run(async {
        let disk = SimDisk::new(1);
        let (votes, _) = open(&disk).await;
        votes.save(vec![(group(1), term(1))]).await.unwrap();
        disk.fail_next(Operation::Sync, libc::EIO, 1);
        let first = votes.save(vec![(group(1), term(2))]);
        let second = votes.save(vec![(group(2), term(2))]);
        for saved in join_all([first, second]).await {
            let error = saved.unwrap_err();
            assert!(
                matches!(&error, VotesSaveError::Disk(io) if io.raw_os_error() == Some(libc::EIO))
            );
        }
        assert!(votes.save(vec![(group(3), term(3))]).await.is_err());
        let (_, states) = open(&disk.reopen()).await;
        assert_eq!(states[&group(1)].term.min(1), 1);
    });
}

#[test]
fn every_flipped_bit_is_an_error_that_names_its_record() {
    run(async {
        for position in 0..(SEALS + 5) * RECORD_LEN as u64 {
            let disk = SimDisk::new(1);
            let (votes, _) = open(&disk).await;
            votes.save(vec![(group(1), term(1)), (group(2), term(1))]).await.unwrap();
            votes.save(vec![(group(1), term(2)), (group(2), term(2))]).await.unwrap();
            votes.save(vec![(group(3), term(3))]).await.unwrap();
            disk.flip_bit(&file(), position, (position % 8) as u8).unwrap();
            let record = position - position % RECORD_LEN as u64;
            match open_error(&disk).await {
                VotesOpenError::Damaged { position: named, .. } => assert_eq!(named, record),
                error => panic!("{error}"),
            }
        }
    });
}

#[test]
#[should_panic(expected = "a vote is never changed")]
fn a_vote_stands_for_its_term() {
    run(async {
        let (votes, _) = open(&SimDisk::new(1)).await;
        drop(votes.save(vec![(group(1), HardState { term: 1, vote: 1, commit: 0 })]));
        drop(votes.save(vec![(group(1), HardState { term: 1, vote: 2, commit: 0 })]));
    });
}

/// Batches back to back behind the seals of a new file, as the writer lays them out.
fn lay_out(batches: &[usize]) -> Vec<u8> {
    let mut bytes = encode_sealed(&BTreeMap::new()).0.to_vec();
    let mut slot = SEALS as u32;
    for (number, &records) in batches.iter().enumerate() {
        for place in 0..records as u32 {
            let change = record::Change::Saved(term(number as u64 + 1));
            let content = Content::Change(group(slot % 7), change);
            Record { place, content }.encode(slot, &mut bytes);
            slot += 1;
        }
    }
    bytes
}

#[test]
fn a_lost_sector_before_the_last_batch_is_damage() {
    let mut bytes = lay_out(&[8, 8, 8]);
    bytes[512..1_024].fill(0);
    assert_eq!(scan(&bytes), Err(ScanError::Damaged { position: 512 }));
}

#[test]
fn a_record_in_another_slot_is_damage() {
    let mut bytes = lay_out(&[1, 1, 1]);
    bytes.copy_within(0..RECORD_LEN, RECORD_LEN);
    assert_eq!(scan(&bytes), Err(ScanError::Damaged { position: RECORD_LEN as u64 }));
}

/// A rewritten file was durable before it got its name, so nothing in it can be a torn tail: of all
/// that a disk may lose of it, only the loss of everything passes for a file never written.
#[test]
fn nothing_of_a_rewritten_file_is_taken_for_a_torn_tail() {
    for groups in 0..20 {
        let states: BTreeMap<_, _> = (0..groups).map(|n| (group(n), term(u64::from(n)))).collect();
        let (whole, end_slot) = encode_sealed(&states);
        let found = scan(&whole).unwrap();
        assert_eq!((found.states, found.next_slot, found.sealed), (states, end_slot, true));
        let slots = end_slot as usize;
        for (first, last) in (0..slots).flat_map(|first| (first..slots).map(move |l| (first, l))) {
            let lost = first * RECORD_LEN..(last + 1) * RECORD_LEN;
            let mut zeroed = whole.to_vec();
            zeroed[lost.clone()].fill(0);
            let everything = lost.len() == whole.len();
            assert_eq!(scan(&zeroed).is_ok(), everything, "{groups} groups, {lost:?} lost");
            zeroed.truncate(lost.start);
            assert_eq!(scan(&zeroed).is_ok(), first == 0, "{groups} groups, cut at {first}");
        }
    }
}

/// The format before this one had no seals. Such a file is read, and replaced by one that has.
#[test]
fn a_file_without_seals_is_read_and_replaced() {
    let mut bytes = Vec::new();
    for slot in 0..3 {
        let content = Content::Change(group(slot), record::Change::Saved(term(9)));
        Record { place: 0, content }.encode(slot, &mut bytes);
        let start = slot as usize * RECORD_LEN;
        bytes[start + 4] = 1;
        let mut crc = crc32fast::Hasher::new_with_initial(slot);
        crc.update(&bytes[start..start + RECORD_LEN - 8]);
        let crc = crc.finalize().to_be_bytes();
        bytes[start + RECORD_LEN - 8..start + RECORD_LEN - 4].copy_from_slice(&crc);
    }
    run(async {
        let disk = SimDisk::new(1);
        drop(open(&disk).await);
        let written = disk.open(&file(), crate::disk::OpenMode::Existing).await.unwrap();
        written.truncate(0).await.unwrap();
        written.write_at(0, vec![bytes.clone().into()]).await.unwrap();
        written.sync_all().await.unwrap();
        let (votes, states) = open(&disk).await;
        assert_eq!(states.len(), 3);
        votes.save(vec![(group(4), term(1))]).await.unwrap();
        let replaced = disk.open(&file(), crate::disk::OpenMode::Existing).await.unwrap();
        let found = scan(&replaced.read_at(0, 6 * RECORD_LEN).await.unwrap()).unwrap();
        assert!(found.sealed, "replaced");
        assert_eq!(open(&disk).await.1.len(), 4);
    });
}

proptest! {
    /// Any sectors of the last batch may be missing after a power cut, and any length.
    #[test]
    fn a_torn_last_batch_is_cut_and_nothing_else(
        batches in prop::collection::vec(1usize..40, 0..6),
        last in 1usize..60,
        lost in prop::collection::btree_set(0usize..10, 0..10),
        beyond in 0usize..2_000,
        cut in 0usize..200,
    ) {
        let durable = SEALS as usize + batches.iter().sum::<usize>();
        let whole = lay_out(&[&batches[..], &[last]].concat());
        let mut torn = whole.clone();
        torn.resize(whole.len() + beyond, 0);
        let durable_end = durable * RECORD_LEN;
        for sector in lost {
            // Records of earlier batches in the same sector were durable already.
            let start = ((durable_end / 512 + sector) * 512).max(durable_end).min(torn.len());
            let end = ((durable_end / 512 + sector + 1) * 512).min(torn.len());
            torn[start..end].fill(0);
        }
        torn.truncate(torn.len().saturating_sub(cut).max(durable_end));
        let found = scan(&torn).unwrap();
        prop_assert!(found.next_slot as usize >= durable);
        let kept = found.next_slot as usize * RECORD_LEN;
        prop_assert_eq!(&torn[..kept], &whole[..kept]);
        prop_assert_eq!(scan(&whole[..kept]).unwrap(), found);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = scan(&bytes);
    }

    #[test]
    fn records_round_trip(
        slot: u32,
        place: u32,
        topic: u128,
        partition: i32,
        state: (u64, u64, u64)
    ) {
        let (term, vote, commit) = state;
        let group = GroupId { topic: Uuid::from_u128(topic), partition };
        let contents = [
            Content::Change(group, record::Change::Saved(HardState { term, vote, commit })),
            Content::Change(group, record::Change::Removed),
            Content::Sealed(place),
        ];
        for content in contents {
            let record = Record { place, content };
            let mut bytes = Vec::new();
            record.encode(slot, &mut bytes);
            let bytes: [u8; RECORD_LEN] = bytes.try_into().unwrap();
            prop_assert_eq!(Record::decode(slot, &bytes), record::Slot::Valid(record));
            prop_assert_eq!(Record::decode(slot.wrapping_add(1), &bytes), record::Slot::Invalid);
        }
    }
}
