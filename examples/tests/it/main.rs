//! The examples, tested: parts of `node` by themselves, and `node` as processes.

#[path = "../../node/db/mod.rs"]
mod db;
#[path = "../../node/parameters.rs"]
mod parameters;
#[path = "../../node/seed.rs"]
mod seed;

mod database;
mod databases;
mod nested;
mod node;
mod programs;
