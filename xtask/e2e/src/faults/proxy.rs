//! A proxy before a node, which does to its connections what a bad network does.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::process::usage;

/// What becomes of bytes, from the moment at which it is set, on all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Pass,
    /// Each read is passed on after this time.
    Delay(Duration),
    /// So many bytes pass each way in a hundredth of a second.
    Throttle(usize),
    /// Nothing passes, and new connections are not accepted: packets are dropped.
    Stall,
    /// Connections are accepted and read, and nothing is ever answered.
    Silent,
    /// Connections are reset as soon as something is read.
    Reset,
    /// Answers end after so many bytes, once those of a read are more.
    Truncate(usize),
    /// What the process `from` sends or would hear is dropped, all others pass.
    Apart {
        from: u32,
    },
}

/// A listener whose connections go on to a node. Dropping it ends them.
pub(super) struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port, for a node that will listen at `target`.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let serving = tokio::spawn(serve(listener, target, modes));
        Ok(Self { port, mode, serving })
    }

    /// Returns the port on which it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, target: u16, mut modes: watch::Receiver<Mode>) {
    // Dropped with this task, and the connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        if modes.wait_for(|mode| *mode != Mode::Stall).await.is_err() {
            return;
        }
        if let Ok((stream, from)) = listener.accept().await {
            connections.spawn(connect(stream, from.port(), target, modes.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(stream: TcpStream, from: u16, target: u16, modes: watch::Receiver<Mode>) {
    // Without a node behind it there is nobody to speak to, and the connection ends.
    let Ok(node) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    for end in [&stream, &node] {
        // It only makes the proxy faster.
        let _ = end.set_nodelay(true);
    }
    let (from_client, to_client) = stream.into_split();
    let (from_node, to_node) = node.into_split();
    let there = Way { from, is_answer: false, modes: modes.clone(), known: None };
    let back = Way { from, is_answer: true, modes, known: None };
    // Whichever ends first ends both: a node that has closed is not to be waited for.
    tokio::select! {
        _ = there.pass(from_client, to_node) => {}
        _ = back.pass(from_node, to_client) => {}
    }
}

/// One direction of a connection.
struct Way {
    /// The port of whoever has connected.
    from: u16,
    is_answer: bool,
    modes: watch::Receiver<Mode>,
    /// Whether the process that was last asked about has the connection: to find that out takes long.
    known: Option<(u32, bool)>,
}

impl Way {
    async fn pass(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            let mut passed = count;
            loop {
                let mode = *self.modes.borrow_and_update();
                match mode {
                    Mode::Pass => break,
                    Mode::Apart { from } if !self.is_of(from) => break,
                    Mode::Delay(time) => {
                        sleep(time).await;
                        break;
                    }
                    Mode::Throttle(each) => {
                        for part in bytes[..passed].chunks(each.max(1)) {
                            sleep(Duration::from_millis(10)).await;
                            to.write_all(part).await?;
                        }
                        passed = 0;
                        break;
                    }
                    Mode::Truncate(after) if self.is_answer && count > after => {
                        return to.write_all(&bytes[..after]).await;
                    }
                    Mode::Truncate(_) => break,
                    Mode::Reset => {
                        for end in [from.as_ref(), to.as_ref()] {
                            // What is closed without a word is reset.
                            SockRef::from(end).set_linger(Some(Duration::ZERO))?;
                        }
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    // What was read is not passed on, now or later, and the connection is of no more
                    // use: a stream cannot have holes.
                    Mode::Silent => return std::future::pending().await,
                    Mode::Stall | Mode::Apart { .. } => {
                        // As the system would send it again when packets pass once more.
                        if self.modes.changed().await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
            to.write_all(&bytes[..passed]).await?;
        }
    }

    /// Returns whether the process has this connection open.
    fn is_of(&mut self, process: u32) -> bool {
        if let Some((known, is_of)) = self.known
            && known == process
        {
            return is_of;
        }
        let sockets = usage::sockets(process);
        let is_of = sockets.is_ok_and(|all| all.iter().any(|it| it.local_port == self.from));
        self.known = Some((process, is_of));
        is_of
    }
}
