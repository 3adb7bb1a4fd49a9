//! Equality, order and hash, which are those of the bytes.

use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use carrotcache_byteview::ByteView;
use proptest::prelude::*;

use crate::view::every_kind;

/// Asserts `==` and `<` in both directions between a view and `$other`, which holds `b"carrot"`.
macro_rules! assert_compares {
    ($($other:expr),+ $(,)?) => {
        for view in every_kind(b"carrot") {
            $(
                assert!(view == $other && $other == view);
                assert!(view <= $other && $other >= view);
                assert!(view.slice(1..) != $other && $other != view.slice(1..));
                assert!(view.slice(..5) < $other && $other > view.slice(..5));
            )+
        }
    };
}

#[test]
fn views_compare_with_bytes_of_every_kind_both_ways() {
    let bytes: &[u8] = b"carrot";
    assert_compares!(
        *bytes,
        bytes,
        *b"carrot",
        b"carrot",
        bytes.to_vec(),
        bytes.to_vec().into_boxed_slice(),
        Arc::<[u8]>::from(bytes),
        Cow::Borrowed(bytes),
        Cow::<[u8]>::Owned(bytes.to_vec()),
        Bytes::from_static(b"carrot"),
        BytesMut::from("carrot"),
    );
}

#[test]
fn views_compare_with_text_of_every_kind_both_ways() {
    assert_compares!(
        *"carrot",
        "carrot",
        String::from("carrot"),
        String::from("carrot").into_boxed_str(),
        Arc::<str>::from("carrot"),
        Cow::Borrowed("carrot"),
        Cow::<str>::Owned(String::from("carrot")),
    );
}

#[test]
fn maps_of_views_are_asked_with_byte_slices() {
    let hashed: HashMap<ByteView, u32> =
        every_kind(b"Tom").into_iter().map(|view| (view, 630)).collect();
    assert_eq!(hashed.len(), 1);
    assert_eq!(hashed.get(&b"Tom"[..]), Some(&630));
    let ordered: BTreeMap<ByteView, u32> = [("Tom".into(), 630), ("Jack".into(), 589)].into();
    assert_eq!(ordered.get(&b"Jack"[..]), Some(&589));
}

proptest! {
    #[test]
    fn order_and_hash_are_those_of_the_bytes(
        left in proptest::collection::vec(any::<u8>(), 0..16),
        right in proptest::collection::vec(any::<u8>(), 0..16),
    ) {
        for view in every_kind(&left) {
            for other in every_kind(&right) {
                prop_assert_eq!(view.cmp(&other), left.cmp(&right));
                prop_assert_eq!(view.partial_cmp(&right), left.partial_cmp(&right));
                prop_assert_eq!(right.partial_cmp(&view), right.partial_cmp(&left));
                prop_assert_eq!(view == other, left == right);
            }
            prop_assert_eq!(hash(&view), hash(&left[..]));
        }
    }
}

/// Returns the hash that the standard library's maps would use.
fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
