//! One hostile client, and all that it can do.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::acts::Acts;
use super::kind::Kind;
use crate::soak::bounds::{FLOOD, HOLD_TIME};
use crate::soak::truth;
use crate::soak::wire::{self, Inbox};

/// How far the soak is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Nobody begins anew. What is open stays open, for the nodes to close.
    Ending,
    Over,
}

/// One client, which does one thing after the other.
pub(super) struct Client {
    port: u16,
    draws: StdRng,
    phase: watch::Receiver<Phase>,
    acts: Acts,
    /// What it does at present.
    kind: Option<Kind>,
}

/// The pause of who writes without end.
const ENDLESS_PAUSE: Duration = Duration::from_millis(2);
/// The pause of who trickles.
const TRICKLE_PAUSE: Duration = Duration::from_millis(100);
/// How long to wait for the beginning of an answer before the next is asked for.
const LOADED_TIME: Duration = Duration::from_millis(500);
/// How many requests come at once.
const PIPELINED: usize = 16;
/// The smallest buffer that the system gives.
const SMALL_BUFFER: u32 = 4 << 10;

impl Client {
    /// Returns a client of the node that listens on `port`.
    pub(super) fn new(port: u16, draws: StdRng, phase: watch::Receiver<Phase>, acts: Acts) -> Self {
        Self { port, draws, phase, acts, kind: None }
    }

