//! How much of what was not yet synced a power cut leaves.

use super::random::Random;

/// Decided anew for each file and for the names, so that the plain outcomes (nothing, everything,
/// everything up to a moment) come up as often as the torn ones.
pub(super) enum Survival {
    Nothing,
    Everything,
    /// Written back in order, up to and including this change.
    Until(u64),
    /// Every 4 KiB page (or name change) decided by itself.
    Pages(Random),
    /// Every 512-byte sector decided by itself.
    Sectors(Random),
}

impl Survival {
    /// Draws one; `changes` is the range of change numbers that are at stake.
    pub(super) fn draw(random: &mut Random, changes: std::ops::Range<u64>) -> Self {
        match random.below(8) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2 if !changes.is_empty() => {
                Survival::Until(changes.start + random.below(changes.end - changes.start))
            }
            2 | 3 => Survival::Pages(Random::new(random.next())),
            _ => Survival::Sectors(Random::new(random.next())),
        }
    }

    /// Whether atomic pieces smaller than a page are decided apart.
    pub(super) fn tears_pages(&self) -> bool {
        matches!(self, Survival::Sectors(_))
    }

    /// Which of a piece's versions is found afterwards: `None` for the durable one, otherwise an
    /// index into `unsynced`, the change numbers of its later versions in ascending order.
    pub(super) fn choose(&mut self, unsynced: &[u64]) -> Option<usize> {
        match self {
            Survival::Nothing => None,
            Survival::Everything => unsynced.len().checked_sub(1),
            Survival::Until(last) => unsynced.iter().rposition(|change| change <= last),
            Survival::Pages(random) | Survival::Sectors(random) => {
                let pick = random.below(unsynced.len() as u64 + 1) as usize;
                pick.checked_sub(1)
            }
        }
    }
}
