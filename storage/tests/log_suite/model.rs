//! Random histories of a log against a model, on every disk.

use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;
use thalweg_storage::disk::sim::SimDisk;
use thalweg_storage::disk::{Disk, DiskStats, StdDisk};
use thalweg_storage::{LogConfig, LogShared, SharedConfig};

use crate::harness::*;

/// One step of a history. Numbers choose among what is possible at that point.
#[derive(Clone, Debug)]
enum Step {
    Append { batches: Vec<(u8, u16)>, new_term: bool },
    Truncate { back: u8, then: Vec<(u8, u16)> },
    Apply { back: u8 },
    AdvanceStart { share: u8 },
    Flush,
    Reopen,
    Kill,
}

fn any_step() -> impl Strategy<Value = Step> {
    let batches = || prop::collection::vec((1_u8..4, 0_u16..500), 0..5);
    prop_oneof![
        6 => (batches(), any::<bool>())
            .prop_map(|(batches, new_term)| Step::Append { batches, new_term }),
        2 => (0_u8..12, batches()).prop_map(|(back, then)| Step::Truncate { back, then }),
        2 => (0_u8..12).prop_map(|back| Step::Apply { back }),
        1 => (0_u8..=100).prop_map(|share| Step::AdvanceStart { share }),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Setup {
    tail_cache: bool,
    write_caching: bool,
}

struct History {
    rig: Rig,
    open: OpenRig,
    model: Model,
    term: u32,
    applied: u64,
    sim: Option<SimDisk>,
}

impl History {
    async fn new(
        disk: Rc<dyn Disk>,
        sim: Option<SimDisk>,
        dir: &std::path::Path,
        setup: Setup,
    ) -> Self {
        let mut rig = Rig::new(SimDisk::new(0));
        (rig.disk, rig.dir) = (disk, dir.to_path_buf());
        rig.config = LogConfig { write_caching: setup.write_caching, ..small_config() };
        if !setup.tail_cache {
            let config = SharedConfig { tail_cache_bytes_max: 0, mappings_max: 4 };
            rig.shared = Rc::new(LogShared::new(config));
        }
        let open = rig.open().await;
        History { rig, open, model: Model::default(), term: 0, applied: 0, sim }
    }

    fn append(&mut self, batches: &[(u8, u16)], new_term: bool) {
        let log = &self.open.log;
        let new_term = new_term || log.last_term() != self.term || self.term == 0;
        self.term += u32::from(new_term);
        let mut feed = Feed::of(log, self.term);
        let mut entries = Vec::new();
        if new_term {
            entries.push(feed.internal(b"a new leader"));
        }
        for (records, size) in batches {
            let timestamps: Vec<_> = (0..i64::from(*records)).collect();
            entries.push(feed.batch(&timestamps, usize::from(*size)));
        }
        self.model.append(&entries);
        log.append(entries).unwrap();
    }

    async fn step(&mut self, step: &Step) {
        let log = Rc::clone(&self.open.log);
        match step {
            Step::Append { batches, new_term } => self.append(batches, *new_term),
            Step::Truncate { back, then } => {
                let from = log.last_index().saturating_sub(u64::from(*back)).max(self.applied + 1);
                let cut = log.truncate_suffix(from);
                self.model.truncate(from);
                self.append(then, true);
                cut.await.unwrap();
            }
            Step::Apply { back } => {
                // Committed is at most what is stable.
                let index = log.stable_index().saturating_sub(u64::from(*back));
                self.applied = self.applied.max(index);
                log.applied_to(self.applied);
            }
            Step::AdvanceStart { share } => {
                let committed =
                    self.model.entry(self.applied).map_or(0, |e| view(e).header().next_offset());
                log.advance_log_start(committed * i64::from(*share) / 100).await.unwrap();
                self.model.log_start_offset = log.log_start_offset();
            }
            Step::Flush => log.flush().await.unwrap(),
            Step::Reopen => {
                log.close().await.unwrap();
                self.reopen().await;
            }
            Step::Kill => self.kill().await,
        }
    }

    /// The process dies: what was written stays, what was not may be lost from some entry on.
    async fn kill(&mut self) {
        let Some(sim) = &self.sim else { return };
        let written = self.open.log.written_index();
        sim.kill(self.model.entries.len() as u64);
        self.rig.disk = Rc::new(sim.reopen());
        self.reopen().await;
        let last = self.open.log.last_index();
        assert!((written..=self.model.last_index()).contains(&last), "{written} {last}");
        self.model.truncate(last + 1);
        self.term = self.term.max(self.open.log.last_term());
    }

    async fn reopen(&mut self) {
        self.rig.applied = self.applied;
        self.open = self.rig.open().await;
        assert_eq!(self.open.report.damaged, []);
        self.model.entries.retain(|entry| entry.index >= self.open.log.first_index());
    }

    async fn check(&self) {
        let mut model = self.model.clone();
        model.entries.retain(|entry| entry.index >= self.open.log.first_index());
        if model.entries.is_empty() {
            return;
        }
        assert_holds(&self.open.log, &model).await;
    }
}

async fn play(mut history: History, steps: &[Step]) {
    for step in steps {
        history.step(step).await;
        history.check().await;
    }
    history.open.log.close().await.unwrap();
    history.reopen().await;
    history.check().await;
}

/// What fails becomes a named test instead of a file of seeds.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn any_setup() -> impl Strategy<Value = Setup> {
    any::<(bool, bool)>()
        .prop_map(|(tail_cache, write_caching)| Setup { tail_cache, write_caching })
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn on_the_simulated_disk(
        seed: u64,
        setup in any_setup(),
        steps in prop::collection::vec(any_step(), 1..25),
    ) {
        run(async {
            let sim = SimDisk::new(seed);
            let dir = std::path::Path::new("topics/t/3");
            let history = History::new(Rc::new(sim.clone()), Some(sim), dir, setup).await;
            play(history, &steps).await;
        });
    }
}

proptest! {
    #![proptest_config(config(10))]

    #[test]
    fn on_the_std_disk(
        setup in any_setup(),
        steps in prop::collection::vec(any_step(), 1..15),
    ) {
        run_in_real_time(async {
            let dir = tempfile::tempdir().unwrap();
            let disk = StdDisk::new(1, Arc::new(DiskStats::default())).unwrap();
            let history = History::new(Rc::new(disk), None, dir.path(), setup).await;
            play(history, &steps).await;
        });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn on_the_uring_disk(
        setup in any_setup(),
        steps in prop::collection::vec(any_step(), 1..15),
    ) {
        run_in_real_time(async {
            let dir = tempfile::tempdir().unwrap();
            let stats = Arc::new(DiskStats::default());
            let Ok(disk) = thalweg_storage::disk::UringDisk::new(64, 1, stats) else {
                // The broker falls back as well where the kernel has no rings.
                return;
            };
            let history = History::new(Rc::new(disk), None, dir.path(), setup).await;
            play(history, &steps).await;
        });
    }
}
