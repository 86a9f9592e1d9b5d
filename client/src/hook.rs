//! Calling the code that an application has hung into a producer or a consumer.
//!
//! Whatever goes wrong in there is logged and passed over: a hook may fail or panic, and still no
//! record is lost for it, nor does a task of the client end.

use std::error::Error;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why an interceptor could not do its work: any error. It is logged, and the record goes its way
/// as if the interceptor were not there.
pub type HookError = Box<dyn Error + Send + Sync>;

/// Calls `hook` of `interceptor`. Returns whether it did its work.
pub(crate) fn call(
    hook: &'static str,
    interceptor: &dyn Debug,
    work: impl FnOnce() -> Result<(), HookError>,
) -> bool {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => tracing::warn!(hook, ?interceptor, %error, "an interceptor failed"),
        Err(panic) => {
            let reason = panic.downcast_ref::<&str>().copied();
            let reason = reason.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(hook, ?interceptor, reason, "an interceptor panicked");
        }
    }
    false
}
