//! Purges by whoever has shown nobody who he is. A server that is not this crate's does not say where
//! its connections come from, so its peers are strangers even on this machine.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use carrotcache_peer_http::peer::PeerErrorKind;
use carrotcache_peer_http::{HttpPool, HttpPoolBuilder, LinkState, PeerService};

use crate::links::Asking;
use crate::purges::{Forgetful, kind_of, purge_of, send, told};
use crate::support::{SOON, listen};

/// A node inside axum, and what it has heard.
struct Mounted {
    url: String,
    handler: Forgetful,
}

impl Mounted {
    /// Starts a node with these settings, whose service `adapt` adapts.
    async fn start(
        configure: impl FnOnce(HttpPoolBuilder) -> HttpPoolBuilder,
        adapt: impl FnOnce(PeerService<Forgetful>) -> PeerService<Forgetful>,
    ) -> Self {
        let (listener, url) = listen().await;
        let pool = configure(HttpPool::builder(&url)).build().expect("a pool");
        let handler = Forgetful::default();
        let service = adapt(pool.service(handler.clone()));
        let app = Router::new().route_service("/_groupcache/{*path}", service);
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { url, handler }
    }

    fn heard(&self) -> usize {
        self.handler.heard.lock().expect("no panic").len()
    }
}

#[tokio::test]
async fn a_stranger_may_get_and_not_purge_and_is_told_what_to_do() {
    let mounted = Mounted::start(|builder| builder, |service| service).await;
    let asking = Asking::of(&mounted.url);
    for _ in 0..2 {
        let error = told(send(&asking.client, purge_of("scores", SOON))).await.expect_err("no");
        assert_eq!(error.kind, PeerErrorKind::Unauthorized);
        for way_out in ["secret", "certificate", "allow_purges_from_anyone"] {
            assert!(error.causes().contains(way_out), "{}", error.causes());
        }
    }
    assert_eq!(mounted.heard(), 0);
    assert_eq!(asking.client.value("scores", "Tom").await, "Tom");
    // The link goes on.
    assert_eq!((asking.link(), asking.stats().links_opened), (LinkState::Up, 1));
}

#[tokio::test]
async fn who_is_known_to_be_on_this_machine_may_purge() {
    let adapt = |service: PeerService<Forgetful>| {
        service.remote_address(|extensions| {
            extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
        })
    };
    let mounted = Mounted::start(|builder| builder, adapt).await;
    let asking = Asking::of(&mounted.url);
    told(send(&asking.client, purge_of("scores", SOON))).await.expect("it is done");

    // Were it elsewhere, it might not.
    let adapt = |service: PeerService<Forgetful>| {
        service.remote_address(|_| Some(SocketAddr::from(([10, 0, 0, 1], 1))))
    };
    let mounted = Mounted::start(|builder| builder, adapt).await;
    let asking = Asking::of(&mounted.url);
    let kind = kind_of(&asking.client, purge_of("scores", SOON)).await;
    assert_eq!((kind, mounted.heard()), (PeerErrorKind::Unauthorized, 0));
}

#[tokio::test]
async fn a_secret_makes_a_peer_of_a_stranger_and_so_does_the_builders_word() {
    let secret = |builder: HttpPoolBuilder| builder.secret("the-secret-of-this-cluster");
    let mounted = Mounted::start(secret, |service| service).await;
    let asking = Asking::with(&mounted.url, secret);
    told(send(&asking.client, purge_of("scores", SOON))).await.expect("it is done");

    let anyone = HttpPoolBuilder::allow_purges_from_anyone;
    let mounted = Mounted::start(anyone, |service| service).await;
    let asking = Asking::of(&mounted.url);
    told(send(&asking.client, purge_of("scores", SOON))).await.expect("it is done");
}
