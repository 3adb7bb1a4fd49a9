//! `node` as other programs see it: real processes, asked over HTTP.

mod answers;
mod changes;
mod ending;
mod limits;
mod options;
mod peers_file;
mod process;
mod refusals;
mod rings;
mod sample;
mod trust;
