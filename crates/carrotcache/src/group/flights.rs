//! Flights that outlive their callers.

use std::cmp::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use carrotcache_singleflight::{self as singleflight, Role, Watch};

use crate::error::GetError;
use crate::held::Held;
use crate::home::Home;
use crate::peers::Peers;
use crate::runtime::Bound;

/// A table of flights, none of which is run by those who wait for it.
///
/// So nobody who leaves hurts a flight: it ends, and what it fetched is cached, even if all have left.
/// While it runs its key stays in the table, so no second flight for the key can start beside it.
pub(super) struct Flights {
    group: Arc<str>,
    peers: Arc<Peers>,
    /// Those that live on the node's first runtime. They are found without a lock.
    first: singleflight::Group<Arc<str>, Held, GetError>,
    /// Those that live on the runtime it has moved to since.
    later: RwLock<Table>,
}

/// The flights that live on one runtime.
///
/// A node that moves to another begins a new table: those of the old one may never end, and nobody
/// should find them there.
struct Table {
    flights: singleflight::Group<Arc<str>, Held, GetError>,
    /// The number of the runtime.
    home: u64,
}

/// The runtime on which whatever ends a flight is to live.
#[derive(Clone, Copy)]
pub(super) struct Where<'a> {
    pub(super) home: &'a Arc<Home>,
    /// Whether that is the runtime of whoever starts it.
    pub(super) is_here: bool,
}

/// What a flight brings.
pub(super) type Fetched = Result<Held, GetError>;

/// The duty to end a flight.
pub(super) type Leader = singleflight::Leader<Arc<str>, Held, GetError>;

/// One who waits for a flight.
type Follower = singleflight::Follower<Held, GetError>;

/// What a caller is to a flight.
type Entered = Role<Arc<str>, Held, GetError>;

/// A flight that is new, with all that whoever ends it needs.
pub(super) struct Led {
    pub(super) key: Arc<str>,
    pub(super) leader: Leader,
    pub(super) ticket: Ticket,
}

/// A flight that was joined, and the runtime that it lives on.
pub(super) struct Joined {
    follower: Follower,
    home: Arc<Home>,
}

/// A flight ended without having come to anything, and has to be started anew.
struct Lost {
    /// Whether that is because its runtime is gone.
    is_home_gone: bool,
}

/// A flight's claim to have what it brings kept.
pub(super) struct Ticket {
    watch: Watch,
    /// The number of the runtime that the flight lives on.
    home: u64,
}

impl Ticket {
    /// Returns that of the flight of `leader`, which lives at `home`.
    pub(super) fn new(leader: &Leader, home: &Home) -> Self {
        Self { watch: leader.watch(), home: home.number() }
    }
}

/// How often a caller starts anew when the runtime of its flight is gone. The last attempt is made on
/// the caller's own.
const MAX_ATTEMPTS: usize = 3;

impl Flights {
    pub(super) fn new(group: Arc<str>, peers: Arc<Peers>) -> Self {
        let (first, later) = (singleflight::Group::new(), singleflight::Group::new());
        let later = RwLock::new(Table { flights: later, home: 0 });
        Self { group, peers, first, later }
    }

    /// Starts a flight of `key` that nobody waits for, unless there is one, or no runtime for it.
    pub(super) fn start(&self, key: &str, start: impl FnOnce(Leader, Arc<str>, Where<'_>)) {
        let Ok(home) = self.peers.runtime.home() else { return };
        let at = Where { home: &home, is_here: home.is_here() };
        let (role, copy) = self.enter(&home, key);
        if let Role::Leader(leader) = role {
            start(leader, copy.unwrap_or_else(|| Arc::from(key)), at);
        }
    }

    /// Joins the flight of `key` that lives at `home`, or opens one. Returns the one copy of the key
    /// then, which the table and whoever ends the flight share.
    fn enter(&self, home: &Home, key: &str) -> (Entered, Option<Arc<str>>) {
        let mut copy = None;
        let own = || Arc::clone(copy.insert(Arc::from(key)));
        (self.enter_with(home, key, own), copy)
    }

    fn enter_with(&self, home: &Home, key: &str, own: impl FnOnce() -> Arc<str>) -> Entered {
        match home.number() {
            0 => self.first.join_with(key, own),
            _ => self.flights_at(home).join_with(key, own),
        }
    }

    /// Returns the runtime for the flights of a caller at this attempt.
    ///
    /// It is asked for first: a leader without a runtime would fail the followers who have one.
    fn home(&self, attempt: usize, was_gone: bool) -> Result<Bound<'_>, GetError> {
        match attempt {
            MAX_ATTEMPTS if was_gone => self.peers.runtime.home_at_caller(),
            _ => self.peers.runtime.home(),
        }
    }

