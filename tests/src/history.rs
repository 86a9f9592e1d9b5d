//! What happened to a consumer group, and whether it may have.
//!
//! A test records what its members did, in the order in which it learned of it, and [`check`] says
//! what is wrong with that. The rules are those of a member that commits after processing: no
//! record is lost or skipped, a committed offset never goes back, and in one generation a partition
//! belongs to one member. A record may be processed twice: whoever takes over begins at the last
//! commit.
//!
//! Members do things at the same time, and the order of their answers says little. A commit or a
//! question therefore carries the moment at which it was asked: only what was known by then binds
//! it.
//!
//! The checker is tested with histories that break one rule each; a checker that finds nothing
//! would otherwise look like a broker that does nothing wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A partition of the one topic that a history is about.
pub type Partition = i32;

/// How many events had been recorded when something was asked.
pub type Moment = usize;

/// Something that a member of the group, or its producer, did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A record was acknowledged at this offset.
    Produced {
        /// Where.
        partition: Partition,
        /// Its offset.
        offset: i64,
    },
    /// A member was told that these partitions are its own, all of them, in this generation (or, in
    /// KIP-848 groups, at this member epoch of its own).
    Owns {
        /// Who.
        member: String,
        /// As the coordinator counts.
        generation: i32,
        /// All that it owns from now on.
        partitions: BTreeSet<Partition>,
    },
    /// A member has processed a record.
    Processed {
        /// Who.
        member: String,
        /// Where.
        partition: Partition,
        /// The record's offset.
        offset: i64,
    },
    /// The coordinator took a member's commit: `offset` is the next record to process.
    Committed {
        /// Who.
        member: String,
        /// Where.
        partition: Partition,
        /// The next record.
        offset: i64,
        /// When the commit was sent.
        asked: Moment,
    },
    /// A new reader of the partition was told to begin here.
    Resumed {
        /// Who.
        member: String,
        /// Where.
        partition: Partition,
        /// What the coordinator said was committed; none if nothing was.
        offset: Option<i64>,
        /// When it was asked.
        asked: Moment,
    },
}

