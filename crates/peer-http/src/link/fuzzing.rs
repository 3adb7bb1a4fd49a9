//! Ways in for `fuzz/`, which makes up what the other side sends. Built with `--cfg fuzzing` alone.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use carrotcache_peer::{Answer, Completion, Request, handler_fn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

use super::asker::{Link, Waiter};
use super::config::LinkConfig;
use super::end::End;
use super::owner::{Activity, Serving};
use crate::config::Config;

/// How many gets the asker has under way.
const GETS: usize = 8;

/// Lets an owner read these pieces of bytes, then the end of the stream.
///
/// # Panics
///
/// When the link does not end.
pub fn read_requests(runtime: &Runtime, pieces: &[Vec<u8>]) {
    let _entered = runtime.enter();
    let handler =
        Arc::new(handler_fn(
            |request: Request| async move { Ok(Answer::new(request.key.to_string())) },
        ));
    let (config, activity) = (Arc::new(Config::default()), Activity::default());
    let io = Script::new(pieces);
    let end = finish(Serving::new(io, b"", None, handler, config, activity, pending()));
    assert!(!matches!(end, End::Dropped));
}

/// Lets an asker with some gets under way read these pieces of bytes, then the end of the stream.
///
/// # Panics
///
/// When the link does not end, or a get is not told exactly once.
pub fn read_replies(runtime: &Runtime, pieces: &[Vec<u8>]) {
    let _entered = runtime.enter();
    let told = Arc::new(AtomicUsize::new(0));
    let detour = Arc::new(|waiter: Waiter| drop(waiter));
    let io = Script::new(pieces);
    let (link, driver) = Link::new(io, b"", None, LinkConfig::default(), detour);
    for _ in 0..GETS {
        let told = Arc::clone(&told);
        let completion = Completion::new(move |_| drop(told.fetch_add(1, Ordering::Relaxed)));
        let deadline = Instant::now() + Duration::from_secs(60);
        let waiter = Waiter { request: Request::new("g", "k", deadline), completion };
        assert!(link.get(waiter).is_ok());
    }
    finish(driver);
    assert_eq!(told.load(Ordering::Relaxed), GETS);
    assert_eq!(link.in_flight(), 0);
}

/// Polls a future until it is ready, which takes few polls: its stream never waits.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
    panic!("the stream has ended, and the link has not");
}

/// A stream that is read piece by piece, and takes whatever is written.
struct Script {
    pieces: VecDeque<Vec<u8>>,
}

impl Script {
    fn new(pieces: &[Vec<u8>]) -> Self {
        Self { pieces: pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect() }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.pieces.pop_front() {
            let count = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..count]);
            if count < piece.len() {
                piece.drain(..count);
                self.pieces.push_front(piece);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
