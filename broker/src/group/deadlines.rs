//! Deadlines that mostly move away before they come: an ordered queue in which a move costs a map
//! lookup and nothing else.
//!
//! A deadline that moves later leaves its place in the queue; the place is corrected when its turn
//! comes. So a heartbeat is cheap, and `next` may be early but is never late.

use std::collections::{BTreeSet, HashMap};

use thalweg_protocol::KafkaStr;

/// Named deadlines, in milliseconds of a monotonic clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    queue: BTreeSet<(u64, KafkaStr)>,
    entries: HashMap<KafkaStr, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: u64,
    /// Where it stands in the queue; never after `deadline`.
    queued: u64,
}

impl Deadlines {
    /// Sets or moves the deadline of `name`.
    pub(crate) fn set(&mut self, name: &KafkaStr, deadline: u64) {
        match self.entries.get_mut(name) {
            Some(entry) if deadline >= entry.queued => entry.deadline = deadline,
            Some(entry) => {
                self.queue.remove(&(entry.queued, name.clone()));
                *entry = Entry { deadline, queued: deadline };
                self.queue.insert((deadline, name.clone()));
            }
            None => {
                self.entries.insert(name.clone(), Entry { deadline, queued: deadline });
                self.queue.insert((deadline, name.clone()));
            }
        }
    }

    /// Whether `name` has a deadline.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Forgets the deadline of `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some((name, entry)) = self.entries.remove_entry(name) {
            self.queue.remove(&(entry.queued, name));
        }
    }

    /// Takes out one whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<KafkaStr> {
        while self.queue.first().is_some_and(|(queued, _)| *queued <= now) {
            let (_, name) = self.queue.pop_first()?;
            let entry = self.entries.get_mut(&name)?;
            if entry.deadline <= now {
                self.entries.remove(&name);
                return Some(name);
            }
            entry.queued = entry.deadline;
            self.queue.insert((entry.queued, name));
        }
        None
    }

    /// When to look again; there is nothing due before.
    pub(crate) fn next(&self) -> Option<u64> {
        self.queue.first().map(|(queued, _)| *queued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_was_moved_comes_when_it_was_moved_to() {
        let mut deadlines = Deadlines::default();
        let (a, b) = (KafkaStr::from("a"), KafkaStr::from("b"));
        deadlines.set(&a, 10);
        deadlines.set(&b, 20);
        deadlines.set(&a, 30);
        assert_eq!(deadlines.next(), Some(10), "early, never late");
        assert_eq!(deadlines.pop_due(15), None);
        assert_eq!(deadlines.next(), Some(20));
        deadlines.set(&a, 12);
        assert_eq!(deadlines.pop_due(25), Some(a));
        assert_eq!(deadlines.pop_due(25), Some(b));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn what_was_removed_never_comes() {
        let mut deadlines = Deadlines::default();
        let a = KafkaStr::from("a");
        deadlines.set(&a, 10);
        deadlines.set(&a, 20);
        deadlines.remove("a");
        deadlines.remove("a");
        assert_eq!((deadlines.pop_due(99), deadlines.next()), (None, None));
    }
}
