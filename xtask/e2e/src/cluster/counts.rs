//! What the nodes have counted.

use std::ops::{Add, Sub};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::node::api::{Api, sum};

/// A node's counters, summed up over its groups.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) gets: u64,
    pub(super) hits: u64,
    pub(super) hot_hits: u64,
    pub(super) peer_loads: u64,
    pub(super) peer_errors: u64,
    pub(super) queries: u64,
    pub(super) items: u64,
    pub(super) bytes: u64,
}

impl Counts {
    /// Returns what the node has counted since its start.
    pub(super) async fn of(api: &Api) -> Result<Self> {
        Self::of_stats(&api.stats().await?)
    }

    /// Returns what each of the nodes has counted.
    pub(super) async fn of_all(apis: &[Api]) -> Result<Vec<Self>> {
        let mut counts = Vec::new();
        for api in apis {
            counts.push(Self::of(api).await?);
        }
        Ok(counts)
    }

    fn of_stats(stats: &Value) -> Result<Self> {
        let sum = |counter| sum(stats, counter);
        Ok(Self {
            gets: sum("/gets")?,
            hits: sum("/cache_hits")?,
            hot_hits: sum("/hot/hits")?,
            peer_loads: sum("/peer_loads")?,
            peer_errors: sum("/peer_errors")?,
            queries: stats["db_queries"].as_u64().context("/stats has no db_queries")?,
            items: sum("/main/items")? + sum("/hot/items")?,
            bytes: sum("/main/bytes")? + sum("/hot/bytes")?,
        })
    }

    fn with(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            gets: combine(self.gets, other.gets),
            hits: combine(self.hits, other.hits),
            hot_hits: combine(self.hot_hits, other.hot_hits),
            peer_loads: combine(self.peer_loads, other.peer_loads),
            peer_errors: combine(self.peer_errors, other.peer_errors),
            queries: combine(self.queries, other.queries),
            items: combine(self.items, other.items),
            bytes: combine(self.bytes, other.bytes),
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }
}

/// What was counted between two looks. Saturates, since a node that comes back counts from zero.
impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_summed_up_over_groups() {
        let group = json!({"gets": 5, "cache_hits": 3, "peer_loads": 1, "peer_errors": 0,
                           "main": {"bytes": 10, "items": 1}, "hot": {"bytes": 7, "items": 2, "hits": 1}});
        let stats = json!({"groups": {"a": group, "b": group}, "db_queries": 4});
        let counts = Counts::of_stats(&stats).unwrap();
        let expected = Counts {
            gets: 10,
            hits: 6,
            hot_hits: 2,
            peer_loads: 2,
            peer_errors: 0,
            queries: 4,
            items: 6,
            bytes: 34,
        };
        assert_eq!(counts, expected);
        assert_eq!(counts - counts, Counts::default());
        assert_eq!([counts, counts].into_iter().sum::<Counts>().gets, 20);
    }

    #[test]
    fn an_answer_of_another_shape_is_an_error() {
        assert!(Counts::of_stats(&json!({})).is_err());
        assert!(Counts::of_stats(&json!({"groups": {}})).is_err());
    }
}
