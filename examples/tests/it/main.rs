//! The examples, tested: parts of `node` by themselves, and every example as a process. Rings of
//! `node` processes are tested in the package `e2e`.

#[path = "../../node/db/mod.rs"]
mod db;
#[path = "../../node/parameters.rs"]
mod parameters;
#[path = "../../node/seed.rs"]
mod seed;

mod database;
mod databases;
mod nested;
mod programs;
