//! Opening a shard's votes after its disk has damaged them.
//!
//! The input is what the disk did (see `damage`). Opening may refuse. Otherwise it must return what
//! the undamaged file says up to some record: it may cut a tail, which cannot be told from one that
//! a crash has torn, but a vote that nobody cast, or one that came before a later one of the same
//! file, could be cast twice.

#![no_main]

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use thalweg_fuzz::{Files, damage, disk_with, files_of, run};
use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::votes::{GroupId, HardState, Votes, VotesConfig, VotesOpenError};
use uuid::Uuid;

const DIR: &str = "shard-0";
const GROUP_COUNT: u64 = 5;
const SAVE_COUNT: u64 = 30;
const RECORD_LEN: usize = 64;

type States = HashMap<GroupId, HardState>;

struct Original {
    files: Files,
    /// What its file says up to each of its records.
    prefixes: Vec<States>,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| run(write()));

fuzz_target!(|acts: &[u8]| {
    let mut files = ORIGINAL.files.clone();
    damage(&mut files, acts);
    run(async {
        let disk = disk_with(&files, Path::new(DIR)).await;
        let Ok((votes, states)) = open(&disk).await else { return };
        assert!(ORIGINAL.prefixes.contains(&states), "the file never said {states:?}");
        drop(votes);
        let (votes, again) = open(&disk).await.expect("it opened before");
        assert_eq!(again, states, "opening takes nothing away");

        let state = HardState { term: SAVE_COUNT * 2, vote: 1, commit: 9 };
        votes.save(vec![(group(0), state)]).await.expect("a sound disk");
        let mut expected = states;
        expected.insert(group(0), state);
        drop(votes);
        let (_, found) = open(&disk).await.expect("it opened before");
        assert_eq!(found, expected, "what was saved is found");
    });
});

async fn open(disk: &SimDisk) -> Result<(Votes, States), VotesOpenError> {
    let config = VotesConfig { records_per_group_max: 3, rewrite_records_min: 16 };
    Votes::open(Rc::new(disk.clone()), Path::new(DIR), config).await
}

async fn write() -> Original {
    let disk = SimDisk::new(0);
    let (votes, _) = open(&disk).await.expect("an empty folder");
    for save in 0..SAVE_COUNT {
        let group = group(save % GROUP_COUNT);
        if save == SAVE_COUNT - 3 {
            votes.remove(group).await.expect("a sound disk");
        } else {
            let state = HardState { term: save + 1, vote: save % 3, commit: save };
            votes.save(vec![(group, state)]).await.expect("a sound disk");
        }
    }
    let files = files_of(&disk, Path::new(DIR)).await;
    let mut prefixes = vec![States::new()];
    for (name, content) in &files {
        for end in (0..=content.len()).step_by(RECORD_LEN) {
            let shorter = Files::from([(name.clone(), content[..end].to_vec())]);
            let disk = disk_with(&shorter, Path::new(DIR)).await;
            prefixes.extend(open(&disk).await.map(|(_, states)| states));
        }
    }
    assert!(prefixes.len() > 10, "few of {} prefixes open", prefixes.len());
    Original { files, prefixes }
}

fn group(number: u64) -> GroupId {
    GroupId { topic: Uuid::from_u128(u128::from(number)), partition: 0 }
}
