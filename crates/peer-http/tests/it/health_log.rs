//! What the log tells of peers: changes, not requests.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::health::Asker;
use crate::support::{Echo, SOON, Served, listen};

/// A log that is kept for a test to read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Returns the lines that say this.
    fn lines(&self, text: &str) -> Vec<String> {
        let all = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8");
        all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
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

#[tokio::test]
async fn an_outage_is_one_warning_however_long_it_lasts_and_its_end_one_line() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(Level::INFO).with_ansi(false);
    let _recording = tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish());
    let (listener, url) = listen().await;
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let short = Duration::from_millis(5);
    let asker = Asker::of(&url, |builder| builder.first_ejection(short).longest_ejection(short));
    // Many gets, of which several are probes.
    for key in 0..50 {
        drop(asker.client.get("g", &format!("secret-{key}"), None).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let listener = TcpListener::bind(address).await.expect("the same port");
    let _served = Served::start_at((listener, url.clone()), Echo::default(), |builder| builder);
    let back = async {
        while asker.client.get("g", "secret", None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, back).await.expect("it is asked again");
    let [warning] = &log.lines("WARN")[..] else { panic!("{:?}", log.lines("")) };
    assert!(warning.contains("a peer is ejected") && warning.contains(&url), "{warning}");
    assert!(warning.contains("cannot be reached"), "it says why: {warning}");
    let [back] = &log.lines("a peer is back")[..] else { panic!("{:?}", log.lines("")) };
    assert!(back.contains("INFO") && back.contains(&url), "{back}");
    assert_eq!(log.lines("secret"), [""; 0]);
}
