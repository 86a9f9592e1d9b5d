//! Opening a shard's votes after its disk has damaged them.
//!
//! The input is what the disk did (see `damage`). Opening may refuse, and may cut a torn tail; but
//! what it returns must be the votes as they stood at some moment since the file was last
//! rewritten, or none at all: a vote that is mixed from two moments could be cast twice.

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

type States = HashMap<GroupId, HardState>;

struct Original {
    files: Files,
    /// Before anything was saved, and after each save.
    moments: Vec<States>,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| run(write()));

fuzz_target!(|acts: &[u8]| {
    let mut files = ORIGINAL.files.clone();
    damage(&mut files, acts);
    run(async {
        let disk = disk_with(&files, Path::new(DIR)).await;
        let Ok((votes, states)) = open(&disk).await else { return };
        assert!(ORIGINAL.moments.contains(&states), "never so: {states:?}");
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
    let mut states = States::new();
    let mut moments = vec![states.clone()];
    for save in 0..SAVE_COUNT {
        let group = group(save % GROUP_COUNT);
        if save == SAVE_COUNT - 3 {
            states.remove(&group);
            votes.remove(group).await.expect("a sound disk");
        } else {
            let state = HardState { term: save + 1, vote: save % 3, commit: save };
            states.insert(group, state);
            votes.save(vec![(group, state)]).await.expect("a sound disk");
        }
        moments.push(states.clone());
    }
    let files = files_of(&disk, Path::new(DIR)).await;
    Original { files, moments }
}

fn group(number: u64) -> GroupId {
    GroupId { topic: Uuid::from_u128(u128::from(number)), partition: 0 }
}
