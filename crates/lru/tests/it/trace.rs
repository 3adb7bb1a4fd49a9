//! The hit ratios of strict LRU on a real trace, to the last digit that is known of them.
//!
//! The trace is of database page references, published with N. Megiddo and D. S. Modha, "ARC: A
//! Self-Tuning, Low Overhead Replacement Cache", USENIX FAST 2003, pp. 115-130. It is not part of
//! this repository. The test reads `OLTP.lis.zst` in the folder that `CARROTCACHE_TRACES` names, or
//! beside the repository in `shared/traces`, and says so when it finds none.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use carrotcache_lru::LruCache;

#[test]
fn hit_ratios_on_oltp_are_those_of_strict_lru() {
    let folder = std::env::var_os("CARROTCACHE_TRACES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces")),
        PathBuf::from,
    );
    let file = folder.join("OLTP.lis.zst");
    if !file.exists() {
        println!("skipped: there is no {}; CARROTCACHE_TRACES names its folder", file.display());
        return;
    }
    let Ok(unpacked) = Command::new("zstd").arg("-dcq").arg(&file).stdout(Stdio::piped()).spawn()
    else {
        println!("skipped: there is no zstd to unpack {}", file.display());
        return;
    };
    let mut runs = [(250, 0.164_734), (500, 0.234_454), (1_000, 0.328_309), (2_000, 0.424_697)]
        .map(|(fit, expected)| (LruCache::by_count(fit), 0_u32, expected));
    let mut requests = 0_u32;
    for line in BufReader::new(unpacked.stdout.unwrap()).lines() {
        for page in pages(&line.unwrap()) {
            requests += 1;
            for (cache, hits, _) in &mut runs {
                if cache.get(&page).is_some() {
                    *hits += 1;
                } else {
                    cache.insert(page, ()).unwrap();
                }
            }
        }
    }
    assert_eq!(requests, 914_145);
    for (cache, hits, expected) in runs {
        let ratio = f64::from(hits) / f64::from(requests);
        assert!((ratio - expected).abs() < 5e-7, "{} fit: {ratio}", cache.max_weight());
    }
}

/// A line is `start count _ _`: a request for each of `count` pages from `start` on.
fn pages(line: &str) -> std::ops::Range<u32> {
    let mut fields = line.split_whitespace().map(|field| field.parse::<u32>());
    match (fields.next(), fields.next()) {
        (Some(Ok(start)), Some(Ok(count))) => start..start + count,
        _ => panic!("not a line of the trace: {line}"),
    }
}
