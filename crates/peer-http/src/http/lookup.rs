//! Looks up the names of peers, without piling up behind a resolver that hangs.
//!
//! The system's resolver blocks its thread and cannot be interrupted, so a look-up is bounded in
//! number rather than in time: one at most for each name, a few in all. It runs on a thread of its
//! own. On a runtime's blocking pool it would take places from the files and the databases of the
//! process, and a runtime is not dropped before its blocking tasks have ended.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The look-ups of a pool.
///
/// What was found is not kept: it is asked for once a connection, the operating system keeps it
/// where that is wanted, and a peer that moves is found at once.
pub(crate) struct Lookups {
    resolver: Arc<dyn Resolver>,
    /// One permit for each thread that resolves a name.
    places: Arc<Semaphore>,
    under_way: Arc<UnderWay>,
}

/// Knows the addresses of names.
pub(crate) trait Resolver: Send + Sync + 'static {
    /// Returns the addresses of `name`, in the order in which they are best tried. Their ports mean
    /// nothing.
    ///
    /// Called on a thread that may be blocked for as long as it takes.
    fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of the operating system.
pub(crate) struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        (name, 0).to_socket_addrs().map(Iterator::collect)
    }
}

/// What a look-up found. The error is shared by all who waited.
type Found = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// Where the outcome of each look-up that is under way will be seen.
type UnderWay = Mutex<HashMap<Arc<str>, watch::Receiver<Option<Found>>>>;

/// The most look-ups that are under way at one moment. It is more than a resolver in order ever
/// has to do, and few enough threads to lose to one that hangs.
pub(crate) const MAX_LOOKUPS: usize = 8;

impl Lookups {
    /// Returns look-ups by `resolver`.
    pub(crate) fn new(resolver: impl Resolver) -> Self {
        Self {
            resolver: Arc::new(resolver),
            places: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            under_way: Arc::default(),
        }
    }

    /// Returns the addresses of `name`, from the look-up that is under way or from a new one.
    ///
    /// It may take for ever; the caller bounds it.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. A look-up that has begun goes on for whoever else waits for it
    /// or comes to do so; one that has no place yet is left to those.
    pub(crate) async fn addresses(&self, name: &Arc<str>) -> io::Result<Arc<[SocketAddr]>> {
        loop {
            let (mut outcome, is_ours) = match self.join_or_begin(name) {
                Role::Joined(outcome) => (outcome, false),
                Role::Began(lookup, outcome) => {
                    let places = Arc::clone(&self.places);
                    let place = places.acquire_owned().await.expect("it is never closed");
                    lookup.start(place, Arc::clone(&self.resolver));
                    (outcome, true)
                }
            };
            // Cloned at once: the reference to it is a lock.
            let found =
                outcome.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
            match found {
                Some(found) => return found.map_err(|error| shared_error(&error)),
                None if is_ours => return Err(io::Error::other("the resolver panicked")),
                // Whoever began it was dropped while it waited for a place. We are next.
                None => {}
            }
        }
    }

