//! What the two sides of a transport can rely on.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod errors;
mod limits;
mod seam;
