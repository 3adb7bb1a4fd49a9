//! Where keys and points lie on the circle.

use std::fmt;
use std::sync::Arc;

use crate::md5;

/// A contract on placement: where keys and points lie on the circle.
///
/// Processes agree on the owners of keys only if they use the same scheme, so what a scheme
/// computes never changes under its name.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Scheme {
    /// Go's `golang/groupcache`: CRC-32 (IEEE) of the key, and of decimal index + label for
    /// points; 50 points a node. The default.
    #[default]
    Groupcache,
    /// CRC-32 as in [`Groupcache`](Self::Groupcache), then the 32-bit finaliser of MurmurHash3;
    /// 512 points a node. Spreads keys evenly where CRC-32 alone does not.
    Balanced,
    /// mailgun's `groupcache/v2`: FNV-1 (64 bits) of the key, and of the MD5 digits of decimal
    /// index + label for points; 50 points a node. Its labels are base URLs, such as
    /// `http://10.0.0.1:8080`.
    MailgunV2,
    /// `groupcache/groupcache-go/v3`: as [`MailgunV2`](Self::MailgunV2), but its labels are
    /// addresses without a URL's scheme. Base URLs may be given here too: what stands before `://`
    /// is left out when points are placed.
    GroupcacheGoV3,
    /// A placement of the user's own.
    Custom(Arc<dyn Placement>),
}

impl Scheme {
    /// Returns a scheme that places as groupcache does, but with another 32-bit hash function.
    ///
    /// `name` stands in the ring's fingerprint: give the name of the hash function.
    ///
    /// ```
    /// use carrotcache_consistenthash::{Ring, Scheme};
    ///
    /// // As in the tests of Go's groupcache: numbers that are their own hashes.
    /// let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse().unwrap_or(0);
    /// let ring = Ring::builder()
    ///     .scheme(Scheme::from_hash("number", number))
    ///     .points_per_node(3)
    ///     .nodes(["6", "4", "2"]) // points at 2, 4, 6, 12, 14, 16, 22, 24, 26
    ///     .build()?;
    /// assert_eq!(ring.get("23"), Some("4"));
    /// assert_eq!(ring.get("27"), Some("2"));
    /// # Ok::<(), carrotcache_consistenthash::RingError>(())
    /// ```
    pub fn from_hash<F>(name: impl Into<String>, hash: F) -> Self
    where
        F: Fn(&[u8]) -> u32 + Send + Sync + 'static,
    {
        Self::Custom(Arc::new(Hash32 { name: name.into(), hash }))
    }

    /// Returns the name of the contract, which never changes its meaning.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Groupcache => "groupcache",
            Self::Balanced => "balanced",
            Self::MailgunV2 => "mailgun-v2",
            Self::GroupcacheGoV3 => "groupcache-go-v3",
            Self::Custom(placement) => placement.name(),
        }
    }

    /// Returns the number of points that a node of weight 1 has unless the builder is told
    /// otherwise.
    #[must_use]
    pub fn points_per_node(&self) -> u32 {
        match self {
            Self::Groupcache | Self::MailgunV2 | Self::GroupcacheGoV3 => 50,
            Self::Balanced => 512,
            Self::Custom(placement) => placement.points_per_node(),
        }
    }

    /// Returns where `key` lies on the circle.
    #[must_use]
    #[inline]
    pub fn key_position(&self, key: &[u8]) -> u64 {
        match self {
            Self::Groupcache => widen(crc32fast::hash(key)),
            Self::Balanced => widen(finalise(crc32fast::hash(key))),
            Self::MailgunV2 | Self::GroupcacheGoV3 => fnv1(key),
            Self::Custom(placement) => placement.key_position(key),
        }
    }

    /// Returns where the point number `index` of the node `label` lies on the circle.
    #[must_use]
    pub fn point_position(&self, index: u32, label: &str) -> u64 {
        match self {
            Self::Groupcache => widen(crc32_of_point(index, label)),
            Self::Balanced => widen(finalise(crc32_of_point(index, label))),
            Self::MailgunV2 => fnv1_of_point(index, label),
            Self::GroupcacheGoV3 => {
                let address = label.split_once("://").map_or(label, |(_, address)| address);
                fnv1_of_point(index, address)
            }
            Self::Custom(placement) => placement.point_position(index, label),
        }
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheme").field(&self.name()).finish()
    }
}

/// A placement of the user's own, for [`Scheme::Custom`].
///
/// The circle has 2⁶⁴ positions. A 32-bit hash takes the upper half of a position; the rest is
/// then 0, and the ring stores nothing for it.
pub trait Placement: Send + Sync {
    /// Returns the name of this contract. It stands in the ring's fingerprint, so change it
    /// whenever the placement changes.
    fn name(&self) -> &str;

    /// Returns where `key` lies on the circle. Called once for each lookup.
    fn key_position(&self, key: &[u8]) -> u64;

    /// Returns where the point number `index` of the node `label` lies on the circle. Called only
    /// when a ring is built or changed.
    fn point_position(&self, index: u32, label: &str) -> u64;

    /// Returns the number of points for a node of weight 1; 50 unless overridden.
    fn points_per_node(&self) -> u32 {
        50
    }
}

/// groupcache's placement over another hash function.
struct Hash32<F> {
    name: String,
    hash: F,
}

impl<F: Fn(&[u8]) -> u32 + Send + Sync> Placement for Hash32<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_position(&self, key: &[u8]) -> u64 {
        widen((self.hash)(key))
    }

    fn point_position(&self, index: u32, label: &str) -> u64 {
        widen((self.hash)(format!("{index}{label}").as_bytes()))
    }
}

/// Puts a 32-bit hash on the 64-bit circle, order kept.
pub(crate) fn widen(hash: u32) -> u64 {
    u64::from(hash) << 32
}

/// Point labels: golang/groupcache `consistenthash.go`, decimal index + label.
pub(crate) fn crc32_of_point(index: u32, label: &str) -> u32 {
    crc32fast::hash(format!("{index}{label}").as_bytes())
}

/// Point labels: mailgun/groupcache `consistenthash.go` and groupcache-go `picker.go`. Both sort
/// the hashes as signed numbers, which turns the circle by a half and leaves every owner as it is.
fn fnv1_of_point(index: u32, label: &str) -> u64 {
    fnv1(&md5::hex_digest(format!("{index}{label}").as_bytes()))
}

/// FNV-1 (not 1a), 64 bits.
fn fnv1(bytes: &[u8]) -> u64 {
    let fold = |state: u64, byte: &u8| state.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// Mixes all bits into all others (MurmurHash3 `fmix32`, public domain, by Austin Appleby).
pub(crate) fn finalise(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}
