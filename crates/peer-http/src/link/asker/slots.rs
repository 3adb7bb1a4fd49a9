//! The gets under way, each in a slot.

use carrotcache_peer::Request;
use tokio::time::Instant;

use super::waiter::Waiter;
use crate::link::frame::Id;

/// Marks the end of the list of free slots.
const NONE: u32 = u32::MAX;

/// When more slots than this are all free, their memory is given back.
const KEPT_SLOTS: usize = 4_096;

/// The gets under way.
///
/// A slot is found by its number, without hashing, and is used again as soon as its get is over.
/// The generation in an [`Id`] tells the gets of one slot apart. It counts all gets of the link,
/// not those of the slot. So slots may be dropped and made anew, and an id comes again only after
/// four thousand million gets.
///
/// The free slots are a list through themselves, the last one freed first: few gets at a time touch
/// few slots, however many there once were.
pub(crate) struct Slots {
    slots: Vec<Slot>,
    /// The slot that is used next, from which the other free ones are found; [`NONE`] if none is
    /// free.
    free: u32,
    /// How many slots are taken.
    in_flight: u32,
    /// The generation of the get that is put next.
    generation: u32,
    max: u32,
}

/// A place for one get.
enum Slot {
    /// With the free slot after it.
    Free(u32),
    Taken {
        generation: u32,
        /// When the get is given up, unless it is [extended](Slots::extend) before.
        expires: Instant,
        waiter: Waiter,
    },
}

impl Slots {
    /// Returns room for up to `max` gets. Nothing is allocated for those that do not come.
    pub(crate) fn new(max: u32) -> Self {
        Self { slots: Vec::new(), free: NONE, in_flight: 0, generation: 0, max: max.min(NONE - 1) }
    }

    /// Returns how many gets are under way.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Returns whether there is no room for another get. [`put`](Self::put) does not ask.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight >= self.max
    }

    /// Returns the id of the get that is put next. The first one gets [`Id::FIRST`].
    ///
    /// So the frame can be written before the slot is taken, and a get that no frame can say is
    /// given back without a trace.
    pub(crate) fn next_id(&self) -> Id {
        let slot = match self.free {
            NONE => u32::try_from(self.slots.len()).unwrap_or(NONE),
            free => free,
        };
        Id { slot, generation: self.generation }
    }

    /// Puts a get into a slot, and returns its id. Costs a move; now and then room for more slots.
    pub(crate) fn put(&mut self, waiter: Waiter, expires: Instant) -> Id {
        let id = self.next_id();
        self.generation = id.generation.wrapping_add(1);
        self.in_flight += 1;
        let taken = Slot::Taken { generation: id.generation, expires, waiter };
        match self.slots.get_mut(index(id.slot)) {
            Some(place) => {
                if let Slot::Free(next) = std::mem::replace(place, taken) {
                    self.free = next;
                }
            }
            None => self.slots.push(taken),
        }
        id
    }

    /// Returns whether the get is still under way.
    pub(crate) fn has(&self, id: Id) -> bool {
        self.slots.get(index(id.slot)).is_some_and(|slot| slot.is(id))
    }

    /// Returns the request of a get; `None` if it is over already, or never was.
    pub(crate) fn request(&self, id: Id) -> Option<&Request> {
        match self.slots.get(index(id.slot)).filter(|slot| slot.is(id))? {
            Slot::Taken { waiter, .. } => Some(&waiter.request),
            Slot::Free(_) => None,
        }
    }

    /// Takes a get out of its slot; `None` if it is over already, or never was.
    ///
    /// Whoever has the waiter is the only one who can tell its completion. So a get is told once,
    /// whichever of answer, deadline and end of the link comes first.
    pub(crate) fn take(&mut self, id: Id) -> Option<Waiter> {
        let slot = self.slots.get_mut(index(id.slot)).filter(|slot| slot.is(id))?;
        let Slot::Taken { waiter, .. } = std::mem::replace(slot, Slot::Free(self.free)) else {
            return None;
        };
        self.free = id.slot;
        self.in_flight -= 1;
        if self.in_flight == 0 && self.slots.len() > KEPT_SLOTS {
            // What a burst needed is not kept. Generations go on, so old ids still find nobody.
            (self.slots, self.free) = (Vec::new(), NONE);
        }
        Some(waiter)
    }

    /// Lets a get wait for as long as its request says, since its owner is loading. Does nothing
    /// for a get that is over.
    pub(crate) fn extend(&mut self, id: Id) {
        if let Some(slot) = self.slots.get_mut(index(id.slot)).filter(|slot| slot.is(id))
            && let Slot::Taken { expires, waiter, .. } = slot
        {
            *expires = Instant::from_std(waiter.request.deadline);
        }
    }

    /// Takes out the gets whose time is over at `now`. Returns when the next one's will be.
    ///
    /// Looks at every slot. It is called at most once for each time that a timer fires.
    pub(crate) fn expire(&mut self, now: Instant, out: &mut Vec<(Id, Waiter)>) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for (slot, index) in (0..).zip(0..self.slots.len()) {
            // Taking out the last get may take the slots along.
            let Some(Slot::Taken { generation, expires, .. }) = self.slots.get(index) else {
                continue;
            };
            let (generation, expires) = (*generation, *expires);
            if expires > now {
                next = Some(next.map_or(expires, |next| next.min(expires)));
            } else {
                let id = Id { slot, generation };
                out.extend(self.take(id).map(|waiter| (id, waiter)));
            }
        }
        next
    }

    /// Takes out all gets. Their ids find nobody from then on.
    pub(crate) fn drain(&mut self) -> Vec<Waiter> {
        self.free = NONE;
        self.in_flight = 0;
        let waiters = self.slots.drain(..).filter_map(|slot| match slot {
            Slot::Free(_) => None,
            Slot::Taken { waiter, .. } => Some(waiter),
        });
        waiters.collect()
    }
}

