//! A pool of HTTP peers on a consistent-hash ring: the wire of groupcache, client and server.
