//! What each side of a link makes of given bytes, and that it makes the same of them however they are
//! cut. For the tests, and for `fuzz/`, which makes the bytes up.

mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use carrotcache_peer::{
    Answer, Completion, Entry, Fate, Handler, Keys, Member, PeerError, PeerErrorKind, Purge,
    Purged, Reply, Request, Step,
};
use tokio::runtime::Handle;

pub(crate) use self::stream::Script;
use self::stream::Stream;
use super::asker::{Link, PurgeWaiter, Waiter};
use super::config::LinkConfig;
use super::end::End;
use super::frame::reply::FromOwner;
use super::frame::{Front, HEADER_BYTES, Header, Id, front, kind};
use super::owner::{Activity, Serving};
use crate::config::Config;

/// How many gets the asker has under way. They have the slots and the generations from zero on.
pub(crate) const GETS: usize = 8;

/// How many purges it has under way. They have the numbers from zero on.
const PURGES: usize = 2;

/// How long an entry is good that is not good for ever.
const SECOND: Duration = Duration::from_secs(1);

/// Values longer than this are large, for the owner: small frames overtake them.
const SMALL_BYTES: usize = 4 << 10;

/// What an asker was told by the script of an owner.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What each get and then each purge was told, each time that it was.
    pub(crate) told: Vec<Vec<String>>,
    /// How often each get was sent to where HTTP is spoken, by its number.
    pub(crate) detoured: BTreeMap<usize, usize>,
    pub(crate) end: Arc<End>,
}

/// Has an asker with some gets and purges under way read a script.
///
/// # Cancel safety
///
/// Dropping it ends the link.
pub(crate) async fn ask(script: &Script) -> Asked {
    let told: Arc<Mutex<Vec<Vec<String>>>> = Arc::new(Mutex::new(vec![Vec::new(); GETS + PURGES]));
    let detoured: Arc<Mutex<BTreeMap<usize, usize>>> = Arc::default();
    let detours = Arc::clone(&detoured);
    let detour = Arc::new(move |waiter: Waiter| {
        let number = waiter.request.key.parse().expect("keys are numbers");
        *detours.lock().expect("no panic").entry(number).or_default() += 1;
    });
    let (link, driver) =
        Link::new(Stream::new(script), &script.early, None, LinkConfig::default(), detour);
    for number in 0..GETS {
        let told = Arc::clone(&told);
        let completion = Completion::new(move |answer| {
            told.lock().expect("no panic")[number].push(tell(answer));
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let request = Request::new("g", number.to_string(), deadline);
        assert!(link.get(Waiter::new(request, completion)).is_ok());
    }
    for number in GETS..GETS + PURGES {
        let told = Arc::clone(&told);
        let completion = Completion::new(move |purged| {
            told.lock().expect("no panic")[number].push(tell(purged));
        });
        let sender = Member { label: "me".into(), incarnation: 1 };
        let deadline = Instant::now() + Duration::from_secs(60);
        let purge = Purge::new("g", Keys::All, sender, Step::Close { attempt: 1 }, deadline);
        assert!(link.purge(PurgeWaiter::new(purge, completion)).is_ok());
    }
    let end = driver.await;
    assert_eq!(link.in_flight(), 0, "no slot is left");
    let take = |told: &Mutex<Vec<_>>| std::mem::take(&mut *told.lock().expect("no panic"));
    let detoured = std::mem::take(&mut *detoured.lock().expect("no panic"));
    Asked { told: take(&told), detoured, end }
}

/// Returns what a completion was told, as text that can be compared.
pub(crate) fn tell<T: fmt::Debug>(answer: Result<T, PeerError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("{:?}: {}", error.kind, error.causes()),
    }
}

/// Checks that an asker makes the same of a script as of its bytes in one read, and returns that.
///
/// # Panics
///
/// When it does not, or a get is not told exactly once.
///
/// # Cancel safety
///
/// Dropping it ends the link.
pub(crate) async fn check_asker(script: &Script) -> Asked {
    let (whole, cut) = (ask(&Script::whole(&script.bytes())).await, ask(script).await);
    for asked in [&whole, &cut] {
        for (number, told) in asked.told.iter().enumerate() {
            assert_eq!(told.len(), 1, "get {number} was told once: {told:?}");
        }
        assert!(asked.detoured.values().all(|times| *times == 1), "{:?}", asked.detoured);
    }
    assert_eq!(whole.told, cut.told, "what the gets were told");
    assert_eq!(whole.detoured, cut.detoured, "which gets go over HTTP");
    assert_same_end(&whole.end, &cut.end);
    whole
}

/// What an owner sent for the script of an asker.
#[derive(Debug)]
pub(crate) struct Served {
    /// The frames that are sent in the order of what they answer.
    pub(crate) small: Vec<(Header, Vec<u8>)>,
    /// The long values, which small frames overtake.
    pub(crate) large: Vec<(Id, usize)>,
    pub(crate) end: End,
}

/// Has an owner read a script. The first letter of a key says how it is answered: see [`Letters`].
///
/// # Cancel safety
///
/// Dropping it ends the link.
pub(crate) async fn serve(script: &Script) -> Served {
    let (handler, config) = (Arc::new(Letters), Arc::new(Config::default()));
    let mut stream = Stream::new(script);
    let activity = Activity::default();
    let early = &script.early;
    let end = Serving::new(&mut stream, early, None, handler, config, activity, pending()).await;
    // Loads are dropped with the link. The runtime does it, which here has nothing else to do.
    let runtime = Handle::current().metrics();
    while runtime.num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
    let (mut small, mut large) = (Vec::new(), Vec::new());
    let mut rest = &stream.written[..];
    while let Ok(Front::Whole(header, payload)) = front(rest, u32::MAX) {
        assert_ne!(FromOwner::decode(header, payload), Ok(FromOwner::Unknown));
        if header.kind == kind::VALUE && payload.len() > SMALL_BYTES {
            large.push((header.id, payload.len()));
        } else {
            small.push((header, payload.to_vec()));
        }
        rest = &rest[HEADER_BYTES + payload.len()..];
    }
    // A link that is cut may be cut within a frame.
    assert!(rest.is_empty() || matches!(end, End::Violation(_)), "{end:?}, {rest:?}");
    Served { small, large, end }
}

/// Checks that an owner makes the same of a script as of its bytes in one read, and returns that.
///
/// # Panics
///
/// When it does not.
///
/// # Cancel safety
///
/// Dropping it ends the link.
pub(crate) async fn check_owner(script: &Script) -> Served {
    let bytes = script.bytes();
    let (whole, cut) = (serve(&Script::whole(&bytes)).await, serve(script).await);
    assert_same_end(&whole.end, &cut.end);
    if matches!((&whole.end, &cut.end), (End::Violation(_), _) | (_, End::Goodbye)) {
        // What breaks the protocol is noticed before the answers to what the same read brought are
        // written. An asker that says GOAWAY is left once it has its answers, so what it says later
        // may be read or not. How much is sent depends on the cuts, and what it is does not.
        let (short, long) = match whole.small.len() < cut.small.len() {
            true => (&whole.small, &cut.small),
            false => (&cut.small, &whole.small),
        };
        assert!(long.starts_with(short), "{whole:?}, {cut:?}");
        return whole;
    }
    assert_eq!(whole.small, cut.small);
    // A value that was not sent yet may be cancelled, which depends on the cuts.
    if !frames(&bytes).any(|header| header.kind == kind::CANCEL) {
        assert_eq!(whole.large, cut.large);
    }
    whole
}

/// Returns the headers of frames, as long as whole ones follow each other.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Header> {
    std::iter::from_fn(move || match front(bytes, u32::MAX) {
        Ok(Front::Whole(header, payload)) => {
            bytes = &bytes[HEADER_BYTES + payload.len()..];
            Some(header)
        }
        _ => None,
    })
}

