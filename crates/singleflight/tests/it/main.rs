//! The behaviour of single flights, seen from outside.

mod allocations;
mod foreign;
mod group;
mod interleavings;
mod seam;
mod sync;
mod util;
