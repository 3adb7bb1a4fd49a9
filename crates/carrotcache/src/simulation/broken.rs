//! Each rule of removal is there for something: without it, schedules are found in which a value is
//! returned that was removed.

use super::Trial;
use super::plan::{About, Breach};
use super::seeds::run_all;
use crate::rules::Rules;

/// How many seeds are tried before a rule is said to be for nothing.
const SEEDS: u64 = 20_000;

/// Checks that something stale is returned in some schedule where this is done otherwise.
#[track_caller]
fn is_broken(about: About, breach: Breach) {
    let trial = |seed| Trial { seed, about: Some(about), breach };
    match run_all(0..SEEDS, trial) {
        Ok(checked) => panic!("{SEEDS} seeds show nothing that may not happen: {checked:?}"),
        Err((seed, why)) if why.contains("stale") => {
            println!("seed {seed}: {why}");
            let unbroken = Trial { breach: Breach::NONE, ..trial(seed) };
            unbroken.outcome().expect("it is the breach that shows");
        }
        Err((seed, why)) => panic!("seed {seed}: {why}\n{}", trial(seed).tell()),
    }
}

#[test]
fn a_remove_needs_its_second_round() {
    is_broken(About::SlowRounds, Breach::of(Rules { second_round: false, ..Rules::ALL }));
}

#[test]
fn what_a_purged_flight_brings_is_not_kept() {
    is_broken(About::SlowLoads, Breach::of(Rules { void: false, ..Rules::ALL }));
}

#[test]
fn a_purged_flight_is_not_joined() {
    is_broken(About::NoRoom, Breach::of(Rules { detached: false, ..Rules::ALL }));
}

#[test]
fn nothing_is_kept_of_a_closed_key() {
    is_broken(About::SlowRounds, Breach::of(Rules { closed: false, ..Rules::ALL }));
}

#[test]
fn a_purge_marks_the_flights_twice() {
    is_broken(About::Threads, Breach::of(Rules { second_mark: false, ..Rules::ALL }));
}

#[test]
fn who_has_missed_a_purge_is_told_before_it_is_asked() {
    is_broken(About::Strangers, Breach::of(Rules { told_before_asked: false, ..Rules::ALL }));
}

#[test]
fn who_stands_in_and_has_missed_a_purge_is_told_before_it_is_asked() {
    let rules = Rules { stand_in_told_before_asked: false, ..Rules::ALL };
    is_broken(About::StandIns, Breach::of(rules));
}

#[test]
fn all_who_took_part_remember_who_did_not() {
    is_broken(About::Strangers, Breach::of(Rules { all_remember: false, ..Rules::ALL }));
}

#[test]
fn a_set_that_is_repeated_is_a_remove() {
    is_broken(About::Sets, Breach::of(Rules { set_in_first_attempt: false, ..Rules::ALL }));
}

#[test]
fn a_closed_key_is_looked_for_nowhere_and_shown_to_nobody() {
    is_broken(About::Looks, Breach::of(Rules { looks_only_while_open: false, ..Rules::ALL }));
}

#[test]
fn peers_that_leave_are_reached_until_they_have_ended() {
    is_broken(About::Leavers, Breach { forgets_leavers: true, ..Breach::NONE });
}
