//! Several things that a disk did at once: whatever opens must go on.
//!
//! Bytes are changed, lost, zeroed, moved, but never forged. Opening may refuse files that seem
//! somebody else's. A log that opens serves only what was written where it was written, takes
//! entries, flushes them, and finds them and all that it served when it is opened again. The fuzz
//! target `recovery` asks the same of inputs that it makes up; this asks it of a few thousand that
//! are always the same.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use thalweg_storage::Log;
use thalweg_storage::ReadError;
use thalweg_storage::disk::sim::SimDisk;

use crate::harness::*;

/// Batches by their base offset.
type Batches = BTreeMap<i64, Bytes>;

/// Several segments and two terms, as a clean close or a killed process leaves them, perhaps with
/// the beginning trimmed.
async fn sample(close: bool, log_start: i64) -> (Files, Batches) {
    let rig = Rig::new(SimDisk::new(1));
    let OpenRig { log, .. } = rig.open().await;
    let mut written = Batches::new();
    for term in [1, 2] {
        let mut feed = Feed::of(&log, term);
        let mut entries = vec![feed.internal(b"a new leader")];
        entries.extend((0..11).map(|n| feed.batch(&[n, n + 1][..1 + n as usize % 2], 120)));
        for (n, entry) in entries.into_iter().enumerate() {
            let batch = view(&entry);
            if !batch.attributes().is_internal() {
                written.insert(batch.header().base_offset, batch.into_bytes());
            }
            log.append(vec![entry]).unwrap();
            if n % 3 == 2 {
                log.flush().await.unwrap();
            }
        }
    }
    log.flush().await.unwrap();
    if log_start > 0 {
        log.applied_to(log.last_index());
        log.advance_log_start(log_start).await.unwrap();
    }
    if close {
        log.close().await.unwrap();
    }
    (snapshot(&rig).await, written)
}

/// One thing that a disk does to one of the files.
fn damage(files: &mut Files, dice: &mut Dice) {
    let name = |dice: &mut Dice| {
        files.keys().nth(dice.below(files.len() as u64) as usize).expect("a file").clone()
    };
    let (victim, other) = (name(dice), name(dice));
    let source = files[&other].clone();
    let mut content = files[&victim].to_vec();
    let at = dice.below(content.len() as u64 + 1) as usize;
    let end = content.len().min(at + dice.below(1_500) as usize);
    match dice.below(8) {
        0 | 1 => content[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << dice.below(8)),
        2 => content.truncate(at),
        3 => content[at..end].fill(0),
        4 => content.resize(content.len() + dice.below(8_192) as usize, 0),
        5 => {
            let from = dice.below(source.len() as u64 + 1) as usize;
            let moved = source[from..].iter().take(512);
            content[at..].iter_mut().zip(moved).for_each(|(byte, moved)| *byte = *moved);
        }
        6 if files.len() > 1 => {
            files.remove(&victim);
            return;
        }
        _ => {
            files.insert(other, Bytes::from(content));
            content = source.to_vec();
        }
    }
    files.insert(victim, content.into());
}

/// All that can be read, past whatever is damaged.
async fn served(log: &Log, what: &str) -> Batches {
    let (mut next, upper) = (log.log_start_offset(), log.next_offset());
    let mut found = Batches::new();
    while next < upper {
        match log.read(next, 1, upper, true).await {
            Ok(fetched) => {
                assert!(fetched.next_offset > next, "{what}: no progress at {next}");
                let bytes = Bytes::from(fetched.records.concat());
                let batch = thalweg_protocol::batch::BatchView::parse(bytes).expect(what);
                assert_eq!(batch.verify_crc(), Ok(()), "{what}");
                found.insert(batch.header().base_offset, batch.into_bytes());
                next = fetched.next_offset;
            }
            Err(ReadError::Damaged(range)) => next = range.offsets.end.max(next + 1),
            Err(error) => panic!("{what}: {error}"),
        }
    }
    found
}

/// Appends a term, a batch, and flushes.
async fn go_on(log: &std::rc::Rc<Log>, found: &mut Batches, what: &str) {
    let mut feed = Feed::of(log, log.last_term() + 1);
    let entries = vec![feed.internal(b"a new leader"), feed.batch(&[50, 51], 90)];
    let batch = view(&entries[1]);
    found.insert(batch.header().base_offset, batch.into_bytes());
    log.append(entries).expect(what);
    log.flush().await.expect(what);
}

async fn goes_on(files: &Files, written: &Batches, applied: u64, what: &str) {
    let mut rig = Rig::new(disk_with(files, Path::new("topics/t/3")).await).without_tail_cache();
    rig.applied = applied;
    let Ok(OpenRig { log, .. }) = rig.try_open().await else { return };
    let mut found = served(&log, what).await;
    for (offset, batch) in &found {
        assert_eq!(written.get(offset), Some(batch), "{what}: {offset} is invented");
    }
    go_on(&log, &mut found, what).await;
    log.close().await.expect(what);

    let again = rig.try_open().await.expect(what);
    assert_eq!(served(&again.log, what).await, found, "{what}: after a restart");
    go_on(&again.log, &mut found, what).await;
    assert_eq!(served(&again.log, what).await, found, "{what}: after going on");
    again.log.close().await.expect(what);
}

