//! The peers' endpoint below a path of the user's choice, in a router of axum.

use std::convert::Infallible;

use axum::Router;
use axum::routing::get;
use carrotcache::{Group, HttpPool, Node};
use tokio::net::TcpListener;

/// Two URLs: the first owns nothing that is asked for, so that every get crosses.
struct Pair {
    asker: Group,
    owner: Group,
    url: String,
}

/// How the application mounts the endpoint.
type Mount = fn(Router, HttpPool, Node) -> Router;

async fn start(base_path: &str, mount: Mount) -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let url = format!("http://{}", listener.local_addr().expect("it has an address"));
    // Nobody listens there, and nobody needs to.
    let asker_url = "http://127.0.0.1:1".to_owned();
    let member = |own: &str, name: &'static str| {
        let pool = HttpPool::builder(own).base_path(base_path).build().expect("the URL is one");
        pool.set_peers([&url, &asker_url]).expect("they are URLs");
        let node = Node::builder().peers(pool.clone()).build();
        let loader = move |key: String| async move {
            Ok::<_, Infallible>(Some(format!("{name} has {key}")))
        };
        let group = node.group("my group").loader(loader).build().expect("it is the first");
        (pool, node, group)
    };
    let (pool, node, owner) = member(&url, "owner");
    let (_, _, asker) = member(&asker_url, "asker");
    let app = mount(Router::new().route("/own", get(async || "own route")), pool, node);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Pair { asker, owner, url }
}

/// Asks for keys of many kinds until enough of them belong to the owner.
async fn assert_keys_cross(pair: &Pair) {
    for kind in ["Tom", "a b", "a+b", "100%", "/a//b/", ".", "..", "a/../b", "汉字", "?#&"] {
        for number in 0..8 {
            let key = format!("{kind}{number}");
            let value = pair.asker.get(&key).await.expect("there is a value");
            let value = value.as_str().expect("it is text").to_owned();
            assert!(value == format!("owner has {key}") || value == format!("asker has {key}"));
        }
    }
    let (asked, answered) = (pair.asker.stats(), pair.owner.stats().server_requests);
    assert_eq!(asked.peer_errors, 0);
    assert!(asked.peer_loads >= 10 && asked.peer_loads == answered, "{asked:?}");
    let own = reqwest::get(format!("{}/own", pair.url)).await.expect("it answers");
    assert_eq!(own.text().await.expect("it is text"), "own route");
}

#[tokio::test]
async fn a_route_shows_the_endpoint_whole_paths() {
    let mount: Mount =
        |app, pool, node| app.route_service("/_groupcache/{*path}", pool.service(node));
    assert_keys_cross(&start("/_groupcache/", mount).await).await;
}

#[tokio::test]
async fn a_nest_below_any_path_cuts_it_off() {
    let mount: Mount =
        |app, pool, node| app.nest_service("/inner/cache", pool.service(node).mounted_at("/"));
    assert_keys_cross(&start("/inner/cache/", mount).await).await;
}
