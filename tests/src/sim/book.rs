//! What clients have been told in a run, and whether all of it can be true.
//!
//! An offset has one value for ever, whoever is asked. What was acknowledged is there, once, in its
//! producer's order. What a coordinator has taken is not forgotten. Everything that contradicts
//! this is written down and ends the run.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use super::trace::Trace;

/// A topic's name and a partition of it.
pub type Place = (String, i32);

/// The client's side of a run.
pub struct Book {
    trace: Rc<Trace>,
    pages: RefCell<Pages>,
}

#[derive(Default)]
struct Pages {
    sent: BTreeMap<Place, BTreeSet<String>>,
    acknowledged: BTreeMap<Place, BTreeMap<i64, String>>,
    read: BTreeMap<Place, BTreeMap<i64, String>>,
    committed: BTreeMap<String, Committed>,
    commits: usize,
    deleted: usize,
    topics: BTreeMap<String, Existence>,
    violations: Vec<String>,
}

/// A group's offset in the one partition that it commits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Committed {
    /// The highest the coordinator has taken.
    pub taken: i64,
    /// The highest it was asked to take.
    pub asked: i64,
}

/// Whether a topic should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// Its creation or deletion is under way.
    Unknown,
    /// Whoever asks should find it.
    There,
    /// Nobody should.
    Gone,
}

/// How much went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records acknowledged.
    pub acknowledged: usize,
    /// Different records read.
    pub read: usize,
    /// Topics created.
    pub topics: usize,
    /// Topics deleted for good.
    pub deleted: usize,
    /// Offsets committed by groups.
    pub commits: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { acknowledged, read, topics, deleted, commits } = self;
        write!(
            f,
            "{acknowledged} records acknowledged, {read} read, {commits} offsets committed, "
        )?;
        write!(f, "{topics} topics created, {deleted} deleted")
    }
}

impl Book {
    /// An empty book.
    pub fn new(trace: &Rc<Trace>) -> Rc<Book> {
        Rc::new(Book { trace: Rc::clone(trace), pages: RefCell::default() })
    }

    /// Something that must never happen has happened.
    pub fn violation(&self, what: String) {
        self.trace.note(&format!("VIOLATION: {what}"));
        self.pages.borrow_mut().violations.push(what);
    }

    /// What must never have happened.
    pub fn violations(&self) -> Vec<String> {
        self.pages.borrow().violations.clone()
    }

    /// How much went through so far.
    pub fn tally(&self) -> Tally {
        let pages = self.pages.borrow();
        Tally {
            acknowledged: pages.acknowledged.values().map(BTreeMap::len).sum(),
            read: pages.read.values().map(BTreeMap::len).sum(),
            topics: pages.topics.len(),
            deleted: pages.deleted,
            commits: pages.commits,
        }
    }

    /// Acknowledged records of one partition.
    pub fn acknowledged_in(&self, place: &Place) -> usize {
        self.pages.borrow().acknowledged.get(place).map_or(0, BTreeMap::len)
    }

    /// A value is about to be sent for the first time.
    pub fn sending(&self, place: &Place, value: &str) {
        self.pages.borrow_mut().sent.entry(place.clone()).or_default().insert(value.to_owned());
    }

    /// A leader says that the value is at the offset, for ever.
    pub fn acknowledge(&self, place: &Place, offset: i64, value: &str) {
        self.trace.detail(&format!("{place:?} acknowledged {value} at {offset}"));
        let before = {
            let mut pages = self.pages.borrow_mut();
            let read = pages.read.get(place).and_then(|read| read.get(&offset)).cloned();
            let known = pages.acknowledged.entry(place.clone()).or_default();
            known.insert(offset, value.to_owned()).or(read)
        };
        if let Some(before) = before.filter(|before| before != value) {
            self.violation(format!(
                "{place:?}: {value} acknowledged at {offset}, where {before} is"
            ));
        }
    }

    /// A leader says that the value is at the offset, for ever.
    pub fn read(&self, place: &Place, offset: i64, value: &str) {
        let (before, was_sent) = {
            let mut pages = self.pages.borrow_mut();
            let acknowledged =
                pages.acknowledged.get(place).and_then(|it| it.get(&offset)).cloned();
            let was_sent = pages.sent.get(place).is_some_and(|sent| sent.contains(value));
            let read = pages.read.entry(place.clone()).or_default();
            (read.insert(offset, value.to_owned()).or(acknowledged), was_sent)
        };
        if let Some(before) = before.filter(|before| before != value) {
            self.violation(format!("{place:?}: {value} read at {offset}, where {before} was"));
        }
        if !was_sent {
            self.violation(format!("{place:?}: {value} read at {offset}, never sent"));
        }
    }

    /// All that a partition has in the end: everything acknowledged, nothing twice, each producer's
    /// values in order without gaps.
    pub fn check_whole(&self, place: &Place, all: &BTreeMap<i64, String>) {
        let known = self.pages.borrow().acknowledged.get(place).cloned().unwrap_or_default();
        for (offset, value) in known {
            if all.get(&offset) != Some(&value) {
                let found = all.get(&offset);
                self.violation(format!("{place:?}: {value} was at {offset}; now {found:?} is"));
            }
        }
        let mut next: BTreeMap<&str, u64> = BTreeMap::new();
        for (offset, value) in all {
            let (producer, number) = value.split_once('#').unwrap_or((value, ""));
            let expected = next.entry(producer).or_default();
            if number.parse() != Ok(*expected) {
                self.violation(format!(
                    "{place:?}: {value} at {offset}, where number {expected} was due"
                ));
            }
            *expected += 1;
        }
        if let Some((wrong, _)) = all.keys().zip(0..).find(|(offset, n)| **offset != *n) {
            self.violation(format!("{place:?}: a gap before offset {wrong}"));
        }
    }

    /// What is known of a group's offset.
    pub fn committed(&self, group: &str) -> Committed {
        self.pages.borrow().committed.get(group).copied().unwrap_or_default()
    }

    /// A group's offset is about to be committed.
    pub fn committing(&self, group: &str, offset: i64) {
        let mut pages = self.pages.borrow_mut();
        pages.committed.entry(group.to_owned()).or_default().asked = offset;
    }

    /// A coordinator has taken it.
    pub fn commit(&self, group: &str, offset: i64) {
        self.trace.detail(&format!("group {group} committed {offset}"));
        let mut pages = self.pages.borrow_mut();
        pages.committed.entry(group.to_owned()).or_default().taken = offset;
        pages.commits += 1;
    }

    /// A coordinator says where a group stands, asked when `before` was known.
    pub fn check_commit(&self, group: &str, before: Committed, found: i64) {
        let now = self.committed(group);
        if found < before.taken || found > now.asked {
            self.violation(format!("group {group} stands at {found}; known: {before:?}, {now:?}"));
        }
    }

    /// A topic's existence as of now.
    pub fn topic(&self, name: &str, existence: Existence) {
        let what = match existence {
            Existence::Unknown => "being created or deleted",
            Existence::There => "there",
            Existence::Gone => "gone",
        };
        self.trace.note(&format!("topic {name}: {what}"));
        let mut pages = self.pages.borrow_mut();
        pages.deleted += usize::from(existence == Existence::Gone);
        pages.topics.insert(name.to_owned(), existence);
    }

    /// All topics that were ever asked for.
    pub fn topics(&self) -> BTreeMap<String, Existence> {
        self.pages.borrow().topics.clone()
    }

    /// All groups that have committed.
    pub fn groups(&self) -> Vec<String> {
        self.pages.borrow().committed.keys().cloned().collect()
    }
}
