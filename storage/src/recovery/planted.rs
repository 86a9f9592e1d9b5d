//! A mistake that the simulation must find: recovery that cuts a log at the first frame that does
//! not verify, as if whatever follows had never been flushed.

use std::cell::Cell;

thread_local! {
    static CUT_AT_FIRST_BAD_CRC: Cell<bool> = const { Cell::new(false) };
}

/// From now on every log that this thread opens is cut so.
pub fn cut_at_first_bad_crc() {
    CUT_AT_FIRST_BAD_CRC.set(true);
}

pub(crate) fn cuts_at_first_bad_crc() -> bool {
    CUT_AT_FIRST_BAD_CRC.get()
}
