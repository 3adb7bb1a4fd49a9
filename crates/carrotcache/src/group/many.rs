//! Many keys at once.
//!
//! ```text
//! get_many(keys) ── each: main ── hot ── hit: answered where it stands
//!                                  │ miss: noted, once for each key
//!                        who owns them? ── one lane for each owner, all at once:
//!
//!  a thousand keys ── a flight for each ─┬─ joined: somebody fetches it already
//!                                        └─ led: all of these at once, by one bulk load
//!                                           or one question to their owner
//!                     wait for all, then the next thousand
//! ```

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use carrotcache_byteview::ByteView;
use carrotcache_peer::Owner;
use futures_util::future::join_all;

use super::Group;
use super::flights::Fetched;
use super::nesting::Nesting;
use super::purpose::Load;
use crate::cache::Place;
use crate::error::GetError;

/// How many keys are loaded at once, or asked of one owner.
pub(super) const MAX_BATCH: usize = 1_000;

type Answers = Vec<Result<ByteView, GetError>>;

/// The values of many keys, from [`Group::get_many`]: a future.
///
/// It names no type of the keys, and so may be awaited in a task whatever they were iterated by.
#[must_use = "what was missed is fetched only if it is awaited"]
pub struct GetMany<'a>(Waiting<'a>);

enum Waiting<'a> {
    /// All was cached: no box is paid for.
    ForNothing(Answers),
    ForMisses(Pin<Box<dyn Future<Output = Answers> + Send + 'a>>),
}

impl Future for GetMany<'_> {
    type Output = Vec<Result<ByteView, GetError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Waiting::ForNothing(answers) => Poll::Ready(std::mem::take(answers)),
            Waiting::ForMisses(fetched) => fetched.as_mut().poll(cx),
        }
    }
}

impl std::fmt::Debug for GetMany<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetMany").finish_non_exhaustive()
    }
}

