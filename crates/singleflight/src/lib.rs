//! Concurrent calls for one key run the work once and share its result.
