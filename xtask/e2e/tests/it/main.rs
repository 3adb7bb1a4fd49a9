//! The tasks as a user runs them, and the example `node` as other programs see it.

mod node;
mod rows;
mod tasks;