    /// Joins the look-up of `name`, or begins one if none is under way.
    fn join_or_begin(&self, name: &Arc<str>) -> Role {
        let mut under_way = lock(&self.under_way);
        if let Some(outcome) = under_way.get(name) {
            return Role::Joined(outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        under_way.insert(Arc::clone(name), outcome.clone());
        let under_way = Arc::clone(&self.under_way);
        Role::Began(Lookup { name: Arc::clone(name), under_way, outcome: sender }, outcome)
    }
}

/// What a caller has to do with the look-up that it waits for.
enum Role {
    /// Somebody else began it.
    Joined(watch::Receiver<Option<Found>>),
    /// The caller began it, and has to start it.
    Began(Lookup, watch::Receiver<Option<Found>>),
}

/// The look-up of one name, which is under way until this is dropped.
struct Lookup {
    name: Arc<str>,
    under_way: Arc<UnderWay>,
    outcome: watch::Sender<Option<Found>>,
}

impl Lookup {
    /// Asks `resolver` on a thread of its own, for which there is a `place`.
    fn start(self, place: OwnedSemaphorePermit, resolver: Arc<dyn Resolver>) {
        let outcome = self.outcome.clone();
        let resolve = move || {
            let found = resolver.resolve(&self.name).map(Arc::from).map_err(Arc::new);
            // Before it is told: who comes now wants to know it anew.
            let outcome = self.outcome.clone();
            drop((self, place));
            outcome.send_replace(Some(found));
        };
        let thread = thread::Builder::new().name("carrotcache-lookup".to_owned()).spawn(resolve);
        if let Err(error) = thread {
            outcome.send_replace(Some(Err(Arc::new(error))));
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns an error of its own for one of those who share `error`.
fn shared_error(error: &Arc<io::Error>) -> io::Error {
    io::Error::new(error.kind(), Arc::clone(error))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    /// A resolver that hangs until it is told what to say.
    struct Hanging {
        began: UnboundedSender<String>,
        says: Mutex<mpsc::Receiver<io::Result<Vec<SocketAddr>>>>,
    }

    impl Resolver for Hanging {
        fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
            self.began.send(name.to_owned()).expect("the test goes on");
            self.says.lock().expect("no panic").recv().expect("the test says something")
        }
    }

    /// Look-ups by a resolver that hangs. Which of them ends when it is told something is up to the
    /// threads, so that as many are told as are awaited.
    struct Fixture {
        lookups: Lookups,
        /// The names that the resolver is asked for.
        began: UnboundedReceiver<String>,
        /// Has one of the look-ups end.
        say: mpsc::Sender<io::Result<Vec<SocketAddr>>>,
    }

    type Get<'a> = Pin<Box<dyn Future<Output = io::Result<Arc<[SocketAddr]>>> + 'a>>;

    impl Fixture {
        fn new() -> Self {
            let (began_sender, began) = unbounded_channel();
            let (say, says) = mpsc::channel();
            let resolver = Hanging { began: began_sender, says: Mutex::new(says) };
            Self { lookups: Lookups::new(resolver), began, say }
        }

        /// Has one of the look-ups find something.
        fn find(&self) {
            self.say.send(Ok(vec![address()])).expect("the resolver is there");
        }
    }

    fn address() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 0))
    }

    /// Returns a caller who waits for the addresses of `name`.
    async fn waiting<'a>(lookups: &'a Lookups, name: &str) -> Get<'a> {
        let name: Arc<str> = name.into();
        let mut get: Get<'a> = Box::pin(async move { lookups.addresses(&name).await });
        assert!(is_pending(&mut get).await);
        get
    }

    async fn is_pending(get: &mut Get<'_>) -> bool {
        poll_fn(|cx| Poll::Ready(get.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn callers_for_one_name_share_one_look_up() {
        let Fixture { lookups, mut began, say } = Fixture::new();
        let mut gets = Vec::new();
        for _ in 0..100 {
            gets.push(waiting(&lookups, "node-1").await);
        }
        assert_eq!(began.recv().await.as_deref(), Some("node-1"));
        say.send(Ok(vec![address()])).expect("sent");
        for get in gets {
            assert_eq!(&*get.await.expect("found"), [address()]);
        }
        assert!(began.try_recv().is_err());
    }

    #[tokio::test]
    async fn look_up_goes_on_when_the_caller_that_began_it_has_left() {
        let mut fixture = Fixture::new();
        let first = waiting(&fixture.lookups, "node-1").await;
        assert!(fixture.began.recv().await.is_some());
        drop(first);
        let second = waiting(&fixture.lookups, "node-1").await;
        fixture.find();
        assert_eq!(&*second.await.expect("found"), [address()]);
        assert!(fixture.began.try_recv().is_err());
    }

    #[tokio::test]
    async fn look_ups_of_a_pool_are_bounded() {
        let mut fixture = Fixture::new();
        let names: Vec<_> = (0..100).map(|node| format!("node-{node}")).collect();
        let mut gets = Vec::new();
        for name in &names {
            gets.push(waiting(&fixture.lookups, name).await);
        }
        // The first few are asked for, whatever becomes of them; the others wait for a place.
        for _ in 0..MAX_LOOKUPS {
            assert!(fixture.began.recv().await.is_some());
        }
        assert!(fixture.began.try_recv().is_err());
        assert_eq!(fixture.lookups.places.available_permits(), 0);
        names.iter().for_each(|_| fixture.find());
        for get in gets {
            get.await.expect("found");
        }
        assert!(lock(&fixture.lookups.under_way).is_empty());
        assert_eq!(fixture.lookups.places.available_permits(), MAX_LOOKUPS);
    }

    #[tokio::test]
    async fn caller_that_leaves_while_it_waits_for_a_place_hands_the_look_up_on() {
        let mut fixture = Fixture::new();
        let mut others = Vec::new();
        for node in 0..MAX_LOOKUPS {
            others.push(waiting(&fixture.lookups, &format!("other-{node}")).await);
            assert!(fixture.began.recv().await.is_some());
        }
        let first = waiting(&fixture.lookups, "node-1").await;
        let mut second = waiting(&fixture.lookups, "node-1").await;
        drop(first);
        assert!(is_pending(&mut second).await);
        // All others, which may well end later, and this one.
        (0..=MAX_LOOKUPS).for_each(|_| fixture.find());
        second.await.expect("found");
        assert_eq!(fixture.began.recv().await.as_deref(), Some("node-1"));

        for other in others {
            other.await.expect("found");
        }
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_look_up_that_nobody_waits_for_a_place_for() {
        let mut fixture = Fixture::new();
        let mut others = Vec::new();
        for node in 0..MAX_LOOKUPS {
            others.push(waiting(&fixture.lookups, &format!("other-{node}")).await);
            assert!(fixture.began.recv().await.is_some());
        }
        drop(waiting(&fixture.lookups, "node-1").await);
        assert!(!lock(&fixture.lookups.under_way).contains_key("node-1"));
        others.iter().for_each(|_| fixture.find());
        for other in others {
            other.await.expect("found");
        }
        assert!(fixture.began.try_recv().is_err());
    }

    #[tokio::test]
    async fn outcome_is_not_remembered() {
        let mut fixture = Fixture::new();
        for _ in 0..3 {
            let get = waiting(&fixture.lookups, "node-1").await;
            assert!(fixture.began.recv().await.is_some());
            let error = Err(io::ErrorKind::ConnectionReset.into());
            fixture.say.send(error).expect("sent");
            let error = get.await.expect_err("it failed");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

            let get = waiting(&fixture.lookups, "node-1").await;
            assert!(fixture.began.recv().await.is_some());
            fixture.find();
            get.await.expect("found");
        }
    }

    #[tokio::test]
    async fn resolver_that_panics_fails_the_look_up_and_keeps_no_place() {
        struct Panics;
        impl Resolver for Panics {
            fn resolve(&self, _name: &str) -> io::Result<Vec<SocketAddr>> {
                panic!("as asked")
            }
        }
        let lookups = Lookups::new(Panics);
        for _ in 0..2 * MAX_LOOKUPS {
            lookups.addresses(&"node-1".into()).await.expect_err("a panic");
        }
    }
}
