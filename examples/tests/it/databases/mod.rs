//! The loader of the example `node`, over each kind of database.
//!
//! SQLite needs nothing and is always tested. The tests over MySQL and PostgreSQL are ignored unless
//! asked for, since they need servers: `cargo xtask databases` starts two of its own and runs them.

#![expect(clippy::unwrap_used, reason = "these are tests, whose helpers may panic as well")]

mod fixture;
mod refusals;
mod servers;
mod values;

use fixture::{Fixture, Kind};

/// Makes the tests of each named check: one over SQLite, and one over each server.
macro_rules! over_each_kind {
    ($($check:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $check() { super::$check(super::Kind::Sqlite).await; })*
        }
        crate::databases::over_each_server!($($check),*);
    };
}

/// Makes the tests of each named check over each server.
macro_rules! over_each_server {
    ($($check:ident),* $(,)?) => {
        mod mysql {
            $(
                #[tokio::test]
                #[ignore = "needs a server: cargo xtask databases"]
                async fn $check() { super::$check(super::Kind::MySql).await; }
            )*
        }
        mod postgres {
            $(
                #[tokio::test]
                #[ignore = "needs a server: cargo xtask databases"]
                async fn $check() { super::$check(super::Kind::Postgres).await; }
            )*
        }
    };
}

use {over_each_kind, over_each_server};
