//! How serving ends, and what it survives.

use std::sync::Arc;
use std::time::Duration;

use carrotcache_peer_http::peer::{Entry, Handler, PeerErrorKind, Reply, Request};
use carrotcache_peer_http::{HttpPoolBuilder, ServeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::{Echo, Gate, SOON, Served, ask, read_response};

#[tokio::test]
async fn shutdown_waits_for_requests_under_way() {
    let gate = Arc::new(Gate::default());
    let served = Served::start(Arc::clone(&gate), |builder| builder).await;
    let client = served.client();
    let get = tokio::spawn(async move { client.get("group", "key", None).await });
    gate.asked.notified().await;
    let mut idle = served.connect().await;
    ask(&mut idle, "/elsewhere").await;

    let serving = served.stop();
    // A connection that carries no request is closed at once: the shutdown has begun.
    assert_eq!(timeout(SOON, idle.read(&mut [0])).await.expect("in time").expect("an end"), 0);
    assert!(!serving.is_finished());
    gate.open.notify_one();
    assert_eq!(get.await.expect("no panic").expect("a value").entry, Entry::new("key"));
    assert_eq!(timeout(SOON, serving).await.expect("in time").expect("no panic"), Ok(()));
}

#[tokio::test]
async fn shutdown_closes_connections_that_were_used_before() {
    let served = Served::echo().await;
    let mut stream = served.connect().await;
    ask(&mut stream, "/_groupcache/scores/Tom").await;
    let serving = served.stop();
    assert_eq!(timeout(SOON, serving).await.expect("in time").expect("no panic"), Ok(()));
    assert_eq!(stream.read(&mut [0]).await.expect("an end"), 0);
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end() {
    let drain_timeout = Duration::from_millis(20);
    let gate = Arc::new(Gate::default());
    let served = Served::start(Arc::clone(&gate), |builder| builder.drain_timeout(drain_timeout));
    let served = served.await;
    let client = served.client();
    let get = tokio::spawn(async move { client.get("group", "key", None).await });
    gate.asked.notified().await;
    let ended = timeout(SOON, served.stop()).await.expect("in time").expect("no panic");
    assert_eq!(ended, Err(ServeError::DrainTimedOut { connections: 1, after: drain_timeout }));
    get.await.expect("no panic").expect_err("the connection was cut");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_half_a_head() {
    let configure =
        |builder: HttpPoolBuilder| builder.head_timeout(Duration::MAX).drain_timeout(Duration::MAX);
    let served = Served::start(Echo::default(), configure).await;
    let mut silent = served.connect().await;
    let mut first = served.connect().await;
    first.write_all(b"GET /_groupcache/sc").await.expect("sent");
    let mut second = served.connect().await;
    ask(&mut second, "/_groupcache/scores/Tom").await;
    second.write_all(b"GET /_groupcache/sc").await.expect("sent");
    // Whatever was sent before is there by now.
    let mut last = served.connect().await;
    ask(&mut last, "/_groupcache/scores/Tom").await;

    let ended = timeout(SOON, served.stop()).await.expect("in time").expect("no panic");
    assert_eq!(ended, Ok(()));
    for stream in [&mut silent, &mut first, &mut second] {
        drop(stream.read(&mut [0]).await.map(|bytes| assert_eq!(bytes, 0)));
    }
}

#[tokio::test]
async fn client_that_closed_its_sending_half_gets_its_answer() {
    let gate = Arc::new(Gate::default());
    let served = Served::start(Arc::clone(&gate), |builder| builder).await;
    let mut stream = served.connect().await;
    stream
        .write_all(b"GET /_groupcache/group/Tom HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    stream.shutdown().await.expect("closed");
    gate.asked.notified().await;
    // By the time another exchange is over, the server has been told of the end.
    ask(&mut served.connect().await, "/elsewhere").await;
    gate.open.notify_one();
    let (head, body) = timeout(SOON, read_response(&mut stream)).await.expect("in time");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert_eq!(body, b"\x0a\x03Tom");
    assert_eq!(timeout(SOON, stream.read(&mut [0])).await.expect("in time").expect("an end"), 0);
}

#[tokio::test]
async fn handler_has_no_more_time_than_its_peer() {
    let configure = |builder: HttpPoolBuilder| builder.max_time_left(Duration::from_millis(20));
    let served = Served::start(Echo::default(), configure).await;
    let mut stream = served.connect().await;
    for header in ["", "carrotcache-time-left: 5\r\n", "carrotcache-time-left: 9999999\r\n"] {
        let request = format!("GET /_groupcache/never/Tom HTTP/1.1\r\nhost: x\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let (head, _) = timeout(SOON, read_response(&mut stream)).await.expect("in time");
        assert!(head.starts_with("http/1.1 504 "), "{head}");
        assert!(head.contains("carrotcache-outcome: timed-out\r\n"), "{head}");
    }
}

#[tokio::test]
async fn panic_of_the_handler_ends_one_connection_and_nothing_else() {
    let served = Served::echo().await;
    let mut other = served.connect().await;
    ask(&mut other, "/_groupcache/scores/Tom").await;
    let client = served.client();
    let error = client.error("panic", "key").await;
    assert_eq!(error.kind, PeerErrorKind::Truncated, "{error:?}");
    ask(&mut other, "/_groupcache/scores/Tom").await;
    client.get("scores", "Tom", None).await.expect("a value after the panic");
}

#[tokio::test]
async fn slow_handler_is_not_cut_off_with_slow_heads() {
    let short = Duration::from_millis(20);
    let configure = |builder: HttpPoolBuilder| {
        builder.head_timeout(short).idle_connection_timeout(short).write_timeout(short)
    };
    let served = Served::start(Echo::default(), configure).await;
    let time_left = Some(10 * short);
    let error = served.client().get("never", "key", time_left).await.expect_err("no value");
    assert_eq!(error.kind, PeerErrorKind::TimedOut, "{error:?}");
}

#[tokio::test]
async fn request_is_dropped_when_its_peer_has_no_time_left() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    struct Never {
        asked: Notify,
        dropped: Arc<Notify>,
    }
    impl Handler for Never {
        fn answer(&self, _: Request) -> Reply {
            let guard = Dropped(Arc::clone(&self.dropped));
            self.asked.notify_one();
            Reply::pending(async move {
                let _guard = guard;
                std::future::pending().await
            })
        }
    }
    let handler = Arc::new(Never { asked: Notify::new(), dropped: Arc::default() });
    let served = Served::start(Arc::clone(&handler), |builder| builder).await;
    let client = served.client();
    let time_left = Some(Duration::from_millis(200));
    // The caller leaves, and the connection with it. The server cannot tell that from a peer that
    // has only closed its sending half, and so it waits until nobody can wait any more.
    tokio::select! {
        _ = client.get("group", "key", time_left) => {}
        () = handler.asked.notified() => {}
    }
    timeout(SOON, handler.dropped.notified()).await.expect("the handler's future is dropped");
}

#[cfg(target_os = "linux")]
mod descriptors {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::support::{client_with, listen};

    /// The name of the test below, which the child runs with fewer descriptors.
    const CHILD: &str = "serving::descriptors::serve_with_few_descriptors";

    /// The number of descriptors that the child may have.
    const LIMIT: usize = 24;

    #[tokio::test]
    async fn running_out_of_descriptors_neither_ends_nor_spins() {
        let test = std::env::current_exe().expect("this test");
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n $2 && exec \"$0\" --exact \"$1\" --ignored --nocapture"])
            .arg(test)
            .args([CHILD, &LIMIT.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .map(Killed)
            .expect("a shell");
        let lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
        let url = lines.map_while(Result::ok).find(|line| line.starts_with("http://"));
        let url = url.expect("the child tells where it serves");

        // More connections than the child has descriptors, so that accepting must fail. What is
        // under way goes on meanwhile.
        let client = client_with(&url, |builder| builder);
        client.get("scores", "Tom", None).await.expect("a value before");
        let address = url.strip_prefix("http://").expect("a URL");
        let mut held = Vec::new();
        for _ in 0..40 {
            held.push(tokio::net::TcpStream::connect(address).await.expect("a connection"));
        }
        let before = busy(&child.0);
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.get("scores", "Tom", None).await.expect("a value meanwhile");
        let open = std::fs::read_dir(format!("/proc/{}/fd", child.0.id())).expect("a process");
        assert!(open.count() >= LIMIT, "the limit is reached");
        // A thread that spins is busy all the time.
        let busy = busy(&child.0) - before;
        assert!(busy < Duration::from_millis(250), "the child was busy for {busy:?}");

        drop(held);
        let fresh = client_with(&url, |builder| builder);
        fresh.get("scores", "Tom", None).await.expect("a value after, over a new connection");
    }

    #[tokio::test]
    #[ignore = "a part of the test above"]
    async fn serve_with_few_descriptors() {
        let (listener, url) = listen().await;
        let pool = carrotcache_peer_http::HttpPool::builder(url.clone()).build().expect("a pool");
        println!("\n{url}");
        let serving = pool.serve(listener, crate::support::Echo::default(), std::future::pending());
        serving.await.expect("it serves until it is killed");
    }

    /// Ends the child with the test.
    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    /// Returns how long the threads of a process have run or wanted to: with a core and without.
    fn busy(child: &Child) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("a process");
        let nanos = threads.flat_map(|thread| {
            let path = thread.expect("a thread").path().join("schedstat");
            let stat = std::fs::read_to_string(path).expect("two times and a count");
            let times = stat.split(' ').take(2).map(|nanos| nanos.parse::<u64>().expect("nanos"));
            times.collect::<Vec<_>>()
        });
        Duration::from_nanos(nanos.sum())
    }
}
