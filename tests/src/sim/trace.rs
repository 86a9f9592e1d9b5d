//! What happened in a run, as one number and, if asked for, as lines.
//!
//! Two runs of one seed are the same run if and only if their hashes are equal: every frame that
//! arrives, every fault and every answer a client believes goes in, with its time. Beside that it
//! counts how often each misfortune struck.

use std::cell::{Cell, RefCell};
use std::hash::Hasher;

use tokio::time::Instant;

use super::toll::{Misfortune, Toll};

/// The log of a run.
pub struct Trace {
    began: Instant,
    hash: Cell<u64>,
    events: Cell<u64>,
    lines: Option<RefCell<Vec<String>>>,
    says: bool,
    toll: RefCell<Toll>,
}

impl Trace {
    /// An empty log, of the present moment. `keeps` its lines, `says` the important ones.
    pub fn new(keeps: bool, says: bool) -> Trace {
        Trace {
            began: Instant::now(),
            hash: Cell::new(0),
            events: Cell::new(0),
            lines: keeps.then(RefCell::default),
            says,
            toll: RefCell::default(),
        }
    }

    /// Milliseconds since the run began.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Something that matters to whoever reads about the run.
    pub fn note(&self, what: &str) {
        if self.says {
            println!("{:>8.3} s  {what}", self.began.elapsed().as_secs_f64());
        }
        self.record(what.as_bytes(), || what.to_owned());
    }

    /// Something that happens too often to be told.
    pub fn detail(&self, what: &str) {
        self.record(what.as_bytes(), || what.to_owned());
    }

    /// A misfortune has struck.
    pub fn struck(&self, misfortune: Misfortune) {
        self.toll.borrow_mut().add(misfortune, 1);
    }

    /// How often each of them has.
    pub fn toll(&self) -> Toll {
        self.toll.borrow().clone()
    }

    /// Bytes that arrived.
    pub fn arrived(&self, from: u8, to: u8, bytes: &[u8]) {
        let place = [from, to];
        self.record(&[&place, bytes].concat(), || {
            let mut hasher = std::hash::DefaultHasher::new();
            hasher.write(bytes);
            format!("{from} to {to}: {} bytes {:016x}", bytes.len(), hasher.finish())
        });
    }

    fn record(&self, what: &[u8], line: impl FnOnce() -> String) {
        // Its keys are fixed, unlike a HashMap's.
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u64(self.hash.get());
        hasher.write_u64(self.now_ms());
        hasher.write(what);
        self.hash.set(hasher.finish());
        self.events.set(self.events.get() + 1);
        if let Some(lines) = &self.lines {
            lines.borrow_mut().push(format!("{} {}", self.now_ms(), line()));
        }
    }

    /// The run so far, as one number.
    pub fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// How much happened.
    pub fn events(&self) -> u64 {
        self.events.get()
    }

    /// The lines kept, if they were.
    pub fn lines(&self) -> Vec<String> {
        self.lines.as_ref().map(|lines| lines.borrow().clone()).unwrap_or_default()
    }
}
