//! The user's half of a group: the function that fetches a value on a miss.

use std::future::Future;

use carrotcache_peer::BoxError;
use futures_util::future::{BoxFuture, FutureExt};

use crate::value::{IntoValue, Value};

/// Fetches the value of a key from where it really lives.
///
/// A group calls its loader on a miss and only then, and at most once at a time for a key. The future
/// is first polled where the get is, in the get's own tracing span, and moves into a task if it is
/// not ready then: callers that give up do not stop a load, and what it fetches is cached all the
/// same. A load that takes longer than the group's
/// [`load_timeout`](crate::GroupBuilder::load_timeout) is dropped, so a loader that never ends holds
/// up its own key alone, and not for ever.
///
/// Every `Fn(String) -> Future` with a fitting result is a loader, so most loaders are closures. The
/// future moves between threads: what it holds across an `.await` is `Send`.
///
/// ```
/// # async fn find(key: &str) -> Result<Option<String>, std::io::Error> { Ok(None) }
/// use carrotcache::Loader;
///
/// fn takes_a_loader(loader: impl Loader) {}
/// takes_a_loader(|key: String| async move { find(&key).await });
/// ```
///
/// # The key is a `String`
///
/// A load may outlive the get that asked for it, so it owns its key: a closure that takes `&str` is
/// no loader. Where a function wants a `&str`, lend it the key inside:
///
/// ```
/// # let node = carrotcache::Node::new();
/// async fn find(name: &str) -> std::io::Result<Option<Vec<u8>>> {
///     Ok(Some(name.as_bytes().to_vec()))
/// }
///
/// node.group("users").loader(|key: String| async move { find(&key).await }).build()?;
/// # Ok::<_, carrotcache::BuildGroupError>(())
/// ```
///
/// # A pool that the closure captures
///
/// The closure is called for each miss, so it must keep what it captures and give each load a clone.
/// Without the inner `clone` the first load would take the pool away, and the compiler says that
/// the closure "is `FnOnce` because it moves the variable `pool` out of its environment". A pool of
/// connections is a handle, and cloning it costs next to nothing; what has no `Clone` goes into an
/// [`Arc`](std::sync::Arc).
///
/// ```
/// # let node = carrotcache::Node::new();
/// # #[derive(Clone)]
/// # struct Pool;
/// # impl Pool {
/// #     async fn find(&self, key: &str) -> std::io::Result<Option<String>> { Ok(None) }
/// # }
/// # let pool = Pool;
/// let loader = move |key: String| {
///     let pool = pool.clone();
///     async move { pool.find(&key).await }
/// };
/// node.group("users").loader(loader).build()?;
/// # Ok::<_, carrotcache::BuildGroupError>(())
/// ```
///
/// # `?` inside the closure
///
/// `?` turns any error into that of the block, and nothing in a closure says which one that is: the
/// compiler asks for type annotations. Name it at the end, as here, or write the body as an
/// `async fn` and call that. `anyhow::Error` will do, and so will every error type of your own that
/// is `Send + Sync + 'static`. A `Box<dyn Error>` without `+ Send + Sync` will not: it cannot go to
/// the threads of all who wait.
///
/// ```
/// # use std::error::Error;
/// # let node = carrotcache::Node::new();
/// let loader = |key: String| async move {
///     let number: u64 = key.parse()?;
///     Ok::<_, Box<dyn Error + Send + Sync>>(Some(number.to_string()))
/// };
/// node.group("numbers").loader(loader).build()?;
/// # Ok::<_, carrotcache::BuildGroupError>(())
/// ```
///
/// # A source that blocks
///
/// A loader that blocks its thread (a file, a driver that is not async) holds up whatever else runs
/// there, its caller first of all, and no time limit ends it. Hand the work to
/// `tokio::task::spawn_blocking` and await that.
///
/// # Many keys by one query
///
/// [`get_many`](crate::Group::get_many) calls the loader for each key, some at a time. A
/// [`BulkLoader`](crate::BulkLoader) beside it, or instead of it, fetches all of them at once.
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
/// impl carrotcache::Loader for Table {
///     type Value = Vec<u8>;
///     type Error = Infallible;
///
///     async fn load(&self, key: String) -> Result<Option<Vec<u8>>, Infallible> {
///         Ok(self.0.get(&key).cloned())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a loader",
    label = "neither a closure that a group can call nor a type that implements `Loader`",
    note = "a closure: `|key: String| async move {{ Ok::<_, MyError>(Some(value)) }}`",
    note = "a type with state of its own: `impl Loader for MyType`, with an `async fn load`"
)]
pub trait Loader: Send + Sync + 'static {
    /// What a load yields: bytes or text in one of the usual types, or a [`Value`].
    type Value: IntoValue;

    /// Why a load failed. It becomes the [`source`](std::error::Error::source) of
    /// [`GetError::LoadFailed`](crate::GetError::LoadFailed).
    type Error: Into<BoxError>;

    /// Returns the value of `key`, `Ok(None)` if there is no such thing, or why it could not be
    /// fetched.
    ///
    /// # Errors
    ///
    /// Whatever kept the loader from an answer. It is given to everyone who waits for the key, and
    /// nothing is cached.
    ///
    /// # Cancel safety
    ///
    /// No caller drops the future by leaving. It is dropped early when the group's load timeout has
    /// passed, and when the node's runtime shuts down.
    fn load(
        &self,
        key: String,
    ) -> impl Future<Output = Result<Option<Self::Value>, Self::Error>> + Send;
}

impl<F, Fut, V, E> Loader for F
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send,
    V: IntoValue,
    E: Into<BoxError>,
{
    type Value = V;
    type Error = E;

    fn load(&self, key: String) -> impl Future<Output = Result<Option<V>, E>> + Send {
        self(key)
    }
}

/// A [`Loader`] of any type, so that `Group` need not be generic.
pub(crate) trait ErasedLoader: Send + Sync {
    fn load(&self, key: String) -> BoxFuture<'_, Result<Option<Value>, BoxError>>;
}

impl<L: Loader> ErasedLoader for L {
    fn load(&self, key: String) -> BoxFuture<'_, Result<Option<Value>, BoxError>> {
        // The call stands inside the future, so that a loader that panics before its first await
        // panics where the flight catches it.
        async move {
            match Loader::load(self, key).await {
                Ok(value) => Ok(value.map(IntoValue::into_value)),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }
}
