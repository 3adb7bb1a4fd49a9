use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Why a flight ended without a value. Every caller that shared the flight gets a clone.
///
/// The error of the work is the [`source`](std::error::Error::source) of
/// [`Failed`](Self::Failed), and not repeated in its text.
///
/// ```
/// use std::error::Error as _;
///
/// use carrotcache_singleflight::Error;
///
/// let failed = Error::Failed("many".parse::<u32>().unwrap_err());
/// assert_eq!(failed.to_string(), "the shared work failed");
/// assert_eq!(failed.source().unwrap().to_string(), "invalid digit found in string");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The work failed with this error.
    Failed(E),
    /// The work panicked with this message, which is a placeholder if the payload of the panic is
    /// not text.
    Panicked(Arc<str>),
    /// The [`Leader`](crate::Leader) was dropped before it finished.
    Abandoned,
    /// The work waited for its own flight, and would have waited for ever. Given to that call
    /// alone; the flight goes on.
    Reentrant,
}

impl<E> Error<E> {
    /// Returns the error of the work, if it was the work that failed.
    #[must_use]
    pub fn into_failed(self) -> Option<E> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Makes an error of what [`std::panic::catch_unwind`] caught.
    pub(crate) fn caught(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Panicked(message.unwrap_or("a panic without a message").into())
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("the shared work failed"),
            Self::Panicked(message) => write!(f, "the shared work panicked: {message}"),
            Self::Reentrant => f.write_str("the work asked for its own key"),
            Self::Abandoned => f.write_str("the shared work was abandoned before it ended"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}
