//! The looks that wait for the owner's HELLO, which says whether it takes any.
//!
//! From then on a look is a get like others: it has a slot, a deadline, and one answer.

use carrotcache_peer::{PeerError, PeerErrorKind, Request};
use tokio::time::Instant;

use super::slots::Slots;
use super::waiter::millis_left;
use crate::link::frame::Id;
use crate::link::frame::hello::Hello;
use crate::link::frame::request::{Get, GetKind, encode_look};

/// The looks that are under way and not sent.
#[derive(Default)]
pub(super) struct Looks(Vec<Id>);

impl Looks {
    /// Keeps a look that has its slot already.
    pub(super) fn keep(&mut self, id: Id) {
        self.0.push(id);
    }

    /// Writes those that were kept, for an owner that has said `hello`. Returns those that it does not
    /// take. One whose time was over meanwhile is in neither.
    pub(super) fn send(
        &mut self,
        out: &mut Vec<u8>,
        slots: &Slots,
        hello: Hello,
        now: Instant,
    ) -> Vec<(Id, PeerError)> {
        let kept = std::mem::take(&mut self.0).into_iter();
        let asked = kept.filter_map(|id| Some((id, slots.request(id)?)));
        let unsent =
            asked.filter(|(id, request)| !(hello.takes_looks && write(out, *id, request, now)));
        unsent.map(|(id, _)| (id, PeerErrorKind::NotCached.into())).collect()
    }
}

/// Appends the frame of a look to `out`. Returns whether it did: not if the group is too long for one.
pub(super) fn write(out: &mut Vec<u8>, id: Id, request: &Request, now: Instant) -> bool {
    let Request { group, key, deadline, .. } = request;
    let millis_left = millis_left(Instant::from_std(*deadline), now);
    encode_look(out, id, Get { millis_left, group, key, kind: GetKind::default() })
}
