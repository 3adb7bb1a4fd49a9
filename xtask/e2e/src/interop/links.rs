//! What is claimed of the links of a mixed ring, on which ours have one to each other and none to Go.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::time::timeout;

use super::data::GROUP;
use super::kind::Kind;
use super::mixed::Mixed;

/// How long it may take until a node that is back is asked, or has a link: it was ejected for longer the
/// longer it was away, for 36 s at most.
const RETURN_TIME: Duration = Duration::from_secs(45);

/// Our nodes ask each other over one link each way, and Go over HTTP.
pub(super) async fn ours_link_and_go_is_plain(mixed: &Mixed) -> Result<String> {
    let ours: Vec<_> = of_kind(mixed, Kind::Rust).collect();
    let (mut links, mut received) = (0, 0);
    for &asker in &ours {
        let stats = mixed.nodes[asker].api().stats().await?;
        let served = &stats["links_served"];
        ensure!(*served == ours.len() - 1, "{} serves {served} links", mixed.nodes[asker].name());
        for owner in (0..mixed.nodes.len()).filter(|owner| *owner != asker) {
            let peer = &stats["peers"][mixed.nodes[owner].url()];
            let (link, opened) = match mixed.kinds[owner] {
                Kind::Rust => ("up", 1),
                Kind::Go => ("plain", 0),
            };
            ensure!(peer["link"] == link && peer["links_opened"] == opened, "{peer} is not {link}");
            links += opened;
            received += count(peer, "bytes_received");
        }
    }
    ensure!(received > 0 || links == 0, "nothing came over {links} links");
    Ok(format!("{links} links, {} KiB over them", received >> 10))
}

/// Waits until each of our nodes has found that one is back which was away.
pub(super) async fn ours_ask_again(mixed: &Mixed, back: usize) -> Result<()> {
    for asker in of_kind(mixed, Kind::Rust).filter(|asker| *asker != back) {
        let asked = timeout(RETURN_TIME, ask_until(mixed, asker, back, "state", "healthy")).await;
        ensure!(asked.is_ok(), "{} does not in {RETURN_TIME:?}", mixed.nodes[asker].name());
        asked??;
    }
    Ok(())
}

/// Our nodes have links again to one of ours that was away.
pub(super) async fn ours_link_again(mixed: &Mixed, back: usize) -> Result<String> {
    let mut links = 0;
    for asker in of_kind(mixed, Kind::Rust).filter(|asker| *asker != back) {
        let linked = timeout(RETURN_TIME, ask_until(mixed, asker, back, "link", "up")).await;
        ensure!(linked.is_ok(), "{} has none in {RETURN_TIME:?}", mixed.nodes[asker].name());
        linked??;
        links += 1;
    }
    Ok(format!("{links} links"))
}

/// Asks a node for keys that there are none of, until it says this of their owner.
async fn ask_until(
    mixed: &Mixed,
    asker: usize,
    owner: usize,
    what: &str,
    wanted: &str,
) -> Result<()> {
    let (api, url) = (mixed.nodes[asker].api(), mixed.nodes[owner].url());
    let owned = (0..).map(|number| format!("none-{number}"));
    let mut owned = owned.filter(|key| mixed.owner(key) == owner);
    while api.stats().await?["peers"][url][what] != wanted {
        let key = owned.next().unwrap_or_default();
        let (status, _) = api.ask(GROUP, &key).await?;
        ensure!(status == 404, "{} answers {status} for {key:?}", api.address());
    }
    Ok(())
}

fn of_kind(mixed: &Mixed, kind: Kind) -> impl Iterator<Item = usize> {
    (0..mixed.nodes.len()).filter(move |at| mixed.kinds[*at] == kind)
}

fn count(peer: &Value, counter: &str) -> u64 {
    peer[counter].as_u64().unwrap_or_default()
}
