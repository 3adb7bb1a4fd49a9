//! `node` as other programs see it: real processes, asked over HTTP.

mod answers;
mod ending;
mod limits;
mod process;
mod refusals;
mod rings;
mod sample;
