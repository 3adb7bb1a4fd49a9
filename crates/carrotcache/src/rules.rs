//! Which rules of removal hold, and what may happen between two steps.

/// The rules of removal: all of them, always, but in tests that show what each is there for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// A second round follows the first.
    pub(crate) second_round: bool,
    /// What a flight brings is not kept if its key was purged meanwhile.
    pub(crate) void: bool,
    /// A purge takes flights out of the table, so that nobody joins them.
    pub(crate) detached: bool,
    /// Nothing is kept of a key that is closed.
    pub(crate) closed: bool,
    /// A purge marks the flights again when it has deleted.
    pub(crate) second_mark: bool,
    /// A peer that is owed a purge is told before it is asked.
    pub(crate) told_before_asked: bool,
    /// So is a peer that is asked because the owner cannot be.
    pub(crate) stand_in_told_before_asked: bool,
    /// All who took part in a remove remember who did not, and not the remover alone.
    pub(crate) all_remember: bool,
    /// A set carries its value in its first attempt only.
    pub(crate) set_in_first_attempt: bool,
    /// What is closed is looked for at no peer, and shown to none that looks.
    pub(crate) looks_only_while_open: bool,
}

impl Rules {
    /// The rules as they are.
    pub(crate) const ALL: Self = Self {
        second_round: true,
        void: true,
        detached: true,
        closed: true,
        second_mark: true,
        told_before_asked: true,
        stand_in_told_before_asked: true,
        all_remember: true,
        set_in_first_attempt: true,
        looks_only_while_open: true,
    };
}

/// Stands between two steps between which other threads may do anything. A simulated cluster has one
/// thread; there they do it here.
#[inline]
pub(crate) fn meanwhile() {
    #[cfg(test)]
    other_threads::go_on();
}

#[cfg(test)]
pub(crate) mod other_threads {
    use std::cell::RefCell;
    use std::rc::Rc;

    thread_local! {
        static DOES: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
    }

    /// Has this done, on this thread, wherever other threads may do anything; until what is returned
    /// is dropped.
    pub(crate) fn do_this(what: impl Fn() + 'static) -> Until {
        DOES.set(Some(Rc::new(what)));
        Until
    }

    /// While it is there, other threads do something.
    pub(crate) struct Until;

    impl Drop for Until {
        fn drop(&mut self) {
            DOES.take();
        }
    }

    pub(super) fn go_on() {
        // Nothing comes between the steps of what they do.
        if let Some(does) = DOES.take() {
            does();
            DOES.set(Some(does));
        }
    }
}
