//! What happened in a simulated cluster, as it is seen from outside, and whether it may happen.

mod checker;
mod event;
mod floors;
mod seen;
#[cfg(test)]
mod tests;

pub(super) use self::checker::{Checked, check};
pub(super) use self::event::{
    Event, Got, History, Id, Key, Keys, Label, Lifetime, Loaded, Origin, Process, Removed,
};
