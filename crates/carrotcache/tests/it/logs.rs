//! What the log tells: changes of state, not requests, and no keys.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Mesh, Source, group_of};

/// A log that is kept for a test to read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Records what this thread tells from now on, until the guard is dropped.
    fn record(&self, level: Level) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false);
        tracing::subscriber::set_default(subscriber.with_writer(log).finish())
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_two_lines_whatever_the_number_of_gets() {
    let log = Log::default();
    let _guard = log.record(Level::INFO);
    let sources = vec![Source::default(), Source::default()];
    let mesh = Mesh::new(sources, |_, _| 1, |builder| builder.max_bytes(0));
    mesh.set_down(1, true);
    for i in 0..1_000 {
        mesh.groups[0].get(&format!("secret-{i}")).await.unwrap();
    }
    mesh.set_down(1, false);
    // Answers between failures are not the end of an outage.
    mesh.groups[0].get("secret").await.unwrap();
    assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
    tokio::time::advance(Duration::from_secs(11)).await;
    for _ in 0..10 {
        mesh.groups[0].get("secret").await.unwrap();
    }
    let lines = log.lines();
    let [began, over] = &lines[..] else { panic!("two lines: {lines:?}") };
    assert!(began.contains("began to fail") && began.contains("node 1"), "{began}");
    assert!(began.contains("cannot be reached"), "{began}");
    assert!(!began.contains("cable cut"), "what a peer says may hold a key: {began}");
    assert!(over.contains("is back") && over.contains("gets=1000"), "{over}");
    assert!(!lines.concat().contains("secret"), "keys may be secrets: {lines:?}");
}

#[tokio::test]
async fn a_failing_loader_is_the_callers_to_log() {
    let log = Log::default();
    let _guard = log.record(Level::INFO);
    let source = Source::default();
    source.fail(true);
    group_of(source).get("secret").await.unwrap_err();
    assert_eq!(log.lines(), [""; 0]);
}

#[tokio::test]
async fn a_loader_runs_in_the_span_of_the_caller_that_started_it() {
    let log = Log::default();
    let _guard = log.record(Level::INFO);
    let loader = |key: String| async move {
        tracing::info!("before");
        tokio::task::yield_now().await;
        tracing::info!("after");
        Ok::<_, io::Error>(Some(key))
    };
    let group = group_of(loader);
    let get = async { group.get("Tom").await.unwrap() };
    tracing::Instrument::instrument(get, tracing::info_span!("request", id = 7)).await;
    for (line, event) in log.lines().iter().zip(["before", "after"]) {
        assert!(line.contains("request{id=7}") && line.contains(event), "{line}");
    }
    assert_eq!(log.lines().len(), 2);
}

#[tokio::test]
async fn a_load_for_an_owner_that_failed_runs_in_the_callers_span_too() {
    let log = Log::default();
    let _guard = log.record(Level::INFO);
    let mesh = Mesh::new(vec![Source::default(); 2], |_, _| 1, |builder| builder);
    mesh.set_down(1, true);
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let loader = move |key: String| {
        seen.store(true, Ordering::SeqCst);
        async move {
            tracing::info!("loads");
            Ok::<_, io::Error>(Some(key))
        }
    };
    let group = mesh.nodes[0].group("other").loader(loader).build().unwrap();
    let get = async { group.get("Tom").await.unwrap() };
    tracing::Instrument::instrument(get, tracing::info_span!("request", id = 8)).await;
    assert!(asked.load(Ordering::SeqCst));
    let lines = log.lines();
    let loads = lines.iter().find(|line| line.contains("loads")).unwrap();
    assert!(loads.contains("request{id=8}"), "{loads}");
}
