//! Tests of the crate's public face, over real sockets.

mod answers;
mod clocks;
mod connections;
mod exchange;
mod fake;
mod golden;
mod health;
mod health_log;
mod health_probes;
mod linked;
mod links;
mod misbehaviour;
mod paths;
mod places;
mod pool;
mod purges;
mod requests;
mod room;
mod secrets;
mod serving;
mod strangers;
mod support;
mod told;
mod unsent;
mod urls;
