//! HTTP: how a peer is asked, and how this node answers.

pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod connect;
mod connection;
mod connections;
mod guarded;
mod listener;
mod lookup;
mod meter;
mod patience;
mod places;
mod race;
mod reply;
mod room;
pub(crate) mod service;
pub(crate) mod socket;
mod stage;
mod sweeper;
pub(crate) mod switch;
pub(crate) mod unsent;
mod vigil;
