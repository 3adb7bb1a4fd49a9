//! HTTP: how a peer is asked, and how this node answers.

pub(crate) mod client;
pub(crate) mod connect;
mod connection;
mod connections;
mod listener;
mod lookup;
mod race;
pub(crate) mod service;
