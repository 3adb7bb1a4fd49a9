//! What a world is like.

use super::dice::Dice;

/// What is drawn before anything happens.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// How many nodes there are at the beginning, and how many there may be.
    pub(super) nodes: usize,
    pub(super) most_nodes: usize,
    pub(super) keys: usize,
    /// How many things are begun, beside what follows from them.
    pub(super) steps: usize,
    pub(super) owners: Owners,
    /// Whether the room is for one value only, so that each evicts another.
    pub(super) is_tight: bool,
    pub(super) mirrors: bool,
    /// Whether messages are lost and come twice.
    pub(super) has_faults: bool,
    /// Whether nodes join, leave and come back.
    pub(super) has_changes: bool,
    pub(super) has_restarts: bool,
    /// Whether loads fail, and whether they find nothing.
    pub(super) has_failures: bool,
    pub(super) has_absences: bool,
}

/// Whom nodes take for the owner of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// All that list the same nodes take the same one.
    Agreed,
    /// Anyone whom they list, another at each look: whatever is promised holds all the same.
    Fickle,
}

impl Plan {
    /// Draws one.
    pub(super) fn draw(dice: &Dice) -> Self {
        let nodes = dice.between(3, 4);
        Self {
            nodes,
            most_nodes: nodes + 1,
            keys: dice.between(1, 3),
            steps: dice.between(10, 40),
            owners: dice.pick(&[Owners::Agreed, Owners::Fickle]),
            is_tight: dice.one_in(6),
            mirrors: !dice.one_in(4),
            has_faults: dice.one_in(2),
            has_changes: dice.one_in(2),
            has_restarts: dice.one_in(3),
            has_failures: dice.one_in(3),
            has_absences: dice.one_in(3),
        }
    }
}
