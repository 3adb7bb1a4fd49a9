//! The peers, and who of them owns a key.

mod access_settings;
pub(crate) mod builder;
mod crowd;
pub(crate) mod fault;
mod health;
mod health_settings;
pub(crate) mod host;
pub(crate) mod judge;
mod line;
mod link_settings;
mod member;
mod past;
mod purging;
mod rings;
mod standing;
pub(crate) mod stats;
pub(crate) mod url;
mod watching;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use carrotcache_consistenthash::Ring;
use carrotcache_peer::{Limits, Member as Node, Owner, Peer, Picker};
use tokio::time::Instant;

use crate::config::Config;
use crate::error::SetPeersError;
use crate::http::client::{Client, HttpPeer};
use crate::http::switch::Services;
use crowd::Crowd;
use judge::Judge;
use member::Member;
use past::{Past, Set};
use stats::{PoolHealth, PoolStats};
use url::{BaseUrl, find_same_node};

/// This node's view of all nodes: who owns a key, and how to ask them.
///
/// Clones share one set of peers and their connections. It has no task and no socket of its own:
/// who the peers are is told to it by [`set_peers`](Self::set_peers), as often as that changes, and
/// [`serve`](Self::serve) is called by whoever has a listener.
///
/// ```
/// use carrotcache_peer_http::{HttpPool, peer::Owner};
///
/// let pool = HttpPool::builder("http://10.0.0.1:8001").build()?;
/// assert!(matches!(pool.owner("Tom"), Owner::Local));
///
/// pool.set_peers(["http://10.0.0.1:8001", "http://10.0.0.2:8001"])?;
/// match pool.owner("Tom") {
///     Owner::Local => println!("Tom is ours"),
///     Owner::Remote(peer) => println!("ask {}", peer.label()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct HttpPool {
    shared: Arc<Shared>,
}

/// What the clones of a pool share.
struct Shared {
    /// This node's own base URL.
    own: BaseUrl,
    config: Arc<Config>,
    /// Asks the peers.
    client: Arc<Client>,
    /// What the services of this node share.
    services: Arc<Services>,
    /// Replaced as a whole. Readers hold the lock for as long as it takes to look a key up.
    members: RwLock<Members>,
    /// How many of them do not answer.
    crowd: Arc<Crowd>,
    /// Held while a new set is made, so that of two calls the later one has the last word.
    changing: Mutex<()>,
}

/// All nodes, this one among them.
struct Members {
    ring: Ring,
    /// Who is behind each label of the ring, in its order; `None` is this node.
    nodes: Vec<Option<Arc<Member>>>,
    /// The label of this node, as the list has it: by that its peers know it.
    own_label: Arc<str>,
    past: Past,
}

impl HttpPool {
    /// Returns a pool without peers. `ring` has no nodes.
    pub(crate) fn new(own: BaseUrl, config: Config, ring: Ring) -> Self {
        let own_label = Arc::clone(own.text());
        let members =
            RwLock::new(Members { ring, nodes: Vec::new(), own_label, past: Past::default() });
        let config = Arc::new(config);
        let client = Arc::new(Client::new(Arc::clone(&config)));
        let services = Arc::new(Services::new(config.max_unsent_bytes));
        let (changing, crowd) = (Mutex::default(), Arc::default());
        let shared = Shared { own, config, client, services, members, crowd, changing };
        Self { shared: Arc::new(shared) }
    }

