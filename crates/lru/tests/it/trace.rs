//! The hit ratios of strict LRU and of second chances on a real trace, to the last digit.
//!
//! The trace is of database page references, published with N. Megiddo and D. S. Modha, "ARC: A
//! Self-Tuning, Low Overhead Replacement Cache", USENIX FAST 2003, pp. 115-130. It is not part of
//! this repository. The test reads `OLTP.lis.zst` in the folder that `CARROTCACHE_TRACES` names, or
//! beside the repository in `shared/traces`, and says so when it finds none.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use carrotcache_lru::sync::{self, Budget};
use carrotcache_lru::{Count, LruCache};

/// What a run over the trace needs of a cache.
trait Pages {
    fn get(&mut self, page: u32) -> bool;
    fn insert(&mut self, page: u32);
}

impl Pages for LruCache<u32, ()> {
    fn get(&mut self, page: u32) -> bool {
        self.get(&page).is_some()
    }

    fn insert(&mut self, page: u32) {
        assert_eq!(self.insert(page, ()), Ok(None));
    }
}

impl Pages for sync::Cache<u32, (), Count, BuildHasherDefault<DefaultHasher>> {
    fn get(&mut self, page: u32) -> bool {
        sync::Cache::get(self, &page).is_some()
    }

    fn insert(&mut self, page: u32) {
        assert_eq!(sync::Cache::insert(self, page, ()), Ok(None));
    }
}

/// How many pages fit, and how often strict LRU hits then.
const STRICT: [(u64, f64); 4] =
    [(250, 0.164_734), (500, 0.234_454), (1_000, 0.328_309), (2_000, 0.424_697)];

#[test]
fn hit_ratios_on_oltp_are_those_of_strict_lru() {
    for ((fit, expected), ratio) in STRICT.into_iter().zip(ratios(LruCache::by_count)) {
        assert!((ratio - expected).abs() < 5e-7, "{fit} fit: {ratio}");
    }
}

#[test]
fn shared_cache_of_16_shards_hits_about_as_often_on_oltp() {
    // The same pages go to the same shards in every run.
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let shared = |fit| {
        sync::Cache::builder(Budget::new(fit), Count).shards(16).hasher(hasher.clone()).build()
    };
    for ((fit, strict), ratio) in STRICT.into_iter().zip(ratios(shared)) {
        println!("{fit} fit: {ratio:.3}, strict recency {strict:.3}");
        assert!(ratio > strict * 0.97, "{fit} fit: {ratio}");
    }
}

/// The hit ratios of caches of the sizes of [`STRICT`]; none where there is no trace.
fn ratios<C: Pages>(new: impl Fn(u64) -> C) -> Vec<f64> {
    let Some(trace) = trace() else { return Vec::new() };
    let mut runs = STRICT.map(|(fit, _)| (new(fit), 0_u32));
    let mut requests = 0_u32;
    for page in trace.lines().map_while(Result::ok).flat_map(|line| pages(&line)) {
        requests += 1;
        for (cache, hits) in &mut runs {
            if cache.get(page) {
                *hits += 1;
            } else {
                cache.insert(page);
            }
        }
    }
    assert_eq!(requests, 914_145);
    runs.into_iter().map(|(_, hits)| f64::from(hits) / f64::from(requests)).collect()
}

/// The trace, unpacked, if it is there.
fn trace() -> Option<impl BufRead> {
    let folder = std::env::var_os("CARROTCACHE_TRACES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces")),
        PathBuf::from,
    );
    let file = folder.join("OLTP.lis.zst");
    if !file.exists() {
        println!("skipped: there is no {}; CARROTCACHE_TRACES names its folder", file.display());
        return None;
    }
    let Ok(unpacked) = Command::new("zstd").arg("-dcq").arg(&file).stdout(Stdio::piped()).spawn()
    else {
        println!("skipped: there is no zstd to unpack {}", file.display());
        return None;
    };
    unpacked.stdout.map(BufReader::new)
}

/// A line is `start count _ _`: a request for each of `count` pages from `start` on.
fn pages(line: &str) -> std::ops::Range<u32> {
    let mut fields = line.split_whitespace().map(|field| field.parse::<u32>());
    match (fields.next(), fields.next()) {
        (Some(Ok(start)), Some(Ok(count))) => start..start + count,
        _ => panic!("not a line of the trace: {line}"),
    }
}
