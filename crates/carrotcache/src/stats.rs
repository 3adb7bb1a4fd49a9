//! What a group counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of a group since it was built, as [`Group::stats`](crate::Group::stats) found them.
///
/// The names are groupcache's, in snake case. Each is counted where it is decided, and for each key:
/// [`get_many`](crate::Group::get_many) counts as so many gets. While nothing is under way, two sums
/// tie them together, whatever panics, times out or is shut down:
///
/// - `gets` = `main.hits` + `hot.hits` + `absent.hits` + `loads` + `looks_missed`
/// - `loads_deduped` = `peer_loads` + `peer_errors` + `local_loads` + `local_load_errs` +
///   `loads_refused` + `handed_off`
///
/// Counts are read one after the other while others go on, so sums may be off by what happened in
/// between.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let loader = |key: String| async move { Ok::<_, std::io::Error>(Some(key)) };
/// let group = carrotcache::Node::new().group("scores").loader(loader).build()?;
/// for _ in 0..10 {
///     group.get("Tom").await?;
/// }
/// let stats = group.stats();
/// assert_eq!((stats.gets, stats.cache_hits, stats.local_loads), (10, 9, 1));
/// assert_eq!(stats.main.items, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Gets of valid keys, from here and from peers.
    pub gets: u64,
    /// Gets answered by either cache, the second look inside a flight included.
    pub cache_hits: u64,
    /// Answers had from owners: values, and verdicts too.
    pub peer_loads: u64,
    /// Owners that could not be asked. Verdicts are not among them.
    pub peer_errors: u64,
    /// Answers had from nodes that stood in for owners among `peer_errors`: values, and verdicts too.
    pub stand_in_loads: u64,
    /// Gets that came from peers that could not ask the owner, and that nothing was cached for: this
    /// node stood in.
    pub served_as_stand_in: u64,
    /// Keys, among those whose owner could not be asked, that were not loaded here, since that was not
    /// this node's to do and its [budget](crate::NodeBuilder::loads_for_others) was used up.
    pub loads_over_budget: u64,
    /// Gets that missed, and went on to a load.
    pub loads: u64,
    /// Calls of [`get_cached`](crate::Group::get_cached) that found nothing.
    pub looks_missed: u64,
    /// Flights that went beyond their second look: `loads` less all duplicates, one more for each load
    /// here because an owner could not be asked, and the refreshes.
    pub loads_deduped: u64,
    /// Keys whose load did not run: too many waited before it, or everyone had left, or its runtime was
    /// shut down, before it was its turn.
    pub loads_refused: u64,
    /// Keys that this node looked for at the node that had owned them before, for a while after a start
    /// or a change of the ring.
    pub looks: u64,
    /// Keys, among `looks`, whose value was found there and so not loaded.
    pub handed_off: u64,
    /// Loads that wait for their turn now. One of several keys counts as one.
    pub waiting_loads: u64,
    /// Flights that were started to replace an entry that was about to expire, or stale.
    pub refreshes: u64,
    /// Removes that this node has seen through: those that travelled together count as one.
    pub removes: u64,
    /// Removes, among `removes`, that did not reach all nodes.
    pub removes_incomplete: u64,
    /// Messages from peers that something is to be forgotten.
    pub purges: u64,
    /// Closures that stand now: removes under way, here or from peers.
    pub closures: u64,
    /// Keys that peers have missed and are told before they are asked, summed up over peers. That a peer
    /// has missed too many to tell them apart counts as one.
    pub owed: u64,
    /// Gets that were given an expired value since no new one could be had.
    pub stale_if_error: u64,
    /// Keys for which a loader came to an answer, be it a value or that there is none.
    pub local_loads: u64,
    /// Keys for which a loader failed, panicked, or was dropped: at its time limit, or by a shutdown.
    pub local_load_errs: u64,
    /// Calls of the [bulk loader](crate::BulkLoader), whatever came of them. Each key that one is called
    /// for counts in the two above.
    pub bulk_loads: u64,
    /// Gets that came from peers.
    pub server_requests: u64,
    /// Keys, among `local_loads`, for which the answer was that there is no such thing.
    pub not_found: u64,
    /// Values from peers that the group's [`Mirroring`](crate::Mirroring) let into the hot cache.
    pub mirrored: u64,
    /// Values that were too large to be kept.
    pub oversized: u64,
    /// Charges of all that the caches hold, in bytes. It never exceeds the group's `max_bytes`.
    pub bytes: u64,
    /// The main cache: keys that this node owns.
    pub main: CacheStats,
    /// The hot cache: mirrored copies of keys owned elsewhere.
    pub hot: CacheStats,
    /// The keys of which it is remembered that there is no such thing. Evictions are not counted.
    pub absent: CacheStats,
}