/// Both ends are the same, but for a GOAWAY: whether anything is read after it depends on the pauses.
fn assert_same_end(whole: &End, cut: &End) {
    if !matches!(cut, End::Goodbye) {
        assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
    }
}

/// Answers by the first letter of a key: `a`bsent, `b`ig, `f`ails, at `h`and, `l`oads for ever,
/// `q` with its rate, `t` with its times; anything else is the key itself.
struct Letters;

impl Handler for Letters {
    fn answer(&self, request: Request) -> Reply {
        let key = &*request.key;
        let answer = match key.as_bytes().first() {
            Some(b'a') => Answer::absent(),
            Some(b'b') => Answer::new(vec![b'b'; SMALL_BYTES + key.len()]),
            Some(b'f') => {
                let error = PeerError::new(PeerErrorKind::LoadFailed).with_source("no disk");
                return Reply::ready(Err(error));
            }
            Some(b'l') => return Reply::pending(pending()),
            Some(b'q') => Answer::new(key.to_owned()).with_minute_qps(1.5),
            Some(b't') => {
                let entry = Entry::new(key.to_owned());
                Answer::new(entry.with_fresh_for(SECOND).with_stale_for(SECOND))
            }
            _ => Answer::new(key.to_owned()),
        };
        Reply::ready(Ok(answer))
    }

    /// Purges by the first letter of the group: `f`ails, `l`asts for ever; all others are done at once.
    fn purge(&self, purge: Purge) -> Reply<Purged> {
        match purge.group.as_bytes().first() {
            Some(b'f') => Reply::ready(Err(PeerErrorKind::NoSuchGroup.into())),
            Some(b'l') => Reply::pending(pending()),
            _ => Reply::ready(Ok(Purged::new(1, Fate::Closed { token: 2 }))),
        }
    }

    fn at_hand(&self, _group: &str, key: &str) -> Option<Answer> {
        key.starts_with('h').then(|| Answer::new(key.to_owned()))
    }

    fn look(&self, group: &str, key: &str) -> Option<Answer> {
        self.at_hand(group, key)
    }
}
