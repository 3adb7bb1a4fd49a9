//! Futures under the control of a test, and a way to poll by hand.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::oneshot;

/// A waker that counts how often it was called.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future once, with a waker that does nothing.
pub(crate) fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future once, with a waker that counts.
pub(crate) fn poll_counted<F: Future + ?Sized>(
    future: &mut Pin<Box<F>>,
    wakes: &Arc<Wakes>,
) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
}

/// Returns a future that ends when, and with what, the sender says.
pub(crate) fn controlled<T: Send + 'static>() -> (oneshot::Sender<T>, impl Future<Output = T> + Send)
{
    let (send, receive) = oneshot::channel();
    (send, async move { receive.await.expect("the test sends before it drops the sender") })
}