    /// Replaces the peers by those at `urls`, of which this node is one.
    ///
    /// A URL is `http://host[:port]`, or `https://host[:port]` of a peer that is asked in TLS. As it is written it is the peer's label on the ring, so all
    /// nodes have to be given the same list, to the letter. What it means is read from it: without
    /// a port it is port 80, or 443 with `https`, `NODE-1` is the host `node-1`, and `[0:0:0:0:0:0:0:1]` the address
    /// `[::1]`. By that a node finds itself in the list, and a node that is listed twice is found
    /// however it is spelled.
    ///
    /// Keys are looked up in the old set or in the new one, never in a mixture. The connections to
    /// peers that stay are kept, and a get from one that leaves still ends.
    ///
    /// A peer that is taken off the list is *leaving*: no key is its own any more, but it is told what
    /// is removed, and may be looked at for keys that it owned, until it has ended or
    /// [a while](crate::HttpPoolBuilder::hand_off) has passed. So take a node off the list first, and end it
    /// some seconds later.
    ///
    /// Costs what building the ring costs; look-ups go on meanwhile. Two calls at one moment take
    /// effect one after the other.
    ///
    /// ```
    /// # use carrotcache_peer_http::{HttpPool, SetPeersError};
    /// let own = "http://10.0.0.1:8001";
    /// let pool = HttpPool::builder(own).build()?;
    /// pool.set_peers([own, "http://10.0.0.2:8001"])?;
    ///
    /// // Without the node itself, everybody else would send keys here that it sends back.
    /// let refused = pool.set_peers(["http://10.0.0.2:8001"]);
    /// assert!(matches!(refused, Err(SetPeersError::OwnUrlMissing { .. })));
    /// assert_eq!(pool.ring().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`SetPeersError`] if a URL is not `http://host[:port]` or `https://host[:port]` of somebody
    /// who can be reached, one is to be asked in TLS and the builder was given no configuration for
    /// that, two of them mean one node, or this node's own is missing. The old set stays.
    pub fn set_peers<U>(&self, urls: impl IntoIterator<Item = U>) -> Result<(), SetPeersError>
    where
        U: AsRef<str>,
    {
        let parse = |url: U| url.as_ref().parse::<BaseUrl>();
        let urls = urls.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let own_label = self.check_set(&urls)?;
        let labels = urls.iter().map(|url| &**url.text());
        let ring = self.shared.config.ring.clone().nodes(labels).build()?;

        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.members().known();
        let nodes = urls.iter().map(|url| self.node_at(url, &known)).collect();
        // Told to whoever a link is agreed with from now on.
        self.config().link.ring.store(ring.fingerprint(), Ordering::Relaxed);
        let new = Members { ring, nodes, own_label, past: Past::default() };
        let mut members = self.shared.members.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *members, new);
        let Members { ring, nodes, past, .. } = old;
        let before: Vec<_> = nodes.iter().flatten().cloned().collect();
        let present: Vec<_> = members.peers().cloned().collect();
        let new = Set { ring: members.ring.clone(), nodes: members.nodes.clone() };
        let (lasts, now) = (self.config().hand_off, Instant::now());
        let known;
        (members.past, known) = past.after(Set { ring, nodes }, &new, lasts, now);
        // Unlocked first: dropping those that are not known any more may close many connections.
        drop(members);
        drop(known);
        let stay: HashSet<_> = present.iter().map(Arc::as_ptr).collect();
        for peer in before.iter().filter(|peer| !stay.contains(&Arc::as_ptr(peer))) {
            peer.judge().leave();
        }
        for peer in &present {
            peer.judge().join();
            peer.look_at_ring();
        }
        Ok(())
    }

    /// Forgets former peers and rings whose time is over. Nothing does so by itself.
    fn forget_old(&self, now: Instant) {
        if self.members().past.is_over(now) {
            let mut members = self.shared.members.write().unwrap_or_else(PoisonError::into_inner);
            let forgotten = members.past.forget_old(now);
            drop(members);
            drop(forgotten);
        }
    }

    /// Returns this node's label in a set of peers, or what is wrong with it beside the single URLs.
    fn check_set(&self, urls: &[BaseUrl]) -> Result<Arc<str>, SetPeersError> {
        if let Some((first, second)) = find_same_node(urls) {
            let [first, second] = [first, second].map(|url| url.text().as_ref().to_owned());
            return Err(SetPeersError::SameNode { first, second });
        }
        let asked = urls.iter().filter(|url| !url.is_same_node(&self.shared.own));
        if let Some(url) = asked.into_iter().find(|url| url.is_tls())
            && !self.config().tls.is_for_asking()
        {
            return Err(SetPeersError::NoTls { url: url.text().as_ref().to_owned() });
        }
        let own = urls.iter().find(|url| url.is_same_node(&self.shared.own));
        let missing = || SetPeersError::OwnUrlMissing { own: self.base_url().to_owned() };
        Ok(Arc::clone(own.ok_or_else(missing)?.text()))
    }

    /// Returns who owns `key`; this node, until it is told its peers.
    ///
    /// Costs a look-up on the ring and allocates nothing.
    #[must_use]
    pub fn owner(&self, key: &str) -> Owner {
        let members = self.members();
        members.ring.get_index(key).map_or(Owner::Local, |index| members.owner(index))
    }

    /// Returns the ring of the present peers, which is empty until they are set.
    ///
    /// Its [`fingerprint`](Ring::fingerprint) tells whether two nodes agree.
    #[must_use]
    pub fn ring(&self) -> Ring {
        self.members().ring.clone()
    }

    /// Returns how the pool stands with its peers, and what it has counted of their links.
    ///
    /// ```
    /// # use carrotcache_peer_http::HttpPool;
    /// use carrotcache_peer_http::LinkState;
    ///
    /// let pool = HttpPool::builder("http://10.0.0.1:8001").build()?;
    /// pool.set_peers(["http://10.0.0.1:8001", "http://10.0.0.2:8001"])?;
    /// let [peer] = &pool.stats().peers[..] else { unreachable!("one peer beside this node") };
    /// assert_eq!(&*peer.peer, "http://10.0.0.2:8001");
    /// assert_eq!(peer.link, LinkState::Down);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let peers: Vec<_> = self.members().peers().cloned().collect();
        let peers = peers.iter().map(|peer| peer.stats()).collect();
        PoolStats { links_served: self.shared.services.links(), peers }
    }

    /// Returns which peers can be asked, and why not.
    ///
    /// A peer that takes no connection twice in a row, or does not answer for 500 ms and then no ping
    /// within 250 ms, is *ejected*: whoever waits for it is told so, and nobody asks it for a second. Then
    /// one request does, and if that fails, it is ejected for twice as long, up to half a minute. Whatever
    /// comes from it, a refusal too, makes it healthy again. The [ring](Self::ring) does not change by it.
    ///
    /// ```
    /// # use carrotcache_peer_http::HttpPool;
    /// use carrotcache_peer_http::HealthState;
    ///
    /// let pool = HttpPool::builder("http://10.0.0.1:8001").build()?;
    /// pool.set_peers(["http://10.0.0.1:8001", "http://10.0.0.2:8001"])?;
    /// for peer in pool.health().peers {
    ///     assert_eq!(peer.state, HealthState::Healthy, "{}: {:?}", peer.peer, peer.why);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn health(&self) -> PoolHealth {
        let peers: Vec<_> = self.members().peers().cloned().collect();
        let peers = peers.iter().map(|peer| peer.judge().report()).collect();
        PoolHealth { peers, is_ignored: self.shared.crowd.is_ignored() }
    }

    /// Returns this node's own base URL, as it was given to the builder.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.shared.own.text()
    }

    /// Returns the settings.
    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.shared.config
    }

    /// Returns what the services of this node share.
    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.shared.services
    }

    /// Returns the peer at `url`: one that is known already, or a new one; `None` if it is this node.
    fn node_at(&self, url: &BaseUrl, known: &HashMap<String, Arc<Member>>) -> Option<Arc<Member>> {
        if url.is_same_node(&self.shared.own) {
            return None;
        }
        let new = || {
            let crowd = Arc::clone(&self.shared.crowd);
            let judge = Judge::new(Arc::clone(url.text()), Arc::clone(self.config()), crowd);
            let http = HttpPeer::new(url.clone(), Arc::clone(&self.shared.client), judge);
            Arc::new(Member::new(http, Arc::clone(self.config())))
        };
        Some(known.get(&**url.text()).cloned().unwrap_or_else(new))
    }

    fn members(&self) -> RwLockReadGuard<'_, Members> {
        self.shared.members.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// Returns the peers other than this node.
    fn peers(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.nodes.iter().flatten()
    }

    /// Returns who is behind a label of the ring; `None` if it is this node.
    fn peer(&self, index: usize) -> Option<&Arc<Member>> {
        self.nodes.get(index)?.as_ref()
    }

    /// Returns the peers that there are, by their labels, those that leave among them.
    fn known(&self) -> HashMap<String, Arc<Member>> {
        let peers = self.peers().chain(self.past.leaving_at_all());
        peers.map(|peer| (peer.label().to_owned(), Arc::clone(peer))).collect()
    }

    /// Returns who is behind a label of the ring.
    fn owner(&self, index: usize) -> Owner {
        self.peer(index).map_or(Owner::Local, |peer| Owner::Remote(Arc::clone(peer) as _))
    }
}

