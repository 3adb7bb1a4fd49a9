//! One process: a group, its loader, and what concurrent gets cost.
//!
//! ```text
//! cargo run -p carrotcache --example quickstart
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use carrotcache::Node;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let node = Node::new();
    let scores = node.group("scores").max_bytes(64 << 20).loader(find).build()?;

    // Three at once, one query; the fourth is a hit.
    let three = tokio::try_join!(scores.get("Tom"), scores.get("Tom"), scores.get("Tom"))?;
    println!("Tom has {}, says each of three", three.0.as_str()?);
    println!("Tom has {}, from the cache", scores.get("Tom").await?.as_str()?);

    if let Err(error) = scores.get("Nobody").await {
        println!("Nobody: {error}");
    }
    println!("{} queries for {} gets", scores.stats().local_loads, scores.stats().gets);
    Ok(())
}

/// Stands for a database that is slow.
async fn find(name: String) -> Result<Option<&'static str>, Infallible> {
    println!("  (query: {name})");
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok([("Tom", "630"), ("Jack", "589")].iter().find(|row| row.0 == name).map(|row| row.1))
}
