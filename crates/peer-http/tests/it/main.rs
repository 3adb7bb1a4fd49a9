//! Tests of the crate's public face, over real sockets.

mod answers;
#[cfg(feature = "tls")]
mod certificates;
mod clocks;
mod connections;
mod exchange;
mod fake;
mod former;
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
#[cfg(feature = "tls")]
mod tls;
mod told;
mod unsent;
mod urls;