impl Picker for HttpPool {
    fn owner(&self, key: &str) -> Owner {
        HttpPool::owner(self, key)
    }

    /// Those on the list, and those that leave.
    fn peers(&self) -> Vec<Arc<dyn Peer>> {
        let now = Instant::now();
        self.forget_old(now);
        let members = self.members();
        let peers = members.peers().chain(members.past.leaving(now));
        peers.map(|peer| Arc::clone(peer) as _).collect()
    }

    /// Whoever owned the key before the last change by which this node came to it. Of a node that has just
    /// started that is whoever would own it without this node.
    fn former_owner(&self, key: &str) -> Option<Arc<dyn Peer>> {
        let now = Instant::now();
        self.forget_old(now);
        self.members().past.owner(key, now).map(|peer| Arc::clone(peer) as _)
    }

    /// The next in the order of [`Ring::successors`] that can be asked, this node among them: neither those
    /// that are ejected, nor plain peers, nor those that have not been met over a link.
    fn next(&self, key: &str, failed: &str) -> Option<Owner> {
        let members = self.members();
        let mut order = members.ring.successors(key).indices();
        order.find(|&index| members.ring.label(index) == Some(failed))?;
        let may = |index: &usize| members.peer(*index).is_none_or(|peer| peer.may_stand_in());
        order.find(may).map(|index| members.owner(index))
    }

    fn changes(&self) -> u64 {
        self.members().past.changes()
    }

    /// The label by which the list of peers has this node. `None` without links, since nobody can be told
    /// over HTTP what to forget.
    fn this_node(&self) -> Option<Node> {
        let config = self.config();
        let label = || Arc::clone(&self.members().own_label);
        config.links.then(|| Node { label: label(), incarnation: config.link.incarnation })
    }

    fn limits(&self) -> Limits {
        let config = self.config();
        Limits::new(config.max_group_bytes, config.max_key_bytes)
    }
}

impl fmt::Debug for HttpPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers: Vec<_> = self.ring().labels().map(str::to_owned).collect();
        f.debug_struct("HttpPool")
            .field("base_url", &self.base_url())
            .field("peers", &peers)
            .finish_non_exhaustive()
    }
}
