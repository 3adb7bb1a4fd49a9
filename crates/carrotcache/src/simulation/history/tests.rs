//! The checker takes what may happen, and refuses each kind of what may not.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

const KEY: Key = Key(0);
const OTHER: Key = Key(1);
const A: Process = Process(1);
const B: Process = Process(2);
/// A later process of the node that `B` was.
const B_AGAIN: Process = Process(3);

const FOR_GOOD: Lifetime = None;
const SECOND: Duration = Duration::from_secs(1);

/// Tells a history step by step, a millisecond each.
#[derive(Default)]
struct Story {
    history: History,
    now: Duration,
    last_id: Id,
}

impl Story {
    /// Two nodes that list each other.
    fn new() -> Self {
        let mut story = Self::default();
        story.starts(A, 0, &[0, 1]);
        story.starts(B, 1, &[0, 1]);
        story
    }

    /// Two nodes, of which the second is listed by nobody at first: lists change in this story.
    fn with_a_stranger() -> Self {
        let mut story = Self::default();
        story.starts(A, 0, &[0]);
        story.starts(B, 1, &[0, 1]);
        story
    }

    fn tell(&mut self, event: Event) {
        self.now += Duration::from_millis(1);
        self.history.events.push((self.now, event));
    }

    fn id(&mut self) -> Id {
        self.last_id += 1;
        self.last_id
    }

    fn starts(&mut self, process: Process, label: usize, lists: &[usize]) {
        self.tell(Event::Starts { process, label: Label(label), lists: labels(lists) });
    }

    fn lists(&mut self, process: Process, lists: &[usize]) {
        self.tell(Event::Lists { process, lists: labels(lists) });
    }

    fn load_begins(&mut self, process: Process, key: Key) -> Id {
        let load = self.id();
        self.tell(Event::LoadBegins { load, process, key });
        load
    }

    fn load(&mut self, process: Process, loaded: Loaded) -> Id {
        let load = self.load_begins(process, KEY);
        self.tell(Event::LoadEnds { load, loaded });
        load
    }

    fn get_begins(&mut self, process: Process) -> Id {
        let get = self.id();
        self.tell(Event::GetBegins { get, process, key: KEY });
        get
    }

    fn get_ends(&mut self, get: Id, got: Got) {
        self.tell(Event::GetEnds { get, got });
    }

    fn get(&mut self, process: Process, got: Got) {
        let get = self.get_begins(process);
        self.get_ends(get, got);
    }

    fn remove_begins(&mut self, process: Process, keys: Keys, sets: Option<Lifetime>) -> Id {
        let remove = self.id();
        self.tell(Event::RemoveBegins { remove, process, keys, sets });
        remove
    }

    fn remove_ends(&mut self, remove: Id, removed: Removed) {
        self.tell(Event::RemoveEnds { remove, removed });
    }

    fn remove(&mut self, process: Process, removed: Removed) -> Id {
        let remove = self.remove_begins(process, this_key(), None);
        self.remove_ends(remove, removed);
        remove
    }

    fn set(&mut self, process: Process) -> Id {
        let set = self.remove_begins(process, this_key(), Some(FOR_GOOD));
        self.remove_ends(set, Removed::Everywhere);
        set
    }

    fn told(&mut self, from: Process, to: Process) {
        let tell = self.id();
        self.tell(Event::TellBegins { tell, process: from, keys: this_key() });
        self.tell(Event::TellEnds { tell, process: to });
    }

    #[track_caller]
    fn may_happen(&self) -> Checked {
        check(&self.history).unwrap_or_else(|violation| panic!("{violation}\n{}", self.history))
    }

    /// Checks that the last event may not happen, though all before it may.
    #[track_caller]
    fn may_not_happen(mut self, why: &str) {
        let violation = check(&self.history).expect_err("the history is taken for possible");
        assert_eq!(violation.at, self.history.events.len() - 1, "{violation}\n{}", self.history);
        assert!(violation.why.contains(why), "{violation}");
        self.history.events.pop();
        self.may_happen();
    }
}

