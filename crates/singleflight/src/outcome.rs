use crate::error::Error;

/// How a flight ended, as one of its callers sees it.
///
/// Go's `Do` returns the same three things: value, error, and whether they were shared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome<V, E> {
    /// What came of the work.
    pub result: Result<V, Error<E>>,
    /// Whether more than one caller asked for it, the caller that opened the flight being one,
    /// however many followers it made. What a cache counts as a load that was saved.
    pub shared: bool,
}
