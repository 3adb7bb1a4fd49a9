//! Code of the user's that must not panic here.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what may be the user's code, and lets no panic of it pass, not even one of the panic's own
/// payload.
pub(crate) fn quietly(code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(code))
        && let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        std::mem::forget(again);
    }
}
