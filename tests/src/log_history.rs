//! What a partition has told its clients, and whether one log can have told them all that.
//!
//! One producer numbers its records and sends them again until they are acknowledged. A history
//! holds what was acknowledged at which offset, and what readers were shown by which broker, at any
//! time and from any leader. [`LogHistory::check`] compares it with what is in the log in the end:
//! nothing told is lost or changed, nothing is there twice, and the order is the producer's.
//!
//! The checker is tested with histories that break one rule each.

use std::collections::BTreeMap;

/// What one partition's clients were told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogHistory {
    /// The number of the record at each offset, and who was told so first.
    told: BTreeMap<i64, (u64, String)>,
    violations: Vec<Violation>,
}

/// A rule that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An offset had two values.
    Changed {
        /// Where.
        offset: i64,
        /// The record there at first, and who was told.
        was: (u64, String),
        /// The record there later, and who was told.
        is: (u64, String),
    },
    /// What a client was told is not in the log.
    Lost {
        /// Where it was.
        offset: i64,
        /// The record, and who was told.
        was: (u64, String),
    },
    /// A record is in the log twice.
    Twice {
        /// The record.
        number: u64,
        /// Where.
        offsets: [i64; 2],
    },
    /// A record stands behind one that was sent later.
    Reordered {
        /// Where.
        offset: i64,
        /// The record there.
        number: u64,
        /// The record before it.
        after: u64,
    },
    /// Between two records of the log one is missing that was sent before the second.
    Missing {
        /// The first such record.
        number: u64,
    },
}

impl LogHistory {
    /// `who` was told that record `number` is at `offset`.
    pub fn tell(&mut self, who: &str, offset: i64, number: u64) {
        let told = self.told.entry(offset).or_insert_with(|| (number, who.to_owned()));
        if told.0 != number {
            let (was, is) = (told.clone(), (number, who.to_owned()));
            self.violations.push(Violation::Changed { offset, was, is });
        }
    }

    /// Takes over what others were told.
    pub fn merge(&mut self, other: LogHistory) {
        self.violations.extend(other.violations);
        for (offset, (number, who)) in other.told {
            self.tell(&who, offset, number);
        }
    }

    /// Offsets that somebody was told of.
    pub fn told(&self) -> usize {
        self.told.len()
    }

    /// Everything wrong, if in the end the log holds the records `log` from offset `start` on and
    /// records below `start` are deleted.
    pub fn check(mut self, start: i64, log: &[u64]) -> Vec<Violation> {
        let mut at = BTreeMap::new();
        for (offset, number) in (start..).zip(log.iter().copied()) {
            self.tell("the log in the end", offset, number);
            if let Some(first) = at.insert(number, offset) {
                self.violations.push(Violation::Twice { number, offsets: [first, offset] });
            }
        }
        for (offset, pair) in (start..).zip(log.windows(2)) {
            let (after, number) = (pair[0], pair[1]);
            if number < after {
                let offset = offset + 1;
                self.violations.push(Violation::Reordered { offset, number, after });
            } else if number > after + 1 {
                self.violations.push(Violation::Missing { number: after + 1 });
            }
        }
        let end = start + i64::try_from(log.len()).unwrap_or(i64::MAX);
        for (offset, was) in self.told.split_off(&end) {
            self.violations.push(Violation::Lost { offset, was });
        }
        self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> LogHistory {
        let mut history = LogHistory::default();
        for (offset, number) in [(0, 0), (1, 1), (2, 2)] {
            history.tell("producer", offset, number);
        }
        history.tell("reader of 2", 1, 1);
        history
    }

    fn told(number: u64, who: &str) -> (u64, String) {
        (number, who.to_owned())
    }

    #[test]
    fn a_sound_history_breaks_no_rule() {
        assert_eq!(sound().check(0, &[0, 1, 2]), []);
        // The last record was committed, but its producer has not heard so.
        assert_eq!(sound().check(0, &[0, 1, 2, 3]), []);
        // Retention has moved on.
        assert_eq!(sound().check(2, &[2, 3]), []);
    }

    #[test]
    fn a_record_that_is_gone_is_lost() {
        let lost = Violation::Lost { offset: 2, was: told(2, "producer") };
        assert_eq!(sound().check(0, &[0, 1]), [lost]);
        let mut history = sound();
        history.tell("reader of 3", 3, 3);
        let lost = Violation::Lost { offset: 3, was: told(3, "reader of 3") };
        assert_eq!(history.check(0, &[0, 1, 2]), [lost], "what nobody acknowledged was shown");
    }

    #[test]
    fn an_offset_has_one_value() {
        let mut history = sound();
        history.tell("reader of 1", 1, 7);
        let is = told(7, "reader of 1");
        let changed = Violation::Changed { offset: 1, was: told(1, "producer"), is };
        assert_eq!(history.check(0, &[0, 1, 2]), [changed]);
    }

    #[test]
    fn a_record_is_there_once() {
        let twice = Violation::Twice { number: 2, offsets: [2, 3] };
        assert_eq!(sound().check(0, &[0, 1, 2, 2, 3]), [twice]);
    }

    #[test]
    fn records_keep_their_order_and_their_neighbours() {
        let log = [0, 1, 2, 4, 3];
        let missing = Violation::Missing { number: 3 };
        let reordered = Violation::Reordered { offset: 4, number: 3, after: 4 };
        assert_eq!(sound().check(0, &log), [missing, reordered]);
    }

    #[test]
    fn what_two_histories_say_is_compared() {
        let mut history = sound();
        let mut other = LogHistory::default();
        other.tell("reader of 1", 0, 5);
        history.merge(other);
        assert_eq!(history.check(0, &[0, 1, 2]).len(), 1);
    }
}
