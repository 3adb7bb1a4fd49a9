//! The behaviour of single flights, seen from outside.

mod group;
mod seam;
mod util;
