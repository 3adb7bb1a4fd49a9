//! What those who connect may hold: files, places, time.

use std::time::Duration;

use e2e::node::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::process::{start, start_as};
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

#[tokio::test]
async fn half_requests_and_idle_connections_are_closed() {
    let sample = Sample::with_scores(["Tom"]).await;
    let node = start(1, &sample.file(), &[]).await.remove(0);
    let peers = node.url.trim_start_matches("http://").to_owned();
    let files = open_files(node.id());
    let mut connections = Vec::new();
    for at in 0..400 {
        for address in [&node.api, &peers] {
            let mut connection = TcpStream::connect(address).await.unwrap();
            let begun: &[u8] = match at % 3 {
                0 => b"",
                1 => b"GET /healthz HTTP/1.1\r\nhost: ",
                _ => b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
            };
            connection.write_all(begun).await.unwrap();
            connections.push(connection);
        }
    }
    assert_eq!(node.get("Tom").await, (200, value_of("Tom").into_bytes()));
    for mut connection in connections {
        // What is read is an answer, a refusal or nothing, and then comes the end, or a reset.
        let end =
            async { while connection.read(&mut [0; 1_024]).await.is_ok_and(|count| count > 0) {} };
        timeout(Duration::from_secs(60), end).await.expect("it is closed");
    }
    while open_files(node.id()) > files + 2 {
        tokio::task::yield_now().await;
    }
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
