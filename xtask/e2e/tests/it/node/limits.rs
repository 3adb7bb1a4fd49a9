//! The process limit of open files.

use std::time::Duration;

use e2e::node::Node;
use tokio::net::TcpStream;

use super::process::start_as;
use super::sample::{Sample, value_of};

/// Files that the node may have open: enough to start, soon used up by connections.
const OPEN_FILES: usize = 48;

#[tokio::test]
async fn a_node_out_of_files_waits_and_goes_on() {
    let sample = Sample::with_scores(["Tom"]).await;
    let script = format!("ulimit -n {OPEN_FILES}; exec \"$0\" \"$@\"");
    let limited = |node: Node| node.by(["sh", "-c", &script]);
    let node = start_as(1, &sample.file(), limited).await.remove(0);

    let peers = node.url.trim_start_matches("http://").to_owned();
    let mut connections = Vec::new();
    for _ in 0..OPEN_FILES {
        connections.push(TcpStream::connect(&peers).await.unwrap());
        connections.push(TcpStream::connect(&node.api).await.unwrap());
    }
    while open_files(node.id()) < OPEN_FILES {
        tokio::task::yield_now().await;
    }
    let before = processor_time(node.id());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = processor_time(node.id()) - before;
    assert!(spent < Duration::from_millis(400), "it spins: {spent:?} of a second");

    drop(connections);
    assert_eq!(node.get("Tom").await, (200, value_of("Tom").into_bytes()));
    let peer = reqwest::get(format!("{}/_groupcache/scores/Tom", node.url)).await.unwrap();
    assert_eq!(peer.status(), 200);
}

fn open_files(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process is there").count()
}

/// Returns the processor time that a process has used, both its own and the system's for it.
fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it is there");
    // Fields 14 and 15, counted after the name in parentheses, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>());
    Duration::from_millis(10 * ticks.map(|ticks| ticks.expect("a number")).sum::<u64>())
}
