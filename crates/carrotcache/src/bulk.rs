//! The user's function that fetches many values at once.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use carrotcache_peer::BoxError;
use futures_util::future::{BoxFuture, FutureExt};

use crate::loader::ErasedLoader;
use crate::stats::Counters;
use crate::value::{IntoValue, Value};

/// Fetches the values of many keys from where they really live, as one query does.
///
/// [`Group::get_many`](crate::Group::get_many) calls it with the keys that were not cached and that
/// nobody fetches yet: each once, in no particular order, a thousand at most. What it returns is
/// matched to them by key. A key that is not in its answer is one for which there is no such thing;
/// what was not asked for is ignored; and of a key that is there twice, the last counts.
///
/// Every `Fn(Vec<String>) -> Future` with a fitting result is a bulk loader, so most are closures. Its
/// answer is anything that can be gone through and has pairs of keys and values: a `HashMap`, a `Vec`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::collections::HashMap;
///
/// use carrotcache::Node;
///
/// # struct Row { id: String, profile: String }
/// # async fn query(sql: &str, ids: Vec<String>) -> Result<Vec<Row>, std::io::Error> {
/// #     let row = |id: String| Row { profile: format!("the profile of {id}"), id };
/// #     Ok(ids.into_iter().filter(|id| id != "9").map(row).collect())
/// # }
/// let users = Node::new()
///     .group("users")
///     .bulk_loader(|ids: Vec<String>| async move {
///         // One query, whatever the number of keys.
///         let rows = query("SELECT id, profile FROM users WHERE id = ANY($1)", ids).await?;
///         let profiles = rows.into_iter().map(|row| (row.id, row.profile));
///         Ok::<HashMap<_, _>, std::io::Error>(profiles.collect())
///     })
///     .build()?;
///
/// let profiles = users.get_many(["7", "9", "8"]).await;
/// assert_eq!(profiles[0].as_ref().unwrap(), "the profile of 7");
/// assert!(profiles[1].as_ref().unwrap_err().is_not_found());
/// assert_eq!(profiles[2].as_ref().unwrap(), "the profile of 8");
/// assert_eq!(users.stats().bulk_loads, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// A group may have a [`Loader`](crate::Loader) beside it, which [`Group::get`](crate::Group::get) then
/// calls. Without one, a get is a bulk load of one key.
///
/// # Errors
///
/// An error of the bulk loader is that of each of its keys, and so is a panic, or that it took longer
/// than the group's [`load_timeout`](crate::GroupBuilder::load_timeout). What has gone wrong with one
/// key alone is told as a [`Loaded`], and touches no other.
///
/// # A type with state
///
/// A type with state of its own implements the trait, with a plain `async fn`:
///
/// ```
/// use std::collections::HashMap;
/// use std::convert::Infallible;
///
/// struct Table(HashMap<String, Vec<u8>>);
///
/// impl carrotcache::BulkLoader for Table {
///     type Value = Vec<u8>;
///     type Answer = Vec<(String, Vec<u8>)>;
///     type Error = Infallible;
///
///     async fn load_many(&self, keys: Vec<String>) -> Result<Self::Answer, Infallible> {
///         let find = |key: String| Some((self.0.get(&key)?.clone(), key));
///         Ok(keys.into_iter().filter_map(find).map(|(value, key)| (key, value)).collect())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a bulk loader",
    label = "neither a closure that a group can call nor a type that implements `BulkLoader`",
    note = "a closure: `|keys: Vec<String>| async move {{ Ok::<_, MyError>(values) }}`, where `values` \
            is a `HashMap<String, V>`, a `Vec<(String, V)>` or the like",
    note = "a type with state of its own: `impl BulkLoader for MyType`, with an `async fn load_many`"
)]
pub trait BulkLoader: Send + Sync + 'static {
    /// What there is for one key: what a [`Loader`](crate::Loader) may return as a value, or a
    /// [`Loaded`].
    type Value: IntoLoaded;

    /// Pairs of keys and what there is for them.
    type Answer: IntoIterator<Item = (String, Self::Value)>;

    /// Why nothing could be fetched. It becomes the [`source`](std::error::Error::source) of
    /// [`GetError::LoadFailed`](crate::GetError::LoadFailed) for each key.
    type Error: Into<BoxError>;

    /// Returns what there is for `keys`, or why none of them could be fetched.
    ///
    /// # Errors
    ///
    /// Whatever kept the loader from an answer. It is given to everyone who waits for any of the keys,
    /// and nothing is cached.
    ///
    /// # Cancel safety
    ///
    /// No caller drops the future by leaving. It is dropped early when the group's load timeout has
    /// passed, and when the node's runtime shuts down.
    fn load_many(
        &self,
        keys: Vec<String>,
    ) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send;
}

