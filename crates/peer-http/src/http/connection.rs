//! One connection to a peer, and one exchange over it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1::{Builder, Connection as Driver, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::http::connect::Connector;
use crate::http::reply::{self, ExchangeError, Reply};
use crate::pool::url::BaseUrl;

/// A connection to a peer that carries one request at a time.
///
/// No task stands behind it: whoever waits for a reply also moves the bytes. That saves two
/// switches between tasks for each get, and a get that is dropped takes its connection along. While
/// it is unused nobody moves anything; what happened meanwhile is found out by the next exchange.
pub(crate) struct Connection {
    /// Hands requests to the driver.
    sender: SendRequest<Empty<Bytes>>,
    /// Speaks HTTP over the socket when it is polled; `None` once the connection is closed.
    driver: Option<Driver<TokioIo<TcpStream>, Empty<Bytes>>>,
}

/// The largest head of a reply that is accepted. Those of peers have about 150 bytes.
const MAX_REPLY_HEAD_BYTES: usize = 16 << 10;
impl Connection {
    /// Opens a connection to the peer at `url`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. Only the look-up of the peer's name goes on, for the next get.
    pub(crate) async fn open(
        connector: &Connector,
        url: &BaseUrl,
        connect_timeout: Duration,
    ) -> io::Result<Self> {
        let stream = connector.connect(url, connect_timeout).await?;
        // A request is one small segment, which must not wait for the acknowledgement of another.
        stream.set_nodelay(true)?;
        let mut http = Builder::new();
        // A request has no body, so that there are no buffers to gather in one write.
        http.max_header_size(MAX_REPLY_HEAD_BYTES).writev(false);
        let handshake = http.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(io::Error::other)?;
        Ok(Self { sender, driver: Some(driver) })
    }

    /// Returns the reply to `request`, its whole body read.
    ///
    /// # Cancel safety
    ///
    /// Once dropped, the connection is in the midst of something: it is not reusable.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
        max_bytes: u64,
    ) -> Result<Reply, ExchangeError> {
        let Self { sender, driver } = self;
        let response = sender.try_send_request(request);
        let mut reply = pin!(async {
            match response.await {
                Ok(response) => reply::read(response, max_bytes).await,
                Err(error) => Err(match error.into_error() {
                    error if error.is_parse() => ExchangeError::Malformed(error),
                    error => ExchangeError::Unanswered(error),
                }),
            }
        });
        poll_fn(|cx| {
            // The driver first: it is what the reply waits for. Once it is done it is dropped,
            // and with it whatever a reply could still have waited for.
            if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
                *driver = None;
            }
            reply.as_mut().poll(cx)
        })
        .await
    }

    /// Returns whether the last exchange is over on both sides and another may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }
}
