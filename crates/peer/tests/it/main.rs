//! What the two sides of a transport can rely on.

mod errors;
mod seam;
