//! What travels between nodes, from the first byte to the last.

pub(crate) mod about;
mod generated;
pub(crate) mod head;
pub(crate) mod message;
pub(crate) mod outcome;
pub mod path;
pub(crate) mod upgrade;
