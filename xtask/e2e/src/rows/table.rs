//! Which rows there are.

use rand::RngExt;

/// How many rows: few enough that each is often in caches when it changes.
pub(super) const ROWS: u64 = 64;

/// Returns the key of some row.
pub(super) fn any_row(rng: &mut impl RngExt) -> u64 {
    rng.random_range(0..ROWS)
}
