//! Placeholder until the facade stands.
fn main() {}