fn labels(of: &[usize]) -> BTreeSet<Label> {
    of.iter().copied().map(Label).collect()
}

fn this_key() -> Keys {
    Keys::These(BTreeSet::from([KEY]))
}

fn value(load: Id) -> Got {
    Got::Value(KEY, Origin::Load(load))
}

const GOOD: Loaded = Loaded::Value(FOR_GOOD);

fn all_but(label: usize) -> Removed {
    Removed::ButFor { unreached: labels(&[label]), stale_for_at_most: None }
}

#[test]
fn what_a_load_brought_or_a_user_set_may_be_returned_by_all_nodes() {
    let mut story = Story::new();
    let load = story.load(A, GOOD);
    story.get(A, value(load));
    story.get(B, value(load));
    let set = story.set(B);
    story.get(A, Got::Value(KEY, Origin::Set(set)));
    story.get(A, Got::Failed);
    let gone = story.load(A, Loaded::Absent(FOR_GOOD));
    story.get(B, Got::Absent);
    assert_eq!(gone, story.last_id - 1);
    let checked = story.may_happen();
    assert_eq!((checked.gets, checked.promised, checked.complete), (4, 2, 1));
}

#[test]
fn a_value_of_another_key_is_refused() {
    let mut story = Story::new();
    let load = story.load_begins(A, OTHER);
    story.tell(Event::LoadEnds { load, loaded: GOOD });
    story.get(A, Got::Value(OTHER, Origin::Load(load)));
    story.may_not_happen("not what was asked for");
}

#[test]
fn a_value_that_nobody_loaded_or_set_is_refused() {
    let mut story = Story::new();
    story.get(A, value(77));
    story.may_not_happen("no such load");

    let mut story = Story::new();
    let load = story.load_begins(A, OTHER);
    story.tell(Event::LoadEnds { load, loaded: GOOD });
    story.get(A, value(load));
    story.may_not_happen("no such load");

    let mut story = Story::new();
    let load = story.load_begins(A, KEY);
    story.get(A, value(load));
    story.may_not_happen("come to None");

    let mut story = Story::new();
    let load = story.load(A, Loaded::Failed);
    story.get(A, value(load));
    story.may_not_happen("come to Some(Failed)");

    let mut story = Story::new();
    let remove = story.remove(A, Removed::Everywhere);
    story.get(A, Got::Value(KEY, Origin::Set(remove)));
    story.may_not_happen("nobody has set it");

    let mut story = Story::new();
    story.load(A, GOOD);
    story.get(A, Got::Absent);
    story.may_not_happen("no load has found");
}

#[test]
fn a_removed_value_is_refused_on_every_listed_node() {
    for process in [A, B] {
        let mut story = Story::new();
        let load = story.load(A, GOOD);
        story.remove(A, Removed::Everywhere);
        story.get(process, value(load));
        story.may_not_happen("stale");
    }
}

#[test]
fn a_load_counts_from_its_begin() {
    let mut story = Story::new();
    let load = story.load_begins(A, KEY);
    story.remove(B, Removed::Everywhere);
    story.tell(Event::LoadEnds { load, loaded: GOOD });
    story.get(A, value(load));
    story.may_not_happen("stale");

    let mut story = Story::new();
    let remove = story.remove_begins(B, this_key(), None);
    let load = story.load(A, GOOD);
    story.remove_ends(remove, Removed::Everywhere);
    story.get(A, value(load));
    story.may_happen();
}

#[test]
fn a_get_that_began_before_the_remove_returned_may_still_return_the_old_value() {
    let mut story = Story::new();
    let load = story.load(A, GOOD);
    let remove = story.remove_begins(A, this_key(), None);
    let get = story.get_begins(B);
    story.remove_ends(remove, Removed::Everywhere);
    story.get_ends(get, value(load));
    story.may_happen();
}