impl Slot {
    fn is(&self, id: Id) -> bool {
        matches!(self, Self::Taken { generation, .. } if *generation == id.generation)
    }
}

/// Returns the index of a slot; one that no vector has, if this machine cannot count that far.
fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use carrotcache_peer::Completion;

    use super::*;

    fn waiter(key: &str) -> Waiter {
        let deadline = Instant::now() + Duration::from_secs(60);
        let completion = Completion::new(drop);
        Waiter::new(Request::new("g", key, deadline.into_std()), completion)
    }

    fn key(waiter: Option<Waiter>) -> Option<String> {
        waiter.map(|waiter| waiter.request.key.to_string())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[test]
    fn the_first_get_has_the_first_id() {
        assert_eq!(Slots::new(9).put(waiter("a"), soon()), Id::FIRST);
    }

    #[test]
    fn a_slot_is_used_again_and_its_old_id_finds_nobody() {
        let mut slots = Slots::new(9);
        let a = slots.put(waiter("a"), soon());
        assert_eq!(key(slots.take(a)).as_deref(), Some("a"));
        let b = slots.put(waiter("b"), soon());
        assert_eq!(a.slot, b.slot);
        assert!(!slots.has(a));
        assert_eq!(key(slots.take(a)), None);
        assert_eq!(key(slots.take(b)).as_deref(), Some("b"));
        assert_eq!(key(slots.take(b)), None);
        assert_eq!(slots.in_flight(), 0);
    }

    #[test]
    fn generations_wrap_and_still_differ_from_the_one_before() {
        let mut slots = Slots::new(9);
        slots.generation = u32::MAX;
        let last = slots.put(waiter("last"), soon());
        slots.take(last).unwrap();
        let first = slots.put(waiter("first"), soon());
        assert_eq!((last.generation, first.generation), (u32::MAX, 0));
        assert_eq!(key(slots.take(last)), None);
        assert_eq!(key(slots.take(first)).as_deref(), Some("first"));
    }

    #[test]
    fn ids_that_were_never_given_find_nobody() {
        let mut slots = Slots::new(9);
        slots.put(waiter("a"), soon());
        for slot in [0, 1, NONE] {
            let id = Id { slot, generation: 77 };
            assert!(!slots.has(id));
            assert_eq!(key(slots.take(id)), None);
            slots.extend(id);
        }
    }

    #[test]
    fn a_burst_of_gets_leaves_no_memory_behind_and_no_old_id_finds_anybody() {
        let mut slots = Slots::new(NONE);
        let ids: Vec<Id> = (0..=KEPT_SLOTS).map(|_| slots.put(waiter("old"), soon())).collect();
        for id in &ids {
            slots.take(*id).unwrap();
        }
        assert_eq!(slots.slots.capacity(), 0);
        let new = slots.put(waiter("new"), soon());
        assert!(!ids.contains(&new));
        for id in ids {
            assert_eq!(key(slots.take(id)), None);
        }
        assert_eq!(key(slots.take(new)).as_deref(), Some("new"));
    }

    #[test]
    fn what_expires_is_taken_out_and_the_next_time_is_known() {
        let mut slots = Slots::new(9);
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        for (name, millis) in [("a", 1), ("b", 5), ("c", 2), ("d", 4)] {
            slots.put(waiter(name), at(millis));
        }
        let mut out = Vec::new();
        assert_eq!(slots.expire(at(2), &mut out), Some(at(4)));
        let names: Vec<_> = out.iter().map(|(_, waiter)| &*waiter.request.key).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(slots.in_flight(), 2);
        assert_eq!(slots.expire(at(5), &mut out), None);
        assert_eq!(slots.in_flight(), 0);
    }
}