    /// Waits for the flight of `key`. If there is none, `start` is given the leader of a new one, and
    /// the runtime on which whatever ends it is to live.
    ///
    /// A caller whose flight lives on a runtime that is gone starts anew, on its own.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on.
    pub(super) async fn join(
        &self,
        key: &str,
        start: impl Fn(Leader, Arc<str>, Where<'_>),
    ) -> Fetched {
        let mut was_gone = false;
        for attempt in 1..=MAX_ATTEMPTS {
            let home = self.home(attempt, was_gone)?;
            let at = Where { home: &home, is_here: home.is_here() };
            let (role, copy) = self.enter(&home, key);
            let follower = match role {
                Role::Follower(follower) => follower,
                Role::Leader(leader) => {
                    let follower = leader.follow();
                    start(leader, copy.unwrap_or_else(|| Arc::from(key)), at);
                    follower
                }
            };
            match self.end_of(follower, key, at).await {
                Ok(fetched) => return fetched,
                Err(lost) => was_gone |= lost.is_home_gone,
            }
        }
        Err(GetError::Abandoned { key: key.into() })
    }

    /// Waits for the flights of `keys`, as [`join`](Self::join) for one, and returns what they bring in
    /// the order of the keys. `start` is given the leaders of all that are new, at once.
    ///
    /// All that are new are on their way before any is waited for. So two callers that want the same
    /// keys in different orders do not wait for each other.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flights go on.
    pub(super) async fn join_many(
        &self,
        keys: &[Arc<str>],
        start: impl Fn(Vec<Led>, Where<'_>),
    ) -> Vec<Fetched> {
        let mut fetched: Vec<Option<Fetched>> = vec![None; keys.len()];
        let mut left: Vec<usize> = (0..keys.len()).collect();
        let mut was_gone = false;
        for attempt in 1..=MAX_ATTEMPTS {
            if left.is_empty() {
                break;
            }
            let home = match self.home(attempt, was_gone) {
                Ok(home) => home,
                Err(error) => {
                    left.iter().for_each(|&key| fetched[key] = Some(Err(error.clone())));
                    break;
                }
            };
            let at = Where { home: &home, is_here: home.is_here() };
            let followers = self.open(left.iter().map(|&key| &keys[key]), at, &start);
            let mut lost_ones = Vec::new();
            for (key, follower) in left.into_iter().zip(followers) {
                match self.end_of(follower, &keys[key], at).await {
                    Ok(ended) => fetched[key] = Some(ended),
                    Err(lost) => {
                        was_gone |= lost.is_home_gone;
                        lost_ones.push(key);
                    }
                }
            }
            left = lost_ones;
        }
        let abandoned = |key: &Arc<str>| Err(GetError::Abandoned { key: Arc::clone(key) });
        (fetched.into_iter().zip(keys))
            .map(|(fetched, key)| fetched.unwrap_or_else(|| abandoned(key)))
            .collect()
    }

    /// Joins the flights of `keys`, and has those started that are new.
    fn open<'a>(
        &self,
        keys: impl Iterator<Item = &'a Arc<str>>,
        at: Where<'_>,
        start: impl FnOnce(Vec<Led>, Where<'_>),
    ) -> Vec<Follower> {
        let mut led = Vec::new();
        let followers = keys.map(|key| match self.enter_with(at.home, key, || Arc::clone(key)) {
            Role::Follower(follower) => follower,
            Role::Leader(leader) => {
                let follower = leader.follow();
                led.push(Led {
                    ticket: Ticket::new(&leader, at.home),
                    key: Arc::clone(key),
                    leader,
                });
                follower
            }
        });
        let followers = followers.collect();
        if !led.is_empty() {
            start(led, at);
        }
        followers
    }

    /// Joins the flights of `keys` without waiting, for callers who then wait for one each. Those that
    /// are new are started in tasks.
    ///
    /// # Errors
    ///
    /// As those of a runtime that is of no use.
    pub(super) fn join_apart<'a>(
        &self,
        keys: impl Iterator<Item = &'a Arc<str>>,
        start: impl FnOnce(Vec<Led>, Where<'_>),
    ) -> Result<Vec<Joined>, GetError> {
        let home = self.peers.runtime.home()?;
        let followers = self.open(keys, Where { home: &home, is_here: false }, start);
        let joined = |follower| Joined { follower, home: Arc::clone(&home) };
        Ok(followers.into_iter().map(joined).collect())
    }

    /// Waits for a flight that was joined. `None` if it has to be started anew.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on.
    pub(super) async fn end_of_joined(&self, joined: Joined, key: &str) -> Option<Fetched> {
        let Joined { follower, home } = joined;
        let at = Where { home: &home, is_here: home.is_here() };
        self.end_of(follower, key, at).await.ok()
    }

    /// Waits for a flight.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the flight goes on.
    async fn end_of(&self, follower: Follower, key: &str, at: Where<'_>) -> Result<Fetched, Lost> {
        let Some(outcome) = at.home.outlive(at.is_here, follower).await else {
            return Err(Lost { is_home_gone: true });
        };
        match outcome.result {
            Ok(entry) => Ok(Ok(entry)),
            Err(singleflight::Error::Abandoned) => {
                Err(Lost { is_home_gone: at.home.is_shut_down() })
            }
            // A loader that meets the end of its runtime fails in ways of its own.
            Err(_) if !at.home.is_here() && at.home.is_shut_down() => {
                Err(Lost { is_home_gone: true })
            }
            Err(error) => Ok(Err(self.to_get_error(error, key))),
        }
    }

    /// Makes the flights of a key void, and takes them out of the tables: what they bring goes to those
    /// who wait already, and is not kept.
    pub(super) fn forget(&self, key: &str) {
        self.first.forget(key);
        self.later().flights.forget(key);
    }

    /// Does the same with the flights of all keys.
    pub(super) fn forget_all(&self) {
        self.first.forget_all();
        self.later().flights.forget_all();
    }

    /// Returns whether what a flight brings may be kept: not if its key was purged meanwhile, and not
    /// if the node has moved to another runtime twice, since nothing finds the flight then that could
    /// say so.
    pub(super) fn is_valid(&self, ticket: &Ticket) -> bool {
        !ticket.watch.is_void() && (ticket.home == 0 || ticket.home == self.later().home)
    }

    /// Returns how many flights are under way.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.first.in_flight() + self.later().flights.in_flight()
    }

    fn later(&self) -> RwLockReadGuard<'_, Table> {
        self.later.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the flights that live at `home`, which is not the first one.
    fn flights_at(&self, home: &Home) -> singleflight::Group<Arc<str>, Held, GetError> {
        let table = self.later();
        match table.home.cmp(&home.number()) {
            Ordering::Equal => return table.flights.clone(),
            // The node has moved on, between two looks of this caller. Nobody should wait for a flight
            // where another runtime is watched.
            Ordering::Greater => return singleflight::Group::new(),
            Ordering::Less => {}
        }
        drop(table);
        let mut table = self.later.write().unwrap_or_else(PoisonError::into_inner);
        if table.home < home.number() {
            *table = Table { flights: singleflight::Group::new(), home: home.number() };
        }
        table.flights.clone()
    }

    /// What a flight's end means to those who wait for it.
    fn to_get_error(&self, error: singleflight::Error<GetError>, key: &str) -> GetError {
        let (group, key) = (Arc::clone(&self.group), Arc::from(key));
        match error {
            singleflight::Error::Failed(error) => error,
            singleflight::Error::Panicked(message) => {
                GetError::LoadPanicked { group, key, message }
            }
            singleflight::Error::Reentrant => GetError::Reentrant { group, key },
            _ => GetError::Abandoned { key },
        }
    }
}
