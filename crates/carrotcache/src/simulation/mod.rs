//! A simulated cluster.

mod history;