impl Group {
    /// Returns the values of `keys`, each as [`get`](Self::get) would, in the order of the keys.
    ///
    /// What is cached is looked up at once, and costs what it costs with `get`, or less. What is not is fetched at once: keys of
    /// this node by one call of the [bulk loader](crate::BulkLoader) if the group has one, else by the
    /// [loader](crate::Loader) for each, as many at a time as
    /// [`max_loads`](crate::GroupBuilder::max_loads) allows; keys of a peer by one question to it, and by
    /// one bulk load there. A call goes by the thousand, with each owner: the next thousand follows
    /// when the last is done.
    ///
    /// A key may be there twice, and is fetched once. Keys that somebody else fetches already, by a
    /// `get` or another `get_many`, are waited for and not fetched again; and a `get` that comes meanwhile
    /// waits for this.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let loader = |key: String| async move {
    ///     Ok::<_, std::io::Error>((key != "Nobody").then(|| key.to_uppercase()))
    /// };
    /// let names = carrotcache::Node::new().group("names").loader(loader).build()?;
    ///
    /// let found = names.get_many(["Tom", "Nobody", "Jack", ""]).await;
    /// assert_eq!(found[0].as_ref().unwrap(), "TOM");
    /// assert!(found[1].as_ref().unwrap_err().is_not_found());
    /// assert_eq!(found[2].as_ref().unwrap(), "JACK");
    /// assert!(matches!(found[3], Err(carrotcache::GetError::EmptyKey)));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Each key has its own, as with [`get`](Self::get), and what goes wrong with one touches no other:
    /// but for a bulk loader that fails as a whole.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. What is being fetched goes on without it, for the others who wait and
    /// for the cache; what is not yet begun is not begun.
    pub fn get_many<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> GetMany<'_> {
        let keys = keys.into_iter();
        let mut answers = Vec::with_capacity(keys.size_hint().0);
        let mut misses = Misses::default();
        for key in keys {
            let key = key.as_ref();
            let answer = self.look_up(key).unwrap_or_else(|| misses.note(key, answers.len()));
            answers.push(answer);
        }
        if misses.keys.is_empty() {
            return GetMany(Waiting::ForNothing(answers));
        }
        GetMany(Waiting::ForMisses(Box::pin(self.get_misses(answers, misses))))
    }

    /// Fetches what was missed, and returns the answers with it.
    ///
    /// # Cancel safety
    ///
    /// As [`get_many`](Self::get_many).
    async fn get_misses(&self, mut answers: Answers, misses: Misses) -> Answers {
        let fetched = self.fetch_many(&misses.keys).await;
        for (answer, miss) in misses.answers {
            answers[answer] = match &fetched[miss] {
                Ok(held) => value_of(held.value().cloned(), || Arc::clone(&misses.keys[miss])),
                Err(error) => Err(error.clone()),
            };
        }
        answers
    }

    /// Returns what can be said of a key without waiting. `None`, which is a miss, if nothing can.
    #[inline]
    fn look_up(&self, key: &str) -> Option<Result<ByteView, GetError>> {
        if let Err(error) = self.check(key) {
            return Some(Err(error));
        }
        let Some(found) = self.shared.cache.get(key) else {
            self.note_miss();
            return None;
        };
        Some(value_of(self.use_found(key, found).into_value(), || key.into()))
    }

    /// Misses: their owners are asked, all at once, of which this node may be one. Returns what is
    /// fetched in the order of the keys.
    ///
    /// # Cancel safety
    ///
    /// As [`get_many`](Self::get_many).
    async fn fetch_many(&self, keys: &[Arc<str>]) -> Vec<Fetched> {
        let within = Nesting::here();
        let reentrant =
            |key| Err(GetError::Reentrant { group: self.shared_name(), key: Arc::clone(key) });
        // Overwritten by what is fetched, which is all but what is being loaded by who asks here.
        let mut fetched: Vec<Fetched> = keys.iter().map(reentrant).collect();
        let lanes = self.lanes(keys, &within);
        let lanes = lanes.iter().map(|lane| self.fetch_lane(lane, keys, &within));
        for (at, of_key) in join_all(lanes).await.into_iter().flatten() {
            fetched[at] = self.or_stale(&keys[at], of_key);
        }
        fetched
    }

    /// Sorts keys by their owners.
    fn lanes(&self, keys: &[Arc<str>], within: &Nesting) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = Vec::new();
        // By label: a transport may have a new handle of a peer for each call.
        let (mut own, mut of_peers) = (None, HashMap::<Box<str>, usize>::new());
        for (at, key) in keys.iter().enumerate() {
            if within.is_loading(&self.shared, key) {
                continue;
            }
            let owner = self.shared.peers.picker.owner(key);
            let known = match &owner {
                Owner::Local => own,
                Owner::Remote(peer) => of_peers.get(peer.label()).copied(),
            };
            let place = known.unwrap_or_else(|| {
                let next = lanes.len();
                match &owner {
                    Owner::Local => own = Some(next),
                    Owner::Remote(peer) => drop(of_peers.insert(peer.label().into(), next)),
                }
                lanes.push(Lane { owner, keys: Vec::new() });
                next
            });
            lanes[place].keys.push(at);
        }
        lanes
    }

    /// Fetches the keys of one owner, a thousand at a time.
    ///
    /// So a call with very many keys takes no more of the queue for loads, or of what its peer has
    /// in hand at a time, than is fair to others.
    ///
    /// # Cancel safety
    ///
    /// As [`get_many`](Self::get_many).
    async fn fetch_lane(
        &self,
        lane: &Lane,
        keys: &[Arc<str>],
        within: &Nesting,
    ) -> Vec<(usize, Fetched)> {
        let mut fetched = Vec::with_capacity(lane.keys.len());
        for batch in lane.keys.chunks(MAX_BATCH) {
            // As for a get: callers that miss in a loop give others a turn.
            tokio::task::coop::consume_budget().await;
            let keys: Vec<_> = batch.iter().map(|&at| Arc::clone(&keys[at])).collect();
            let of_batch = match &lane.owner {
                Owner::Local => {
                    let is_nested = within.is_within(&self.shared);
                    let (place, within) = (Place::Main, within.clone());
                    let load = Load { place, within, is_nested, newer_than: None };
                    self.load_many(&keys, load).await
                }
                Owner::Remote(peer) => self.forward_many(&keys, peer, within).await,
            };
            fetched.extend(batch.iter().copied().zip(of_batch));
        }
        fetched
    }
}

/// The keys that were not cached, each once.
#[derive(Default)]
struct Misses {
    keys: Vec<Arc<str>>,
    places: HashMap<Arc<str>, usize>,
    /// The answers that are to be had: which, and for which of the keys.
    answers: Vec<(usize, usize)>,
}

impl Misses {
    /// Notes that the answer at a place is to be had for a key, and returns what stands there until
    /// then.
    fn note(&mut self, key: &str, answer: usize) -> Result<ByteView, GetError> {
        let miss = self.places.get(key).copied().unwrap_or_else(|| {
            // The one copy: the flight's table and its end share it.
            let (key, miss) = (Arc::<str>::from(key), self.keys.len());
            self.keys.push(Arc::clone(&key));
            self.places.insert(key, miss);
            miss
        });
        self.answers.push((answer, miss));
        Err(GetError::EmptyKey)
    }
}

/// The keys of one owner.
struct Lane {
    owner: Owner,
    /// Their places among the misses.
    keys: Vec<usize>,
}

/// Unwraps what a caller of `get_many` is given.
fn value_of(value: Option<ByteView>, key: impl FnOnce() -> Arc<str>) -> Result<ByteView, GetError> {
    value.ok_or_else(|| GetError::NotFound { key: key() })
}
