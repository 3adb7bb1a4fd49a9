//! One connection to a peer, and one exchange over it at a time, until it becomes a link.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{Builder, Connection as Driver, Parts, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::select;

use crate::config::Config;
use crate::http::connect::Connector;
use crate::http::meter::{Meter, MeteredStream};
use crate::http::reply::{ExchangeError, Reader, Reply};
use crate::http::socket::Socket;
use crate::pool::judge::Judge;
use crate::pool::url::BaseUrl;
use crate::wire::upgrade;

/// A connection to a peer that carries one request at a time.
///
/// No task stands behind it: whoever waits for a reply also moves the bytes. That saves two
/// switches between tasks for each get, and a get that is dropped takes its connection along. While
/// it is unused nobody moves anything; what happened meanwhile is found out when it is
/// [looked at](Self::is_silent).
pub(crate) struct Connection {
    /// Hands requests to the driver.
    sender: SendRequest<Empty<Bytes>>,
    /// Speaks HTTP over the socket when it is polled; `None` once the connection is closed.
    driver: Option<Driver<TokioIo<MeteredStream>, Empty<Bytes>>>,
    /// Whether the peer has agreed that frames follow. The driver has ended then, and is kept for
    /// what it has read.
    is_switched: bool,
    /// Bounds what the driver reads.
    meter: Arc<Meter>,
}

/// The largest head of a reply that is accepted. Those of peers have about 150 bytes.
const MAX_REPLY_HEAD_BYTES: usize = 16 << 10;
/// The largest buffer that is read into: a value of 64 KiB fits, head and all, so that it comes in
/// one piece. Larger ones save few system calls, and a connection keeps its buffer.
const MAX_BUFFER_BYTES: usize = 66 << 10;
/// What may be read of a reply at first: a buffer full. The head has to come to its end within it,
/// with all heads before it that say `100 Continue` and the like.
const FIRST_PART_BYTES: u64 = MAX_BUFFER_BYTES as u64;

impl Connection {
    /// Opens a connection to the peer at `url`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. Only the look-up of the peer's name goes on, for the next get.
    pub(crate) async fn open(
        connector: &Connector,
        url: &BaseUrl,
        config: &Config,
    ) -> io::Result<Self> {
        let stream = connector.connect(url, config.connect_timeout).await?;
        // A request is one small segment, which must not wait for the acknowledgement of another.
        stream.set_nodelay(true)?;
        let stream = match url.is_tls() {
            true => config.tls.connect(stream, url.host(), config.tls_handshake_timeout).await?,
            false => stream.into(),
        };
        let meter = Arc::new(Meter::default());
        let stream = TokioIo::new(MeteredStream::new(stream, Arc::clone(&meter)));
        let mut http = Builder::new();
        http.max_header_size(MAX_REPLY_HEAD_BYTES).max_buf_size(MAX_BUFFER_BYTES);
        // A request has no body, so that there are no buffers to gather in one write.
        http.writev(false);
        let (sender, driver) = http.handshake(stream).await.map_err(io::Error::other)?;
        Ok(Self { sender, driver: Some(driver), is_switched: false, meter })
    }

    /// Returns the reply to `request`, as far as `reader` reads it. The `judge` hears of whatever comes.
    ///
    /// # Cancel safety
    ///
    /// Once dropped, the connection is in the midst of something: it is not reusable.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
        reader: &Reader<'_>,
        judge: &Judge,
    ) -> Result<Reply, ExchangeError> {
        let Self { sender, driver, is_switched, meter } = self;
        let mut read = 0;
        let asks_for_link = upgrade::is_in(request.headers());
        meter.begin(FIRST_PART_BYTES);
        let response = sender.try_send_request(request);
        let mut reply = pin!(async {
            let response = select! {
                biased;
                response = response => response,
                () = meter.exhausted() => return Err(ExchangeError::endless_head()),
            };
            match response {
                Ok(response) if asks_for_link && agrees(&response) => Ok(Reply::Link),
                Ok(response) => reader.read(response, meter).await,
                Err(error) => Err(ExchangeError::of_head(error.into_error())),
            }
        });
        poll_fn(|cx| {
            loop {
                // The driver first: it is what the reply waits for.
                let is_done = driver.as_mut().is_some_and(|it| Pin::new(it).poll(cx).is_ready());
                if meter.read() > read {
                    read = meter.read();
                    judge.alive();
                }
                let reply = reply.as_mut().poll(cx);
                *is_switched = is_done && matches!(reply, Poll::Ready(Ok(Reply::Link)));
                // Once it is done it is dropped, and with it whatever a reply could still wait for.
                if is_done && !*is_switched {
                    *driver = None;
                }
                if reply.is_ready() || !(is_done || meter.take_renewed()) {
                    return reply;
                }
            }
        })
        .await
    }

    /// Returns whether the last exchange is over on both sides and another may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        self.driver.is_some() && !self.is_switched && self.sender.is_ready()
    }

    /// Returns the socket, and what was read from it behind the peer's agreement to a link; `None`
    /// without such an agreement.
    pub(crate) fn into_link(self) -> Option<(Socket, Bytes)> {
        let Parts { io, read_buf, .. } = self.driver.filter(|_| self.is_switched)?.into_parts();
        Some((io.into_inner().into_stream(), read_buf))
    }

    /// Returns whether an unused connection is open, and nothing came that nobody asked for.
    ///
    /// An answer too many must not be taken for the answer to the next request. One that arrives
    /// only after this look cannot be told from the right one: HTTP/1.1 does not number them.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.meter.rest();
        let Some(driver) = &mut self.driver else { return false };
        // Between exchanges the driver reads, and ends if anything comes, or the end.
        Pin::new(driver).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// Returns whether a peer that was asked for a link agrees.
fn agrees<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS && upgrade::is_in(response.headers())
}