#[test]
fn a_remove_that_was_dropped_or_failed_promises_nothing() {
    let mut story = Story::new();
    let load = story.load(A, GOOD);
    story.remove_begins(A, this_key(), None);
    story.remove(B, Removed::Failed);
    story.get(A, value(load));
    assert_eq!(story.may_happen().promised, 0);
}

#[test]
fn a_clear_is_of_all_keys_and_a_remove_of_its_own() {
    let mut story = Story::new();
    let load = story.load(A, GOOD);
    let others = Keys::These(BTreeSet::from([OTHER]));
    let remove = story.remove_begins(A, others, None);
    story.remove_ends(remove, Removed::Everywhere);
    story.get(B, value(load));
    let clear = story.remove_begins(A, Keys::All, None);
    story.remove_ends(clear, Removed::Everywhere);
    story.get(B, value(load));
    story.may_not_happen("stale");
}

#[test]
fn an_older_set_and_an_older_absence_are_stale_too() {
    let mut story = Story::new();
    let (older, newer) = (story.set(A), story.set(B));
    story.get(A, Got::Value(KEY, Origin::Set(newer)));
    story.get(B, Got::Value(KEY, Origin::Set(older)));
    story.may_not_happen("stale");

    let mut story = Story::new();
    story.load(A, Loaded::Absent(FOR_GOOD));
    story.remove(A, Removed::Everywhere);
    story.get(A, Got::Absent);
    story.may_not_happen("stale");
}

#[test]
fn the_unreached_are_promised_nothing_and_the_others_everything() {
    let mut story = Story::new();
    let load = story.load(A, GOOD);
    story.remove(A, all_but(1));
    story.get(B, value(load));
    story.get(A, value(load));
    story.may_not_happen("stale");
}

#[test]
fn the_unreached_are_stale_for_no_longer_than_was_said() {
    let mut story = Story::new();
    let load = story.load(A, GOOD);
    let stale_for_at_most = Some(SECOND);
    story.remove(A, Removed::ButFor { unreached: labels(&[1]), stale_for_at_most });
    story.get(B, value(load));
    story.now += SECOND;
    story.get(B, value(load));
    story.may_not_happen("stale");
}

#[test]
fn a_later_process_is_promised_something_only_where_the_lists_never_change() {
    for is_fixed in [true, false] {
        let mut story = Story::new();
        let load = story.load(A, GOOD);
        story.remove(A, Removed::Everywhere);
        if !is_fixed {
            story.lists(A, &[0]);
        }
        story.tell(Event::Ends { process: B });
        story.starts(B_AGAIN, 1, &[0, 1]);
        story.get(B_AGAIN, value(load));
        if is_fixed {
            story.may_not_happen("stale");
        } else {
            story.may_happen();
        }
    }
}

#[test]
fn a_process_that_began_meanwhile_may_have_been_missed_where_lists_change() {
    let mut story = Story::with_a_stranger();
    story.lists(A, &[0, 1]);
    let load = story.load(A, GOOD);
    let remove = story.remove_begins(A, this_key(), None);
    story.tell(Event::Ends { process: B });
    story.starts(B_AGAIN, 1, &[0, 1]);
    story.remove_ends(remove, Removed::Everywhere);
    story.get(B_AGAIN, value(load));
    story.may_happen();
}

#[test]
fn a_remove_speaks_for_the_nodes_that_it_listed_all_the_while() {
    for (first, then) in [(&[0][..], &[0, 1][..]), (&[0, 1], &[0])] {
        let mut story = Story::with_a_stranger();
        story.lists(A, first);
        let load = story.load(A, GOOD);
        let remove = story.remove_begins(A, this_key(), None);
        story.lists(A, then);
        story.remove_ends(remove, Removed::Everywhere);
        story.get(B, value(load));
        story.may_happen();
        story.get(A, value(load));
        story.may_not_happen("stale");
    }
}