    /// Does one thing after the other, while the soak runs.
    ///
    /// # Errors
    ///
    /// When a value is wrong.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes its connections.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut kinds = Kind::ALL;
        loop {
            kinds.shuffle(&mut self.draws);
            for kind in kinds {
                let pause = self.draws.random_range(0..400);
                sleep(Duration::from_millis(pause)).await;
                if !self.is_running() {
                    return Ok(());
                }
                self.acts.lock().acts += 1;
                self.act(kind).await?;
            }
        }
    }

    /// Does what `kind` says.
    ///
    /// # Errors
    ///
    /// When a value is wrong. That a node ends a connection is its right.
    async fn act(&mut self, kind: Kind) -> Result<()> {
        self.kind = Some(kind);
        match kind {
            Kind::Idle => return self.idle().await,
            Kind::HalfClosed => return self.half_closed().await,
            Kind::Pipelined => return self.pipelined().await,
            _ => {}
        }
        // Whoever writes or reads may find the connection closed: nothing is expected of it.
        let _closed = match kind {
            Kind::Silent => self.flood(&[]).await,
            Kind::HalfHead => self.flood(b"GET /_groupcache/soak/sma").await,
            Kind::NeverReads => self.never_reads().await,
            Kind::Vanishes => self.vanishes().await,
            Kind::ReadsSlowly => self.reads_slowly().await,
            Kind::TrickledHead => self.writes(&[], b"G", TRICKLE_PAUSE).await,
            Kind::EndlessHead => {
                let begin = wire::request("small-1");
                let lines = b"x-more: yes\r\n".repeat(100);
                self.writes(&begin[..begin.len() - 2], &lines, ENDLESS_PAUSE).await
            }
            Kind::EndlessBody => {
                let begin = b"POST /_groupcache/soak/small-1 HTTP/1.1\r\nhost: soak\r\n\
                              content-length: 1099511627776\r\n\r\n";
                self.writes(begin, &[0; 4096], ENDLESS_PAUSE).await
            }
            Kind::HugeKey => self.says(&wire::request(&"k".repeat(100_000))).await,
            Kind::Garbage => {
                let mut garbage = [0; 500];
                self.draws.fill_bytes(&mut garbage);
                self.says(&garbage).await
            }
            Kind::Idle | Kind::HalfClosed | Kind::Pipelined => Ok(()),
        };
        Ok(())
    }

    async fn idle(&mut self) -> Result<()> {
        let key = truth::small(&mut self.draws);
        let Some(mut stream) = self.ask(&wire::request(&key)).await else { return Ok(()) };
        self.expect(&mut stream, &mut Inbox::default(), &key).await?;
        self.hold().await;
        Ok(())
    }

    async fn half_closed(&mut self) -> Result<()> {
        let key = truth::small(&mut self.draws);
        let Some(mut stream) = self.ask(&wire::request(&key)).await else { return Ok(()) };
        if let Err(error) = stream.shutdown().await {
            self.acts.unanswered(format!("{key}: {error}"));
            return Ok(());
        }
        self.expect(&mut stream, &mut Inbox::default(), &key).await?;
        self.hold().await;
        Ok(())
    }

    async fn pipelined(&mut self) -> Result<()> {
        let keys: Vec<_> = (0..PIPELINED).map(|_| truth::small(&mut self.draws)).collect();
        let requests: Vec<_> = keys.iter().flat_map(|key| wire::request(key)).collect();
        let Some(mut stream) = self.ask(&requests).await else { return Ok(()) };
        let mut inbox = Inbox::default();
        let read = self.draws.random_range(1..PIPELINED);
        for key in &keys[..read] {
            if !self.expect(&mut stream, &mut inbox, key).await? {
                break;
            }
        }
        Ok(())
    }

    /// Opens connections, says the same on each, and holds them.
    async fn flood(&mut self, text: &[u8]) -> Result<()> {
        let mut streams = Vec::new();
        for _ in 0..self.draws.random_range(1..=FLOOD) {
            let mut stream = self.connect().await?;
            stream.write_all(text).await?;
            streams.push(stream);
        }
        self.hold().await;
        Ok(())
    }

    async fn never_reads(&mut self) -> Result<()> {
        let mut streams = Vec::new();
        while streams.len() < FLOOD && self.is_running() {
            let mut stream = self.connect().await?;
            stream.write_all(&wire::request(&truth::huge(&mut self.draws))).await?;
            // The next one asks once this one's value is loaded: so each has one of its own. An
            // answer may also have to wait for those before it.
            tokio::select! {
                readable = stream.readable() => readable?,
                () = sleep(LOADED_TIME) => {}
            }
            streams.push(stream);
        }
        self.hold().await;
        Ok(())
    }

    async fn vanishes(&mut self) -> Result<()> {
        let mut stream = self.connect().await?;
        stream.set_zero_linger()?;
        stream.write_all(&wire::request(&truth::huge(&mut self.draws))).await?;
        let after = self.draws.random_range(0..50);
        sleep(Duration::from_millis(after)).await;
        Ok(())
    }

    async fn reads_slowly(&mut self) -> Result<()> {
        let mut stream = self.connect().await?;
        stream.write_all(&wire::request(&truth::huge(&mut self.draws))).await?;
        self.while_held(async {
            while stream.read(&mut [0; 1024]).await? > 0 {
                sleep(TRICKLE_PAUSE).await;
            }
            Ok(())
        })
        .await
    }

    /// Says `begin`, and then `more` again and again.
    async fn writes(&mut self, begin: &[u8], more: &[u8], pause: Duration) -> Result<()> {
        let mut stream = self.connect().await?;
        stream.write_all(begin).await?;
        self.while_held(async {
            loop {
                stream.write_all(more).await?;
                sleep(pause).await;
            }
        })
        .await
    }

    /// Says `text`, and listens to what comes.
    async fn says(&mut self, text: &[u8]) -> Result<()> {
        let mut stream = self.connect().await?;
        stream.write_all(text).await?;
        self.while_held(async {
            while stream.read(&mut [0; 1024]).await? > 0 {}
            Ok(())
        })
        .await
    }

    fn is_running(&self) -> bool {
        *self.phase.borrow() == Phase::Running
    }

    async fn connect(&self) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        // So that what is not read stays at the node.
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
        let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await?;
        let kind = self.kind.map(|kind| format!("{kind:?}")).unwrap_or_default();
        self.acts.lock().ports.insert(stream.local_addr()?.port(), kind);
        Ok(stream)
    }

    /// Opens a connection and sends what must be answered.
    async fn ask(&self, requests: &[u8]) -> Option<TcpStream> {
        let asked = async {
            let mut stream = self.connect().await?;
            stream.write_all(requests).await?;
            anyhow::Ok(stream)
        };
        asked.await.inspect_err(|error| self.acts.unanswered(format!("{error:#}"))).ok()
    }

    /// Returns whether an answer came.
    ///
    /// # Errors
    ///
    /// When it is the wrong one.
    async fn expect(&self, stream: &mut TcpStream, inbox: &mut Inbox, key: &str) -> Result<bool> {
        match inbox.value(stream).await {
            Ok(value) => {
                if let Some(fault) = truth::fault(key, &value) {
                    bail!("a wrong value came from the peer port {}: {fault}", self.port);
                }
                self.acts.lock().right += 1;
                Ok(true)
            }
            Err(error) => {
                self.acts.unanswered(format!("{key}: {error:#}"));
                Ok(false)
            }
        }
    }

    /// Goes on with `work` for as long as a connection is held. At the end of the soak only the
    /// connection stays: who still read a little would be in his right.
    async fn while_held(&mut self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let mut phase = self.phase.clone();
        let ending = async {
            let _ending = phase.wait_for(|phase| *phase != Phase::Running).await;
        };
        tokio::select! {
            ended = work => return ended,
            () = self.hold() => return Ok(()),
            () = ending => {}
        }
        self.hold().await;
        Ok(())
    }

    /// Waits for a random time; from the end of the soak on, until all is over.
    async fn hold(&mut self) {
        let time = self.draws.random_range(Duration::ZERO..HOLD_TIME);
        tokio::select! {
            () = sleep(time) => {}
            _ = self.phase.wait_for(|phase| *phase == Phase::Over) => return,
        }
        if *self.phase.borrow() == Phase::Ending {
            // Ends as well when all have been dropped.
            let _over = self.phase.wait_for(|phase| *phase == Phase::Over).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::seeds::rng;

    async fn client() -> (TcpListener, watch::Sender<Phase>, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let phase = watch::Sender::new(Phase::Running);
        let client = Client::new(port, rng(1, 1), phase.subscribe(), Acts::default());
        (listener, phase, client)
    }

    /// Answers the first request with the value of `key`, or of the key that was asked for.
    async fn answer(listener: TcpListener, key: Option<&str>) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = Inbox::default().head(&mut stream).await.unwrap().unwrap();
        let key = key.or_else(|| wire::key(&head)).unwrap();
        stream.write_all(&wire::right(&truth::value(key))).await.unwrap();
    }

    #[tokio::test]
    async fn a_right_answer_is_counted_and_a_wrong_one_ends_the_client() {
        let (listener, phase, mut client) = client().await;
        phase.send_replace(Phase::Over);
        let (acted, ()) = tokio::join!(client.act(Kind::HalfClosed), answer(listener, None));
        acted.unwrap();
        assert_eq!(client.acts.tally().right, 1);

        let (listener, _phase, mut client) = self::client().await;
        let wrong = answer(listener, Some("small-99999"));
        let (acted, ()) = tokio::join!(client.act(Kind::Idle), wrong);
        assert!(acted.unwrap_err().to_string().contains("small-99999"));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_told() {
        let (listener, _phase, mut client) = client().await;
        let closes = async { drop(listener.accept().await.unwrap()) };
        let (acted, ()) = tokio::join!(client.act(Kind::Pipelined), closes);
        acted.unwrap();
        assert_eq!(client.acts.tally().unanswered.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_at_the_end_stays_until_all_is_over() {
        let (_listener, phase, mut client) = client().await;
        client.hold().await;
        phase.send_replace(Phase::Ending);
        let holding = tokio::spawn(async move { client.hold().await });
        sleep(2 * HOLD_TIME).await;
        assert!(!holding.is_finished());
        phase.send_replace(Phase::Over);
        holding.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_something_leaves_off_at_the_end_and_holds_on() {
        let (_listener, phase, mut client) = client().await;
        phase.send_replace(Phase::Ending);
        let (done, mut doing) = tokio::sync::oneshot::channel::<()>();
        let holding = tokio::spawn(async move {
            let work = async move {
                let _done = done;
                std::future::pending().await
            };
            client.while_held(work).await
        });
        (&mut doing).await.unwrap_err();
        assert!(!holding.is_finished());
        phase.send_replace(Phase::Over);
        holding.await.unwrap().unwrap();
    }
}
