//! Which flights the current thread is leading right now.
//!
//! Work that waits for its own flight would wait for ever. Its call arrives while the work is
//! being polled, on the same thread, one frame or more further up the stack: so it is enough to
//! note the flight for as long as its work has the thread.

use std::any::Any;
use std::cell::Cell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::Error;

/// How deep the work of one flight can call for another and be noted. Fixed, so that noting costs
/// two stores and no allocation; nobody nests loads so deep.
const DEPTH: usize = 16;

struct Nest {
    depth: Cell<usize>,
    flights: [Cell<usize>; DEPTH],
}

thread_local! {
    static NEST: Nest = const { Nest { depth: Cell::new(0), flights: [const { Cell::new(0) }; DEPTH] } };
}

/// Calls `work` of `flight`, which the thread leads meanwhile, and turns a panic into an error.
pub(crate) fn lead<F, E, R>(flight: &Arc<F>, work: impl FnOnce() -> R) -> Result<R, Error<E>> {
    let depth = NEST.with(|nest| {
        let depth = nest.depth.get();
        if let Some(place) = nest.flights.get(depth) {
            place.set(address(flight));
        }
        nest.depth.replace(depth + 1)
    });
    // What a panic leaves behind is dropped and never called again, so nobody can see it.
    let result = catch_unwind(AssertUnwindSafe(work));
    NEST.with(|nest| nest.depth.set(depth));
    result.map_err(caught)
}

/// Makes an error of a panic. Its payload's drop may panic too, and the payload of that.
fn caught<E>(panic: Box<dyn Any + Send>) -> Error<E> {
    let error = Error::caught(&*panic);
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(again);
    }
    error
}

/// Returns whether this is called by the work of `flight`.
pub(crate) fn leads<F>(flight: &Arc<F>) -> bool {
    NEST.with(|nest| {
        let mut led = nest.flights.iter().take(nest.depth.get());
        led.any(|place| place.get() == address(flight))
    })
}

/// Flights are told apart by where they are, which stays the same while someone leads them.
fn address<F>(flight: &Arc<F>) -> usize {
    Arc::as_ptr(flight).addr()
}