/// A rule that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An acknowledged record was processed by nobody, though the group read to the end.
    Lost {
        /// Where.
        partition: Partition,
        /// Its offset.
        offset: i64,
    },
    /// An offset was committed above a record that nobody had processed.
    Skipped {
        /// Where.
        partition: Partition,
        /// The lowest such record.
        offset: i64,
        /// The commit above it.
        committed: i64,
    },
    /// A commit that the coordinator took moved the group back.
    WentBack {
        /// Where.
        partition: Partition,
        /// What was committed before.
        from: i64,
        /// What came after.
        to: i64,
    },
    /// A reader was told of an offset below one that had been committed.
    Forgotten {
        /// Where.
        partition: Partition,
        /// What had been committed.
        committed: i64,
        /// What the reader was told.
        resumed: Option<i64>,
    },
    /// Two members owned a partition in the same generation.
    OwnedTwice {
        /// Where.
        partition: Partition,
        /// The generation.
        generation: i32,
        /// Who.
        members: [String; 2],
    },
    /// A member was shown an older generation than before.
    GenerationWentBack {
        /// Who.
        member: String,
        /// What it had been shown.
        from: i32,
        /// What came after.
        to: i32,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Everything that is wrong with a history whose group has read all that was produced.
pub fn check(history: &[Event]) -> Vec<Violation> {
    let mut state = State::default();
    for (moment, event) in history.iter().enumerate() {
        state.take(moment, event);
    }
    let State { produced, processed, mut violations, .. } = state;
    for (partition, offsets) in produced {
        let processed = processed.get(&partition);
        let is_lost = |offset: &i64| !processed.is_some_and(|done| done.contains(offset));
        let lost = offsets.into_iter().filter(is_lost);
        violations.extend(lost.map(|offset| Violation::Lost { partition, offset }));
    }
    violations
}

#[derive(Default)]
struct State {
    produced: BTreeMap<Partition, BTreeSet<i64>>,
    processed: BTreeMap<Partition, BTreeSet<i64>>,
    /// Every commit with the moment at which its answer was recorded.
    committed: BTreeMap<Partition, Vec<(Moment, i64)>>,
    /// Below this everything in the partition has been processed, as far as a commit has asked.
    swept: BTreeMap<Partition, i64>,
    owners: BTreeMap<(i32, Partition), String>,
    generations: BTreeMap<String, i32>,
    violations: Vec<Violation>,
}

impl State {
    fn take(&mut self, moment: Moment, event: &Event) {
        match event {
            Event::Produced { partition, offset } => {
                self.produced.entry(*partition).or_default().insert(*offset);
            }
            Event::Owns { member, generation, partitions } => {
                self.own(member, *generation, partitions);
            }
            Event::Processed { partition, offset, .. } => {
                self.processed.entry(*partition).or_default().insert(*offset);
            }
            Event::Committed { partition, offset, asked, .. } => {
                self.commit(*partition, *offset, *asked);
                self.committed.entry(*partition).or_default().push((moment, *offset));
            }
            Event::Resumed { partition, offset, asked, .. } => {
                let (partition, resumed) = (*partition, *offset);
                if let Some(committed) = self.committed_before(partition, *asked)
                    && resumed.is_none_or(|resumed| resumed < committed)
                {
                    let forgotten = Violation::Forgotten { partition, committed, resumed };
                    self.violations.push(forgotten);
                }
            }
        }
    }

    fn own(&mut self, member: &str, generation: i32, partitions: &BTreeSet<Partition>) {
        let before = self.generations.insert(member.to_owned(), generation);
        if let Some(from) = before.filter(|before| *before > generation) {
            let member = member.to_owned();
            self.violations.push(Violation::GenerationWentBack { member, from, to: generation });
        }
        for partition in partitions {
            let owner = self.owners.entry((generation, *partition));
            let owner = owner.or_insert_with(|| member.to_owned());
            if owner != member {
                let members = [owner.clone(), member.to_owned()];
                let twice = Violation::OwnedTwice { partition: *partition, generation, members };
                self.violations.push(twice);
            }
        }
    }

    /// The highest offset whose commit had been answered by then.
    fn committed_before(&self, partition: Partition, asked: Moment) -> Option<i64> {
        let commits = self.committed.get(&partition)?.iter();
        commits.filter(|(moment, _)| *moment < asked).map(|(_, offset)| *offset).max()
    }

    fn commit(&mut self, partition: Partition, offset: i64, asked: Moment) {
        let before = self.committed_before(partition, asked);
        if let Some(from) = before.filter(|from| *from > offset) {
            self.violations.push(Violation::WentBack { partition, from, to: offset });
        }
        let swept = self.swept.entry(partition).or_insert(0);
        let done = self.processed.entry(partition).or_default();
        if let Some(missing) = (*swept..offset).find(|before| !done.contains(before)) {
            let skipped = Violation::Skipped { partition, offset: missing, committed: offset };
            self.violations.push(skipped);
        }
        *swept = (*swept).max(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn produced(partition: Partition, offset: i64) -> Event {
        Event::Produced { partition, offset }
    }

    fn owns(member: &str, generation: i32, partitions: &[Partition]) -> Event {
        let partitions = partitions.iter().copied().collect();
        Event::Owns { member: member.to_owned(), generation, partitions }
    }

    fn processed(member: &str, partition: Partition, offset: i64) -> Event {
        Event::Processed { member: member.to_owned(), partition, offset }
    }

    /// Asked when everything before had been recorded.
    const LATE: Moment = Moment::MAX;

    fn committed(member: &str, partition: Partition, offset: i64) -> Event {
        Event::Committed { member: member.to_owned(), partition, offset, asked: LATE }
    }

    fn resumed(member: &str, partition: Partition, offset: Option<i64>) -> Event {
        Event::Resumed { member: member.to_owned(), partition, offset, asked: LATE }
    }

    /// Two members; one of them crashes after processing and before committing.
    fn sound() -> Vec<Event> {
        vec![
            produced(0, 0),
            produced(0, 1),
            produced(1, 0),
            owns("a", 1, &[0, 1]),
            resumed("a", 0, None),
            processed("a", 0, 0),
            committed("a", 0, 1),
            owns("b", 2, &[0]),
            owns("a", 2, &[1]),
            resumed("b", 0, Some(1)),
            processed("b", 0, 1),
            owns("a", 3, &[0, 1]),
            resumed("a", 0, Some(1)),
            processed("a", 0, 1),
            committed("a", 0, 2),
            processed("a", 1, 0),
            committed("a", 1, 1),
        ]
    }

    fn without(history: &[Event], event: &Event) -> Vec<Event> {
        history.iter().filter(|it| *it != event).cloned().collect()
    }

    #[test]
    fn a_sound_history_breaks_no_rule() {
        assert_eq!(check(&sound()), []);
    }

    #[test]
    fn a_record_that_nobody_processes_is_lost() {
        let mut history = sound();
        history.push(produced(1, 1));
        assert_eq!(check(&history), [Violation::Lost { partition: 1, offset: 1 }]);
    }

    #[test]
    fn a_commit_above_an_unprocessed_record_skips_it() {
        let history = without(&sound(), &processed("a", 0, 0));
        let skipped = Violation::Skipped { partition: 0, offset: 0, committed: 1 };
        assert_eq!(check(&history), [skipped, Violation::Lost { partition: 0, offset: 0 }]);
    }

    #[test]
    fn processing_after_the_commit_is_too_late() {
        let mut history = without(&sound(), &processed("a", 1, 0));
        history.push(processed("a", 1, 0));
        let skipped = Violation::Skipped { partition: 1, offset: 0, committed: 1 };
        assert_eq!(check(&history), [skipped]);
    }

    #[test]
    fn a_commit_of_a_member_that_was_replaced_goes_back() {
        let mut history = sound();
        history.push(committed("b", 0, 1));
        assert_eq!(check(&history), [Violation::WentBack { partition: 0, from: 2, to: 1 }]);
    }

    #[test]
    fn a_commit_that_the_next_reader_is_not_told_of_is_forgotten() {
        let mut history = sound();
        history.push(resumed("b", 0, Some(1)));
        history.push(resumed("b", 1, None));
        let forgotten =
            |partition, committed, resumed| Violation::Forgotten { partition, committed, resumed };
        assert_eq!(check(&history), [forgotten(0, 2, Some(1)), forgotten(1, 1, None)]);
    }

    #[test]
    fn answers_that_cross_each_other_break_no_rule() {
        let mut history = sound();
        let asked = history.len();
        for offset in [2, 3] {
            history.push(produced(0, offset));
            history.push(processed("b", 0, offset));
        }
        history.push(committed("b", 0, 4));
        // Both had been on their way before that commit was answered.
        let member = "a".to_owned();
        history.push(Event::Committed { member: member.clone(), partition: 0, offset: 3, asked });
        history.push(Event::Resumed { member, partition: 0, offset: Some(2), asked });
        assert_eq!(check(&history), []);
    }

    #[test]
    fn a_partition_has_one_owner_in_a_generation() {
        let mut history = sound();
        history.push(owns("b", 3, &[1]));
        let members = ["a".to_owned(), "b".to_owned()];
        let twice = Violation::OwnedTwice { partition: 1, generation: 3, members };
        assert_eq!(check(&history), [twice]);
    }

    #[test]
    fn a_generation_does_not_go_back() {
        let mut history = sound();
        history.push(owns("a", 2, &[]));
        let back = Violation::GenerationWentBack { member: "a".to_owned(), from: 3, to: 2 };
        assert_eq!(check(&history), [back]);
    }
}