#[test]
fn whatever_opens_goes_on() {
    run(async {
        let mut originals = Vec::new();
        for (close, log_start) in [(true, 0), (false, 0), (true, 21), (false, 9)] {
            let original = sample(close, log_start).await;
            assert!(original.0.len() >= 5, "several segments");
            originals.push(original);
        }
        for seed in 0..3_000 {
            let mut dice = Dice::new(seed);
            let (files, written) = &originals[dice.below(originals.len() as u64) as usize];
            let applied = [0, u64::MAX][dice.below(2) as usize];
            let mut files = files.clone();
            for _ in 0..1 + dice.below(4) {
                damage(&mut files, &mut dice);
            }
            goes_on(&files, written, applied, &format!("seed {seed}")).await;
        }
    });
}

/// What has become of a whole file.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Spared,
    Lost,
    Halved,
    Overwritten,
}

impl Fate {
    fn befall(self, files: &mut Files, name: &str) {
        let bytes = files.remove(name).expect("a file");
        let left = match self {
            Fate::Spared => bytes,
            Fate::Lost => return,
            Fate::Halved => bytes.slice(..bytes.len() / 2),
            Fate::Overwritten => vec![0xa5; bytes.len()].into(),
        };
        files.insert(name.to_string(), left);
    }
}

/// A segment of which nothing is left must not take the place of its successor, nor give up its
/// own: each of the last three segments meets every fate, in every combination.
#[test]
fn whatever_is_left_of_the_last_segments_goes_on() {
    use Fate::*;
    let fates = [Spared, Lost, Halved, Overwritten];
    let fates = fates.iter().flat_map(|log| [Spared, Lost, Overwritten].map(|idx| (*log, idx)));
    let fates: Vec<_> = fates.collect();
    run(async {
        let (files, written) = sample(true, 0).await;
        let stems = files.keys().filter_map(|name| name.strip_suffix(".log"));
        let stems: Vec<_> = stems.map(str::to_string).collect();
        let [.., first, second, third] = &stems[..] else { panic!("{stems:?}") };
        let mut turn = 0;
        for one in &fates {
            for two in &fates {
                for three in &fates {
                    let mut files = files.clone();
                    for (stem, (log, ledger)) in [(first, one), (second, two), (third, three)] {
                        log.befall(&mut files, &format!("{stem}.log"));
                        ledger.befall(&mut files, &format!("{stem}.idx"));
                    }
                    turn += 1;
                    let applied = [0, u64::MAX][turn % 2];
                    let what = format!("{one:?}, {two:?}, {three:?}, applied {applied}");
                    goes_on(&files, &written, applied, &what).await;
                }
            }
        }
    });
}

/// Of a segment nothing is left but the footer that sealed it: that it is damaged is found by a
/// reader, who then knows how much is.
#[test]
fn a_footer_alone_says_how_much_is_damaged() {
    run(async {
        let (mut files, written) = sample(true, 0).await;
        let name = files.keys().nth(1).expect("a file").clone();
        let ledger = name.replace(".log", ".idx");
        files.insert(name.clone(), vec![0; files[&name].len()].into());
        let mut bytes = files[&ledger].to_vec();
        let footer = bytes.len() - 64 - 16;
        bytes[1_024..footer].fill(0);
        files.insert(ledger, bytes.into());
        goes_on(&files, &written, u64::MAX, "found by a reader").await;
        goes_on(&files, &written, 0, "found by recovery").await;
    });
}

/// A segment is sealed and its successor is lost: what is wrong with the ledger of what is the last
/// segment now is found when it is opened, because nobody would mend it later.
#[test]
fn the_last_ledger_is_mended_although_it_is_sealed() {
    run(async {
        let (mut files, written) = sample(true, 0).await;
        let stems = files.keys().filter_map(|name| name.strip_suffix(".log"));
        let stems: Vec<_> = stems.map(str::to_string).collect();
        let [.., sealed, last] = &stems[..] else { panic!("{stems:?}") };
        files.retain(|name, _| !name.starts_with(last.as_str()));
        let ledger = format!("{sealed}.idx");
        for at in 1_024..files[&ledger].len() {
            let mut flipped = files[&ledger].to_vec();
            flipped[at] ^= 1 << (at % 8);
            let mut files = files.clone();
            files.insert(ledger.clone(), flipped.into());
            goes_on(&files, &written, u64::MAX, &format!("flipped at {at}")).await;
        }
    });
}
