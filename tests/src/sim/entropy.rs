//! Randomness of the operating system, replaced on a thread that simulates.
//!
//! `HashMap`s, version 4 UUIDs, Raft's election timeouts and tokio's `select!` draw from the
//! system. On Linux all of that ends in the C library's `getrandom` or in `syscall`, and a program
//! that defines functions of these names is asked instead. On a thread that has called [`seed`] the
//! answers follow from the seed; every other call goes on to the C library.
//!
//! `HashMap` asks once a thread, so each run has a thread of its own.

use std::cell::Cell;
use std::ffi::{c_long, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::dice::Dice;

thread_local! {
    /// The generator's state; none on a thread that does not simulate.
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on this thread's randomness follows from `seed`.
pub fn seed(seed: u64) {
    STATE.set(Some(seed));
}

/// Fills `buffer` unless this thread draws from the system.
fn fill(buffer: *mut u8, bytes: usize) -> bool {
    let Some(state) = STATE.get() else { return false };
    let dice = Dice::new(state);
    for n in 0..bytes {
        let byte = dice.roll().to_le_bytes()[0];
        // SAFETY: the caller of getrandom owns `bytes` bytes from `buffer` on.
        unsafe { buffer.add(n).write(byte) };
    }
    STATE.set(Some(dice.roll()));
    true
}

/// The C library's own function of that name, found once.
fn original(known: &AtomicUsize, name: &std::ffi::CStr) -> usize {
    let found = known.load(Ordering::Relaxed);
    if found != 0 {
        return found;
    }
    // SAFETY: looking a name up among the loaded libraries has no preconditions.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
    assert_ne!(found, 0, "the C library has no {name:?}");
    known.store(found, Ordering::Relaxed);
    found
}

/// What the C library's `getrandom` promises.
///
/// # Safety
/// `buffer` is valid for writes of `bytes` bytes.
// SAFETY: no other function of this program has the name; the C library's is found through it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, bytes: usize, flags: c_uint) -> isize {
    static ORIGINAL: AtomicUsize = AtomicUsize::new(0);
    if fill(buffer.cast(), bytes) {
        return isize::try_from(bytes).unwrap_or(isize::MAX);
    }
    let original = original(&ORIGINAL, c"getrandom");
    // SAFETY: a name for a type does nothing.
    type GetRandom = unsafe extern "C" fn(*mut c_void, usize, c_uint) -> isize;
    // SAFETY: this is the function's type, and the caller keeps its contract.
    unsafe { std::mem::transmute::<usize, GetRandom>(original)(buffer, bytes, flags) }
}

/// What the C library's `syscall` promises. It takes any number of arguments; on the machines that
/// Rust's Linux targets run on the first six are passed in the same places as here.
///
/// # Safety
/// That of the system call `number`.
// SAFETY: no other function of this program has the name; the C library's is found through it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    static ORIGINAL: AtomicUsize = AtomicUsize::new(0);
    if number == libc::SYS_getrandom
        && let Ok(bytes) = usize::try_from(b)
        && fill(a as *mut u8, bytes)
    {
        return b;
    }
    let original = original(&ORIGINAL, c"syscall");
    // SAFETY: a name for a type does nothing.
    type SystemCall =
        unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;
    // SAFETY: this is how the function is called with six arguments, and the caller keeps the
    // contract of `number`.
    unsafe { std::mem::transmute::<usize, SystemCall>(original)(number, a, b, c, d, e, f) }
}
