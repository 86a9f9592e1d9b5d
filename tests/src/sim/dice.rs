//! Where a simulation's decisions come from: splitmix64, so that a seed means the same for ever.

use std::cell::Cell;
use std::time::Duration;

/// A generator of decisions. Clones would repeat each other, so it is not `Clone`.
#[derive(Debug)]
pub struct Dice(Cell<u64>);

impl Dice {
    /// A generator that `seed` decides.
    pub fn new(seed: u64) -> Dice {
        Dice(Cell::new(seed))
    }

    /// A generator for one part of the simulation, so that another part can change without it.
    pub fn fork(&self) -> Dice {
        Dice::new(self.roll())
    }

    /// Any number.
    pub fn roll(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// Whether something happens that happens once in `odds` times.
    pub fn one_in(&self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        let index = self.below(from.len() as u64);
        &from[usize::try_from(index).unwrap_or(0)]
    }

    /// These in another order.
    pub fn shuffled<T: Clone>(&self, from: &[T]) -> Vec<T> {
        let mut left = from.to_vec();
        let mut shuffled = Vec::new();
        while !left.is_empty() {
            let index = self.below(left.len() as u64);
            shuffled.push(left.swap_remove(usize::try_from(index).unwrap_or(0)));
        }
        shuffled
    }

    /// A time of `from` to `to` milliseconds.
    pub fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from + 1))
    }
}
