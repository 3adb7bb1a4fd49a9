//! The kinds of frames, as numbers that never change.

/// Both ways, first of all: who is here, and what is taken. See [`hello`](super::hello).
pub(crate) const HELLO: u8 = 1;
/// To the owner: a get. See [`request`](super::request).
pub(crate) const GET: u8 = 2;
/// To the owner: several gets of one group.
pub(crate) const GET_MANY: u8 = 3;
/// To the owner: what is cached of this key? Nothing is loaded for it.
pub(crate) const LOOK: u8 = 4;
/// To the owner: forget these keys. See [`purge`](super::purge).
pub(crate) const PURGE: u8 = 5;
/// To the owner: nobody waits for this get any more.
pub(crate) const CANCEL: u8 = 6;
/// To the owner: are you there?
pub(crate) const PING: u8 = 7;

/// To the asker: a value. See [`reply`](super::reply).
pub(crate) const VALUE: u8 = 16;
/// To the asker: why there is no value.
pub(crate) const REFUSAL: u8 = 17;
/// To the asker: the get is being loaded, and may take as long as it said that it waits.
pub(crate) const LOADING: u8 = 18;
/// To the asker: what became of a purge.
pub(crate) const PURGED: u8 = 19;
/// To the asker: yes, I am there.
pub(crate) const PONG: u8 = 20;
/// Both ways: no new gets, please; those under way are answered.
pub(crate) const GOAWAY: u8 = 21;
