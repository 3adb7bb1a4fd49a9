//! A consistent-hash ring that places keys as groupcache does.
