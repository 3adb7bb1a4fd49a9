//! A pool of peers on a consistent-hash ring: the wire of groupcache, client and server, and a faster
//! one between nodes of this project.
//!
//! Each node of a cache has an [`HttpPool`]. It says by a ring who owns a key
//! ([`owner`](HttpPool::owner)), asks owners elsewhere for values ([`peer::Peer`]), and answers those
//! who ask this node ([`HttpPool::serve`], or [`HttpPool::service`] inside another server). What
//! answers is a [`peer::Handler`]; this crate knows nothing of caches.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use carrotcache_peer_http::HttpPool;
//! use carrotcache_peer_http::peer::{Answer, Owner, Request, ask, handler_fn};
//! use tokio::net::TcpListener;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! // One node serves: it knows the length of every key. ...
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let there = format!("http://{}", listener.local_addr()?);
//! let owner = HttpPool::builder(&there).build()?;
//! let lengths = handler_fn(|request: Request| async move {
//!     Ok(Answer::new(request.key.len().to_string()))
//! });
//! tokio::spawn(owner.serve(listener, lengths, std::future::pending()));
//!
//! // ... another has it as a peer, and asks it for what it owns.
//! let here = "http://127.0.0.1:1";
//! let pool = HttpPool::builder(here).build()?;
//! pool.set_peers([here, &there])?;
//! if let Owner::Remote(peer) = pool.owner("Tom") {
//!     let deadline = Instant::now() + Duration::from_secs(1);
//!     let answer = ask(&*peer, Request::new("lengths", "Tom", deadline)).await?;
//!     assert_eq!(answer.entry.value().unwrap(), "3");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # Links
//!
//! Two nodes of this project ask each other over a *link*: one connection that carries all gets
//! from one to the other, thousands at a time. None waits for the load of another, and a small
//! value for a large one only while that is being sent. It costs a small part of what HTTP costs,
//! and an owner that loads says so, so that it is waited for as long as the load takes and is not
//! taken for a dead one.
//!
//! The first get to a peer asks for a link, by an upgrade of its connection. A peer that agrees
//! answers it over the link; one that knows nothing of links (a node of Go's, or one behind
//! something that takes no upgrade) has answered it already, and is asked over HTTP for ten
//! seconds, before a get asks again. (One that did not answer in time is not known as such: the
//! next get asks again.) Gets that come meanwhile wait for the outcome, a quarter of a second at
//! most. Values of more than [a mebibyte](HttpPoolBuilder::max_link_value_bytes) come over HTTP in
//! any case, so that none keeps small ones waiting for long.
//!
//! A link lives on the runtime that asked for it, and ends with its peer's goodbye, with the peer's
//! last sign of life, or when the peer leaves the pool; gets that are under way are answered first
//! where that can be. When one is cut, all its gets end at once in an error, and the next get asks
//! for another, if that fails again after a pause of 100 ms, doubling to a second.
//! [`HttpPool::stats`] tells how it stands, and at level info the log tells that a link is open,
//! that one has ended and why, and that a peer is asked over HTTP only. [`protocol`] has the
//! frames, for those who write a client in another language; [`HttpPoolBuilder::link`] switches
//! links off.
//!
//! # When a peer does not answer
//!
//! A peer that does not live is *ejected*: whoever waits for it is told so, and whoever would ask it is
//! told [`Ejected`](peer::PeerErrorKind::Ejected) at once. After a while one request is let through, the
//! *probe*. Anything that comes from the peer, whatever it says, makes it healthy.
//!
//! | what shows | what follows |
//! |---|---|
//! | it takes no connection, or ends one without a byte, twice in a row | ejected |
//! | its link breaks | as one of the two |
//! | gets wait on a link, nothing comes for [500 ms](HttpPoolBuilder::link_ping_after), and no answer to a ping for [250 ms](HttpPoolBuilder::link_pong_timeout) | the link ends; ejected |
//! | the same without a link, the ping being `GET {base path}carrotcache.link/-` on a connection of its own | ejected |
//! | a get takes its time and pings are answered | nothing: its loader is slow |
//! | a refusal of any kind, a page of something else, half an answer | a sign of life |
//! | no descriptor, port or memory is left here | nothing |
//!
//! So a get waits for a second at most for a peer that is stopped or cut off, though its system goes on
//! taking connections; also for one that was never met, and for a node of Go's: every node answers
//! that ping at once and runs no loader. (What stands in the place of a peer and takes longer than a
//! quarter of a second to say that it knows no such group is taken for dead when it is also silent
//! otherwise; so is a node that has neither a link to this one nor a place for one more connection.)
//! While there is a link, it alone judges: connections beside it may be refused because there are too
//! many.
//!
//! An ejection takes [1 s](HttpPoolBuilder::first_ejection) and twice as long each time, up to
//! [30 s](HttpPoolBuilder::longest_ejection), a fifth more or less. A peer that was healthy for as long
//! begins anew. The probe is a real get, or a purge, and it has less patience: the ping goes out after
//! 50 ms. If half of all peers are down, and two at least, all are asked as if nothing was known: it is
//! most likely this node that is cut off, and it should notice when it is not any more. Of one peer, one
//! is always more than half, so that in a ring of two it counts.
//!
//! The ring is what it is: keys keep their owners. [`Picker::next`](peer::Picker::next) names who stands
//! in, the next on the ring that is healthy and was met over a link. [`HttpPool::health`] tells how each
//! peer stands, since when and why, and whether its ring has differed from ours for ten seconds. The
//! log has a warning for each peer that is ejected and for each ring that differs, and a line at level
//! info for the end of either; nothing for probes. [`HttpPoolBuilder::eject`] switches ejection off.
//!
//! # What is forgotten
//!
//! [`Peer::purge`](peer::Peer::purge) tells a peer what to forget, over its link and over nothing
//! else. If there is none, the purge asks for one, whenever the last was lost, by a get of a group
//! that no node has (`carrotcache.link`): a plain peer answers that with 404, and has run no
//! loader. It waits for that as long as it has time.
//!
//! | what comes of it | at the node that purges |
//! |---|---|
//! | the peer's handler has done it | [`Purged`](peer::Purged) |
//! | the handler says no | the kind that it says: [`NoSuchGroup`](peer::PeerErrorKind::NoSuchGroup), and others |
//! | it answers over HTTP, is of a version that takes no purges, or links are off here | [`Plain`](peer::PeerErrorKind::Plain) |
//! | a 502, 503, 504 or the like in the place of a link: a proxy, perhaps | [`Foreign`], [`Overloaded`](peer::PeerErrorKind::Overloaded), [`TimedOut`](peer::PeerErrorKind::TimedOut) |
//! | it is ejected, and no probe is due | [`Ejected`](peer::PeerErrorKind::Ejected) |
//! | it cannot be connected to, is silent, ends its links at once, or 64 purges are under way or wait | [`Unreachable`](peer::PeerErrorKind::Unreachable) |
//! | the link ends before the answer: it may have been done | [`Truncated`], or why the link ended |
//! | the time of the purge is over: it may have been done | [`TimedOut`](peer::PeerErrorKind::TimedOut) |
//! | the purge has an empty or too long name, or is too long for a frame; or the handler takes none | [`BadRequest`](peer::PeerErrorKind::BadRequest) |
//! | the peer has 64 purges under way over this link, or four mebibytes of them | [`Overloaded`](peer::PeerErrorKind::Overloaded) |
//!
//! | this node has not shown that it belongs to the cluster: see below | [`Unauthorized`](peer::PeerErrorKind::Unauthorized) |
//!
//! A value that comes along and is too large for the link is left out, so that the peer says that
//! it has not kept it.
//!
//! # Who is let in
//!
//! Unless told otherwise a node answers whoever connects to it, and takes purges from its own
//! machine only: a purge can make the database work, and put a stranger's value in the place of
//! the database's.
//!
//! | to | there is | what it does not do |
//! |---|---|---|
//! | let in only who knows a secret | [`HttpPoolBuilder::secret`], and [`other_secret`](HttpPoolBuilder::other_secret) while it is replaced | say who *answers*, or hide anything on the network |
//! | let in only who has a certificate, ask only who has one, hide all that is said | `HttpPoolBuilder::tls_server` and `tls_client`, with the feature `tls` | |
//! | take purges from wherever one can connect | [`HttpPoolBuilder::allow_purges_from_anyone`] | |
//!
//! A secret goes with every request in the header `carrotcache-secret`. Without it, or with
//! another, the answer is 401, before anything else of the request is looked at. A get that is
//! answered so fails as [`Unauthorized`](peer::PeerErrorKind::Unauthorized), so that its value is
//! loaded where it was asked for; no link comes about, and the peer is not taken for a plain one. A
//! node in Go sends the header by its pool's `Transport`. While a secret is introduced, nodes that
//! have it do not answer those that do not have it yet, which load for themselves meanwhile.
//!
//! From another machine a purge is taken only if all gets need a secret, or if the connection has
//! shown a certificate. [`PeerService`] inside another server knows neither the certificates of that,
//! nor, unless [told](PeerService::remote_address), who is on this machine. A proxy on this machine
//! makes all that it lets in look like neighbours.
//!
//! In TLS the configurations are the user's, with whichever provider of cryptography, and none is
//! installed for the process. Peers whose URLs begin with `https://` are asked in it, the others are
//! not, so that both can be in a list; since the URL is the label on the ring, keys move when it
//! changes. A certificate has to be for the host of the URL. Link and HTTP, their bounds and their
//! clocks are the same inside it; handshakes have a time, here and there.
//!
//! # The wire
//!
//! Over HTTP, a get is `GET {base URL}{base path}{group}/{key}`, the base path `/_groupcache/` unless
//! set. The answer is the protobuf message `GetResponse { 1: bytes value, 2: double minute_qps }` of
//! `proto/groupcache.proto`. [`path`] says how names are escaped.
//!
//! | how it ended | status | `carrotcache-outcome` | at the asking node |
//! |---|---|---|---|
//! | a value | 200 | | an [`Answer`](peer::Answer) |
//! | no such key | 404 | `not-found` | an answer without a value |
//! | the loader failed | 500 | `load-failed` | [`LoadFailed`](peer::PeerErrorKind::LoadFailed), a verdict |
//! | no such group | 404 | `no-such-group` | [`NoSuchGroup`](peer::PeerErrorKind::NoSuchGroup) |
//! | too much to do | 503 | `overloaded` | [`Overloaded`](peer::PeerErrorKind::Overloaded) |
//! | as many loads as may | 503 | `too-many-loads` | [`TooManyLoads`](peer::PeerErrorKind::TooManyLoads), a verdict |
//! | not in time | 504 | `timed-out` | [`TimedOut`](peer::PeerErrorKind::TimedOut) |
//! | malformed request | 400 | `invalid` | [`BadRequest`](peer::PeerErrorKind::BadRequest) |
//! | no secret, or another | 401 | `unauthorized` | [`Unauthorized`](peer::PeerErrorKind::Unauthorized) |
//!
//! Everything but a value comes with one line of text. The request header `carrotcache-time-left`
//! tells the owner how many milliseconds the asking node still waits. Whoever sends it is one of this
//! project, and is told more beside a value or the answer that there is none, which Go's nodes are
//! not:
//!
//! | header of the answer | what it says |
//! |---|---|
//! | `carrotcache-fresh: 60000;30000` | for how many milliseconds the value is [fresh](peer::Entry::fresh_for), and [stale](peer::Entry::stale_for) then; missing if it is fresh for good |
//! | `carrotcache-incarnation: 1234` | [which process](peer::Answer::incarnation) answers; missing from one without links |
//!
//! A text that is no such numbers is taken for `0`, a value that nobody keeps.
//!
//! # One ring with Go
//!
//! Nodes of Go's groupcache can be on the same ring: requests, answers and the placement of keys
//! are the same to the byte, but for two things that Go understands too. A space in a name is sent
//! as `%20`, since Go's server does not read a `+` as one, and the headers above are ignored by it.
//!
//! Go sends no `carrotcache-outcome`; its 404 means no such group, and its 500 says no more than that
//! it failed. Neither is a verdict, so that the value is loaded where it was asked for, as a Go node
//! does for any status but 200.
//!
//! # What is believed
//!
//! Only what is as a node sends it, Go's too. Other things listen in the place of a peer or stand in
//! between, and their pages and errors are no values and no verdicts:
//!
//! | what comes | at the asking node |
//! |---|---|
//! | a 200 of another type than `application/x-protobuf`, or without one | [`Foreign`] |
//! | a 200 with a `carrotcache-outcome`, or one that does not say once where its body ends | [`Foreign`] |
//! | a 200 whose body is compressed, a part, or of two types | [`Foreign`] |
//! | an outcome with another status than its own, or two outcomes | [`Foreign`] |
//! | an outcome that this version does not know, or none: 400, 401, 404, 503, 504 | by the status, as above |
//! | the same with 500 | [`Failed`], no verdict |
//! | any other status: redirects, upgrades | [`Foreign`] |
//! | no HTTP/1, no message, a head or chunks without end | [`Malformed`] |
//! | a connection that ends before its answer does | [`Truncated`] |
//! | an answer that is too large, or finds no room | [`TooLarge`] |
//!
//! Nothing of it is believed until it is bounded in size and in time. The bounds are methods of
//! [`HttpPoolBuilder`], which has a table of them: connecting, shaking hands, a whole get, the head of a request,
//! how fast an answer is taken, the size of an answer and of all answers that are under way, of keys
//! and of groups, the number of connections both ways.
//!
//! An answer is read in parts. The first, of 66 KiB, has to hold its head and all that comes before
//! it, so that a peer which says `100 Continue` for ever is soon done. Each further one is as large
//! as what has come, from 64 KiB to 256 KiB, and is
//! [claimed](HttpPoolBuilder::max_bytes_under_way) before it is read; in between others have their
//! turn. A value is copied out of the buffer that it was read into, so that a hundred bytes in a
//! cache do not hold a hundred kilobytes.
//!
//! # Connections
//!
//! Without a link, a peer has up to [`max_connections`](HttpPoolBuilder::max_connections), each with one get under
//! way. Further gets wait for a fifth of their time unless
//! [set](HttpPoolBuilder::max_wait_percent) otherwise, and then end in an error of kind
//! [`Unreachable`](peer::PeerErrorKind::Unreachable), while there is time to load the value.
//!
//! The connection that was used last is used next. No task stands behind it: the future of a get
//! moves the bytes itself, and takes its connection along when it is dropped. Before a connection
//! is used again its socket is asked whether it is still open and has nothing to say. One that the
//! peer has closed is replaced; one on which something came that nobody had asked for is closed, so
//! that a late or second answer is not taken for that of the next key. (HTTP/1.1 does not number its
//! answers: one too many that arrives after the look, while the right one is waited for, would be.
//! Nodes of this project and Go's send none.) After
//! a get that timed out on a used connection, all unused ones of that peer are closed.
//!
//! While a pool has unused connections, one small task looks at them once a second, so that those
//! which are old or closed by their peers are closed here too.
//!
//! A new connection has 250 ms unless [set](HttpPoolBuilder::connect_timeout) otherwise. A name is
//! looked up by the operating system, on a thread that a hanging resolver may keep: there is one at
//! most for each name, and eight in all. What it finds is used once. All addresses of a name are
//! tried, as RFC 8305 does it: the next one as soon as one fails, or after a tenth of a second at
//! most, and the first that connects is taken.
//!
//! The serving side has a place for each connection, up to
//! [`max_accepted`](HttpPoolBuilder::max_accepted). One on which nothing is asked keeps its place
//! only until somebody else needs it. A peer may close its sending half once it has asked. The price
//! is that one which goes away looks the same, and is noticed when its answer is written or when its
//! time is over.
//!
//! [`Failed`]: peer::PeerErrorKind::Failed
//! [`Foreign`]: peer::PeerErrorKind::Foreign
//! [`Malformed`]: peer::PeerErrorKind::Malformed
//! [`TooLarge`]: peer::PeerErrorKind::TooLarge
//! [`Truncated`]: peer::PeerErrorKind::Truncated
//!
//! # Where to look
//!
//! `pool` (who owns a key, and where peers are; `member`: a peer, `line`: how it is asked,
//! `purging`: how it is told to forget, `standing`: whether there is a link, `health`, `judge` and
//! `crowd`: whether it lives, `watching`: what a link tells of that, `rings`: whether it has the same
//! ring), `link` (`asker` and
//! `owner`: its two sides, `frame`: what is sent), `http` (`client`: a get, `reply`: what is read
//! of an answer, `meter`, `room` and `patience`: what bounds it, `connection`, `connections` and
//! `sweeper`: the sockets under it, `connect`, `lookup` and `race`: how they are opened, `socket`: TCP
//! or TLS, `service`: a request, `caller`: who may purge, `vigil`: whether a peer that is slow lives,
//! `switch`: one that becomes a link, `unsent`: what may wait to be sent, `listener` and
//! `places`: who may connect, `stage` and `guarded`: what a connection is at and how long it has
//! for that), `wire` (`path`, `message`, `outcome`, `about`, `upgrade`: what is sent, `head`: what
//! is believed), `secret`, `tls`, `config` (every bound and its default), `alarm` (the timer of a connection).

mod alarm;
mod config;
mod error;
mod http;
mod link;
mod pool;
mod secret;
mod tls;
mod wire;

#[cfg(all(test, feature = "tls"))]
#[path = "../tests/it/certificates.rs"]
mod certificates;

#[doc = include_str!("protocol.md")]
pub mod protocol {}

pub use error::{BuildError, ServeError, SetPeersError};
pub use http::service::{PeerResponse, PeerService};
#[cfg(fuzzing)]
pub use link::fuzzing;
pub use pool::HttpPool;
pub use pool::builder::HttpPoolBuilder;
pub use pool::fault::UrlFault;
pub use pool::stats::{HealthState, LinkState, PeerHealth, PeerStats, PoolHealth, PoolStats};
pub use pool::url::UrlError;
pub use secret::SecretError;
pub use wire::message::AnswerBody;
pub use wire::path;

pub use carrotcache_peer as peer;
#[cfg(feature = "tls")]
pub use rustls;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
