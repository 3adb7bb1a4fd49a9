//! What a pool is told of who may ask it, before it is built.

#[cfg(feature = "tls")]
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::time::Duration;

use super::builder::HttpPoolBuilder;

/// Who may ask: a secret that all nodes share.
///
/// Without one, whoever can connect to a node is answered.
impl HttpPoolBuilder {
    /// Sets the secret by which the nodes of a cluster know each other; there is none unless set.
    ///
    /// It goes with each request to a peer, in the header `carrotcache-secret`, and whoever asks this
    /// node without it is answered 401, before anything else is looked at. A link is asked for by such
    /// a request too. A peer that does not let this node in is told of by an error of kind
    /// [`Unauthorized`](carrotcache_peer::PeerErrorKind::Unauthorized), and its keys are loaded here.
    ///
    /// A secret has 16 to 1,024 bytes, all of them visible ASCII characters. It is best drawn at
    /// random, as by `openssl rand -hex 32`. Nothing prints it. It travels as it is: where others can
    /// read the network, TLS belongs around it.
    ///
    /// ```
    /// # use carrotcache_peer_http::HttpPool;
    /// let secret = "0123456789abcdef0123456789abcdef"; // From a file, or the environment.
    /// let pool = HttpPool::builder("http://10.0.0.1:8001").secret(secret).build()?;
    /// # Ok::<(), carrotcache_peer_http::BuildError>(())
    /// ```
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.sent = Some(secret.into());
        self
    }

    /// Sets a second secret, which is accepted from peers beside the [first](Self::secret) and is not
    /// sent; there is none unless set.
    ///
    /// With it a secret is replaced while all nodes go on, in three rounds of restarts, of which
    /// each is over before the next begins:
    ///
    /// | round | `secret` | `other_secret` |
    /// |---|---|---|
    /// | | old | |
    /// | 1 | old | new |
    /// | 2 | new | old |
    /// | 3 | new | |
    ///
    /// A link that was agreed to stays until it ends, whatever secret it was asked for with.
    pub fn other_secret(mut self, secret: impl Into<String>) -> Self {
        self.secrets.other = Some(secret.into());
        self
    }

    /// Lets whoever can connect to this node tell it what to forget, and what to keep instead.
    ///
    /// Unless set, peers on other machines may only do so if they have shown who they are, by the
    /// [secret](Self::secret) or by a certificate in TLS; else they are refused with an error of
    /// kind [`Unauthorized`](carrotcache_peer::PeerErrorKind::Unauthorized), and their removes are
    /// incomplete. Where only nodes of the cluster can reach this one, it is right to set it.
    ///
    /// Peers on this machine, at a loopback address, always may. A proxy on this machine that lets others
    /// in makes them look like it.
    pub fn allow_purges_from_anyone(mut self) -> Self {
        self.config.purges_from_anyone = true;
        self
    }
}

/// TLS: who asks, and who answers, shown by certificates, and read by nobody else.
#[cfg(feature = "tls")]
impl HttpPoolBuilder {
    /// Sets how peers are asked whose URLs begin with `https://`; they cannot be asked unless set.
    ///
    /// With a certificate in it this node shows peers who it is. A peer's certificate has to be for
    /// the host of its URL, a name or an address. Link and HTTP are inside TLS; peers whose URLs
    /// begin with `http://` are asked without it, so that a list may have both while a cluster
    /// changes over.
    ///
    /// A handshake that fails is told of by an error of kind
    /// [`Unreachable`](carrotcache_peer::PeerErrorKind::Unreachable), whose causes say why.
    pub fn tls_client(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.config.tls.client = Some(config);
        self
    }

    /// Sets how peers are answered by [`HttpPool::serve`](crate::HttpPool::serve), which then takes
    /// nothing that is not TLS; they are answered without TLS unless set.
    ///
    /// Whether a peer has to show a certificate is for the configuration to say: with a verifier that
    /// wants one, only who has one gets in. The handshake counts as part of the first
    /// [head](Self::head_timeout), and holds a [place](Self::max_accepted), but like a silent
    /// connection it gives that to whoever comes when there are no others.
    pub fn tls_server(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.config.tls.server = Some(config);
        self
    }

    /// Sets how long the handshake with a peer may take, once it is connected to; a second unless set.
    pub fn tls_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.config.tls_handshake_timeout = timeout;
        self
    }
}
