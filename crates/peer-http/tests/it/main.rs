//! Tests of the crate's public face, over real sockets.

mod answers;
mod clocks;
mod exchange;
mod golden;
mod paths;
mod places;
mod pool;
mod requests;
mod serving;
mod support;
mod unsent;
mod urls;
