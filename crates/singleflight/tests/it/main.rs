//! The behaviour of single flights, seen from outside.

mod allocations;
mod foreign;
mod group;
mod interleavings;
mod runtimes;
mod seam;
mod sync;
mod util;
mod void;