impl<F, Fut, A, V, E> BulkLoader for F
where
    F: Fn(Vec<String>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<A, E>> + Send,
    A: IntoIterator<Item = (String, V)>,
    V: IntoLoaded,
    E: Into<BoxError>,
{
    type Value = V;
    type Answer = A;
    type Error = E;

    fn load_many(&self, keys: Vec<String>) -> impl Future<Output = Result<A, E>> + Send {
        self(keys)
    }
}

/// What a bulk loader has for one key: a value, or why there is none.
///
/// For sources that answer key by key. It is made of a `Result`:
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::io::Error;
///
/// use carrotcache::{GetError, Loaded, Node};
///
/// let numbers = Node::new()
///     .group("numbers")
///     .bulk_loader(|keys: Vec<String>| async move {
///         let load = |key: String| {
///             let number = key.parse::<u32>().map(|number| (number * 2).to_string());
///             (key, Loaded::from(number))
///         };
///         Ok::<_, Error>(keys.into_iter().map(load).collect::<Vec<_>>())
///     })
///     .build()?;
///
/// let answers = numbers.get_many(["4", "four"]).await;
/// assert_eq!(answers[0].as_ref().unwrap(), "8");
/// assert!(matches!(answers[1], Err(GetError::LoadFailed { .. })));
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Loaded(Result<Value, BoxError>);

impl<V: IntoValue, E: Into<BoxError>> From<Result<V, E>> for Loaded {
    fn from(loaded: Result<V, E>) -> Self {
        Self(loaded.map(IntoValue::into_value).map_err(Into::into))
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a [`BulkLoader`] may return for a key: a value as a [`Loader`](crate::Loader) returns it, or a
/// [`Loaded`].
///
/// The trait is there so that the compiler can say what to do about any other type; it is not
/// implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a bulk loader has for a key",
    label = "neither bytes nor text, nor `Loaded`",
    note = "a bulk loader returns `Vec<u8>`, `String`, `&'static str`, `Bytes`, `Value` or the like for \
            each key; one that is not there is left out",
    note = "an error of one key alone is told by `Loaded::from(result)`",
    note = "encode other types in the loader, for example by `serde_json::to_vec`, or write \
            `impl From<MyType> for Value`"
)]
pub trait IntoLoaded {
    /// Returns what there is for the key.
    fn into_loaded(self) -> Loaded;
}

#[diagnostic::do_not_recommend]
impl<T: IntoValue> IntoLoaded for T {
    fn into_loaded(self) -> Loaded {
        Loaded(Ok(self.into_value()))
    }
}

impl IntoLoaded for Loaded {
    fn into_loaded(self) -> Loaded {
        self
    }
}

/// A [`BulkLoader`] of any type, so that `Group` need not be generic.
pub(crate) trait ErasedBulkLoader: Send + Sync {
    fn load_many(&self, keys: Vec<String>) -> BoxFuture<'_, Result<Answers, BoxError>>;
}

/// What a bulk loader has answered, as it came.
pub(crate) type Answers = Vec<(String, Result<Value, BoxError>)>;

impl<L: BulkLoader> ErasedBulkLoader for L {
    fn load_many(&self, keys: Vec<String>) -> BoxFuture<'_, Result<Answers, BoxError>> {
        // All that is the user's stands inside the future, so that it panics where the load catches it.
        async move {
            match BulkLoader::load_many(self, keys).await {
                Ok(answer) => {
                    let pair = |(key, value): (String, L::Value)| (key, value.into_loaded().0);
                    Ok(answer.into_iter().map(pair).collect())
                }
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }
}

/// What a group loads with.
pub(crate) enum Loaders {
    One(Arc<dyn ErasedLoader>),
    Many(Arc<dyn ErasedBulkLoader>),
    Both { one: Arc<dyn ErasedLoader>, many: Arc<dyn ErasedBulkLoader> },
}

impl Loaders {
    /// Returns what a group loads with that was given these; `None` if it was given nothing.
    pub(crate) fn new(
        one: Option<Arc<dyn ErasedLoader>>,
        many: Option<Arc<dyn ErasedBulkLoader>>,
    ) -> Option<Self> {
        match (one, many) {
            (Some(one), Some(many)) => Some(Self::Both { one, many }),
            (Some(one), None) => Some(Self::One(one)),
            (None, Some(many)) => Some(Self::Many(many)),
            (None, None) => None,
        }
    }

    /// Returns what loads many keys at once, if there is such a thing.
    pub(crate) fn bulk(&self) -> Option<&Arc<dyn ErasedBulkLoader>> {
        match self {
            Self::One(_) => None,
            Self::Many(many) | Self::Both { many, .. } => Some(many),
        }
    }

    /// Loads one key.
    pub(crate) fn load(
        &self,
        key: String,
        counters: &Counters,
    ) -> BoxFuture<'_, Result<Option<Value>, BoxError>> {
        let many = match self {
            Self::One(one) | Self::Both { one, .. } => return one.load(key),
            Self::Many(many) => many,
        };
        counters.bulk_loads.add_one();
        async move {
            let answers = many.load_many(vec![key.clone()]).await?;
            let of_key = answers.into_iter().rev().find(|(of, _)| *of == key);
            of_key.map(|(_, loaded)| loaded).transpose()
        }
        .boxed()
    }
}
