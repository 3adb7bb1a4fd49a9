//! HTTP: how a peer is asked, and how this node answers.

pub(crate) mod client;
mod connection;
mod connections;
mod listener;
pub(crate) mod service;
