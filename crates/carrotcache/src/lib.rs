//! A distributed read-through cache that lives inside the processes that use it.
