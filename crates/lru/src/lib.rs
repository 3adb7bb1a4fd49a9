//! A least-recently-used cache bounded by weight, with an eviction callback that tells the cause.