#[test]
fn who_is_told_is_promised_what_the_teller_was_when_it_told() {
    let mut story = Story::with_a_stranger();
    let load = story.load(B, GOOD);
    story.remove(A, Removed::Everywhere);
    story.get(B, value(load));
    story.told(A, B);
    let newer = story.load(A, GOOD);
    story.get(B, value(newer));
    story.remove(A, Removed::Everywhere);
    story.get(B, value(newer));
    story.get(B, value(load));
    story.may_not_happen("stale");
}

#[test]
fn an_expired_value_is_refused() {
    let mut story = Story::new();
    story.history.grace = SECOND;
    let load = story.load(A, Loaded::Value(Some(SECOND)));
    story.now += 2 * SECOND - Duration::from_millis(2);
    story.get(B, value(load));
    story.get(B, value(load));
    story.may_not_happen("expired");
}

#[test]
fn an_expired_absence_is_refused_without_a_grace() {
    let mut story = Story::new();
    story.history.grace = SECOND;
    story.load(A, Loaded::Absent(Some(SECOND)));
    story.get(B, Got::Absent);
    story.now += SECOND;
    story.get(B, Got::Absent);
    story.may_not_happen("expired");
}

#[test]
fn who_waits_may_get_what_expires_on_its_way_or_at_once() {
    let mut story = Story::new();
    let (first, second) = (story.get_begins(B), story.get_begins(A));
    let load = story.load(A, Loaded::Value(Some(Duration::ZERO)));
    story.get_ends(second, value(load));
    story.now += SECOND;
    story.get_ends(first, value(load));
    story.may_happen();

    for lifetime in [Duration::ZERO, SECOND] {
        let mut story = Story::new();
        let asked = story.now;
        let load = story.load(A, Loaded::Value(Some(lifetime)));
        story.now += SECOND;
        let get = story.get_begins(B);
        story.tell(Event::Arrives {
            process: B,
            key: KEY,
            got: value(load),
            asked,
            stands_in: false,
        });
        story.get_ends(get, value(load));
        story.may_happen();
    }
}

#[test]
fn what_a_peer_had_no_longer_when_it_was_asked_is_refused() {
    let mut story = Story::new();
    let load = story.load(A, Loaded::Value(Some(SECOND)));
    story.now += SECOND;
    let (asked, get) = (story.now, story.get_begins(B));
    story.tell(Event::Arrives { process: B, key: KEY, got: value(load), asked, stands_in: false });
    story.get_ends(get, value(load));
    story.may_not_happen("expired");
}

#[test]
fn all_have_been_told_in_the_end_where_nobody_comes_or_goes() {
    for begins_anew in [true, false] {
        let mut story = Story::new();
        let load = story.load(A, GOOD);
        story.remove(A, all_but(1));
        story.get(B, value(load));
        let process = if begins_anew { B_AGAIN } else { B };
        if begins_anew {
            story.tell(Event::Ends { process: B });
            story.starts(B_AGAIN, 1, &[0, 1]);
        }
        story.tell(Event::Rests);
        story.get(process, value(load));
        if begins_anew {
            story.may_happen();
        } else {
            story.may_not_happen("stale");
        }
    }
}

#[test]
fn a_second_load_of_a_key_on_a_node_is_refused() {
    let mut story = Story::new();
    story.load(A, GOOD);
    story.load_begins(A, KEY);
    story.load_begins(A, OTHER);
    story.load_begins(B, KEY);
    story.load_begins(A, KEY);
    story.may_not_happen("a second load");
}

#[test]
fn a_purge_lets_another_load_begin() {
    let mut story = Story::new();
    story.load_begins(A, KEY);
    story.tell(Event::Forgets { process: A, keys: this_key() });
    story.load_begins(A, KEY);
    let remove = story.remove_begins(A, this_key(), None);
    story.load_begins(A, KEY);
    story.remove_ends(remove, Removed::Everywhere);
    story.load_begins(A, KEY);
    story.load_begins(A, KEY);
    story.may_not_happen("a second load");
}
