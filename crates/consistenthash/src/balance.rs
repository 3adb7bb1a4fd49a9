//! How evenly the schemes share keys out, and which to choose.
//!
//! This module holds no code. It is a page to read before two processes have to agree.
//!
//! # Which to choose
//!
//! | you have | choose |
//! |---|---|
//! | Go nodes with `golang/groupcache` on the same ring | [`Groupcache`] with their number of points (50 unless they say otherwise) |
//! | Go nodes with mailgun's `groupcache/v2` | [`MailgunV2`] |
//! | Go nodes with `groupcache/groupcache-go/v3` | [`GroupcacheGoV3`] |
//! | only nodes of your own | [`Balanced`] |
//! | a hash function that must be used | [`from_hash`], or [`Custom`] for anything else |
//!
//! All nodes have to change together: while some use one scheme and some another, they disagree
//! on nearly every owner. Keys are then fetched from nodes that do not expect them. That is slow,
//! not wrong, and [`Ring::fingerprint`](crate::Ring::fingerprint) makes it visible.
//!
//! # How uneven a ring is
//!
//! Points placed at random do not share keys out exactly. For `n` nodes of `V` points the relative
//! standard deviation of a share is about `sqrt((n - 1) / (n V + 1))`: 13 % at 10 nodes of 50
//! points, 4 % at 10 nodes of 512. No placement by hashes does better on average, so that is the
//! ideal below. In a ring that is off by 13 %, the node that is worst off holds about a fifth more
//! than its part; that is the memory and the load to plan for.
//!
//! CRC-32 is not random. It is linear: the points of two labels of one length are the same
//! pattern, moved by an xor. `http://127.0.0.1:8001` and `:8002` differ in few bits, so their
//! patterns often fall on each other, and one node gets arcs that are always short. More points do
//! not help, because they only repeat the pattern more finely:
//!
//! | labels | nodes × points | ideal | `groupcache` | `balanced` | `mailgun-v2` |
//! |---|---|---|---|---|---|
//! | `http://127.0.0.1:8001`, `:8002`, … | 10 × 50 | 13.4 % | 24.9 % | 13.6 % | 12.2 % |
//! | | 10 × 512 | 4.2 % | **42.1 %** | 3.0 % | 3.7 % |
//! | | 100 × 512 | 4.4 % | 19.2 % | 3.8 % | 4.3 % |
//! | `http://cache-0.cache.default.svc:8080`, … | 10 × 50 | 13.4 % | 12.1 % | 15.2 % | 9.8 % |
//! | | 10 × 512 | 4.2 % | 6.0 % | 3.6 % | 4.8 % |
//! | | 100 × 512 | 4.4 % | **24.5 %** | 4.5 % | 4.2 % |
//! | `http://10.0.0.1:8080`, `http://10.0.0.2:8080`, … | 10 × 50 | 13.4 % | 12.4 % | 17.5 % | 8.2 % |
//! | | 10 × 512 | 4.2 % | 11.6 % | 4.8 % | 3.3 % |
//! | | 100 × 512 | 4.4 % | 14.0 % | 4.3 % | 4.3 % |
//!
//! (Relative standard deviation of the shares; single rings, so a figure may be lucky. Tests hold
//! `balanced` to 1.3 times the ideal on these labels.) [`Balanced`] takes the same CRC-32 and
//! stirs it with MurmurHash3's finaliser, which is not linear and costs a nanosecond.
//!
//! [`Ring::shares`](crate::Ring::shares) tells the shares of a ring at hand. Where even the ideal
//! is too uneven, or single keys are too popular,
//! [`Ring::get_bounded`](crate::Ring::get_bounded) puts a bound on every node's load.
//!
//! [`Groupcache`]: crate::Scheme::Groupcache
//! [`Balanced`]: crate::Scheme::Balanced
//! [`MailgunV2`]: crate::Scheme::MailgunV2
//! [`GroupcacheGoV3`]: crate::Scheme::GroupcacheGoV3
//! [`from_hash`]: crate::Scheme::from_hash
//! [`Custom`]: crate::Scheme::Custom
