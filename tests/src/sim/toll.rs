//! How often each misfortune struck in a run: a simulation that spares its brokers finds nothing.
//!
//! What a disk does counts when it is done to an operation, not when it is planned.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What can go wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misfortune {
    /// A process is killed.
    Kill,
    /// A process is asked to stop.
    Stop,
    /// A process stands still for a while.
    Pause,
    /// One machine loses its power.
    PowerOfOne,
    /// Some machines do, at once.
    PowerOfSeveral,
    /// Every machine does, at once.
    PowerOfAll,
    /// A clock jumps.
    ClockJump,
    /// A broker cannot reach any other, nor they it.
    Isolation,
    /// The brokers fall into two halves.
    Split,
    /// A link works in one direction only.
    OneWay,
    /// A link comes and goes.
    Flapping,
    /// A packet takes long.
    Delay,
    /// A packet is lost, and sent again.
    Loss,
    /// A connection breaks.
    Reset,
    /// A disk takes long.
    SlowDisk,
    /// There is no space for a write.
    FullDisk,
    /// A write fails.
    FailedWrite,
    /// A flush fails.
    FailedSync,
    /// A sector cannot be read.
    FailedRead,
    /// A crash leaves a part of a write.
    TornWrite,
    /// A write lands elsewhere.
    MisdirectedWrite,
    /// A bit flips for good.
    FlippedBit,
    /// A partition gets other replicas.
    Reassignment,
}

impl Misfortune {
    /// All of them, with their names.
    pub const ALL: [(Misfortune, &str); 23] = [
        (Misfortune::Kill, "kill"),
        (Misfortune::Stop, "stop"),
        (Misfortune::Pause, "pause"),
        (Misfortune::PowerOfOne, "power loss of one"),
        (Misfortune::PowerOfSeveral, "power loss of several"),
        (Misfortune::PowerOfAll, "power loss of all"),
        (Misfortune::ClockJump, "clock jump"),
        (Misfortune::Isolation, "isolation"),
        (Misfortune::Split, "split"),
        (Misfortune::OneWay, "one-way cut"),
        (Misfortune::Flapping, "flapping link"),
        (Misfortune::Delay, "delayed packet"),
        (Misfortune::Loss, "lost packet"),
        (Misfortune::Reset, "reset"),
        (Misfortune::SlowDisk, "slow disk"),
        (Misfortune::FullDisk, "ENOSPC"),
        (Misfortune::FailedWrite, "EIO on write"),
        (Misfortune::FailedSync, "EIO on sync"),
        (Misfortune::FailedRead, "EIO on read"),
        (Misfortune::TornWrite, "torn write"),
        (Misfortune::MisdirectedWrite, "misdirected write"),
        (Misfortune::FlippedBit, "flipped bit"),
        (Misfortune::Reassignment, "reassignment"),
    ];
}

/// How often each has struck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toll(BTreeMap<Misfortune, u64>);

impl Toll {
    /// It has struck so many times more.
    pub fn add(&mut self, misfortune: Misfortune, times: u64) {
        *self.0.entry(misfortune).or_default() += times;
    }

    /// What another run suffered is added.
    pub fn add_all(&mut self, other: &Toll) {
        other.0.iter().for_each(|(misfortune, times)| self.add(*misfortune, *times));
    }

    /// How often it has struck.
    pub fn of(&self, misfortune: Misfortune) -> u64 {
        self.0.get(&misfortune).copied().unwrap_or(0)
    }
}

/// `kill 3, stop 0, …`: all of them, also those that never struck.
impl fmt::Display for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (misfortune, name)) in Misfortune::ALL.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {}", self.of(*misfortune))?;
        }
        Ok(())
    }
}

/// Not a line that [`Toll`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of misfortunes and how often they struck")]
pub struct NotAToll;

impl FromStr for Toll {
    type Err = NotAToll;

    fn from_str(line: &str) -> Result<Toll, NotAToll> {
        let mut toll = Toll::default();
        for part in line.split(", ") {
            let (found, times) = part.rsplit_once(' ').ok_or(NotAToll)?;
            let known = Misfortune::ALL.iter().find(|(_, name)| *name == found).ok_or(NotAToll)?;
            toll.add(known.0, times.parse().map_err(|_| NotAToll)?);
        }
        Ok(toll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_what_was_written() {
        let mut toll = Toll::default();
        for (times, (misfortune, _)) in (0..).zip(Misfortune::ALL) {
            toll.add(misfortune, times);
        }
        assert_eq!(toll.to_string().parse(), Ok(toll.clone()));
        assert_eq!("kill 3, kil 1".parse::<Toll>(), Err(NotAToll));
        let mut twice = toll.clone();
        twice.add_all(&toll);
        assert_eq!(twice.of(Misfortune::Reassignment), 44);
    }
}