/// Counts of one of a group's caches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Charges of what it holds now, in bytes.
    pub bytes: u64,
    /// Entries that it holds now.
    pub items: u64,
    /// Times that it was asked.
    pub gets: u64,
    /// Times that it had the answer.
    pub hits: u64,
    /// Entries that gave way to others.
    pub evictions: u64,
}

/// The counters behind [`Stats`] that only misses touch.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Second looks, inside a flight, that found the value.
    pub(crate) late_hits: Counter,
    pub(crate) loads: Counter,
    pub(crate) looks_missed: Counter,
    pub(crate) looks: Counter,
    pub(crate) handed_off: Counter,
    pub(crate) peer_loads: Counter,
    pub(crate) peer_errors: Counter,
    pub(crate) stand_in_loads: Counter,
    pub(crate) served_as_stand_in: Counter,
    pub(crate) loads_over_budget: Counter,
    pub(crate) loads_deduped: Counter,
    pub(crate) local_loads: Counter,
    pub(crate) local_load_errs: Counter,
    pub(crate) server_requests: Counter,
    pub(crate) not_found: Counter,
    pub(crate) mirrored: Counter,
    pub(crate) loads_refused: Counter,
    pub(crate) refreshes: Counter,
    pub(crate) stale_if_error: Counter,
    pub(crate) removes: Counter,
    pub(crate) removes_incomplete: Counter,
    pub(crate) purges: Counter,
    pub(crate) bulk_loads: Counter,
}

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What counts when it is dropped, unless that was called off: for what may be dropped half way, when
/// its runtime is shut down.
pub(crate) struct Otherwise<'a> {
    counter: &'a Counter,
    more: usize,
}

impl Counter {
    /// Counts so many more when what is returned is dropped.
    pub(crate) fn otherwise(&self, more: usize) -> Otherwise<'_> {
        Otherwise { counter: self, more }
    }
}

impl Otherwise<'_> {
    pub(crate) fn call_off(mut self) {
        self.more = 0;
    }
}

impl Drop for Otherwise<'_> {
    fn drop(&mut self) {
        self.counter.add(self.more);
    }
}

impl Counters {
    /// Reads all counts, beside those of the caches. What is not counted here is left at zero.
    pub(crate) fn snapshot(&self, main: CacheStats, hot: CacheStats, absent: CacheStats) -> Stats {
        let (loads, looks_missed) = (self.loads.get(), self.looks_missed.get());
        let hits = main.hits + hot.hits + absent.hits;
        Stats {
            gets: hits + loads + looks_missed,
            cache_hits: hits + self.late_hits.get(),
            peer_loads: self.peer_loads.get(),
            peer_errors: self.peer_errors.get(),
            stand_in_loads: self.stand_in_loads.get(),
            served_as_stand_in: self.served_as_stand_in.get(),
            loads_over_budget: self.loads_over_budget.get(),
            loads,
            looks_missed,
            loads_deduped: self.loads_deduped.get(),
            loads_refused: self.loads_refused.get(),
            looks: self.looks.get(),
            handed_off: self.handed_off.get(),
            refreshes: self.refreshes.get(),
            stale_if_error: self.stale_if_error.get(),
            removes: self.removes.get(),
            removes_incomplete: self.removes_incomplete.get(),
            purges: self.purges.get(),
            local_loads: self.local_loads.get(),
            local_load_errs: self.local_load_errs.get(),
            bulk_loads: self.bulk_loads.get(),
            server_requests: self.server_requests.get(),
            not_found: self.not_found.get(),
            mirrored: self.mirrored.get(),
            main,
            hot,
            absent,
            ..Stats::default()
        }
    }
}
