//! Paths against their model, and against nonsense.

use carrotcache_peer_http::path::{self, PathError};
use proptest::prelude::*;

proptest! {
    #[test]
    fn decoding_what_was_encoded_gives_it_back(
        group in "\\PC{1,20}|[/%+. ]{1,8}",
        key in ".{1,40}|[/%+.\\\\ ]{1,9}",
    ) {
        let path = path::encode("/base/", &group, &key);
        prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+'));
        prop_assert_eq!(path::decode(&path, "/base/"), Ok((group, key)));
    }

    #[test]
    fn decoding_never_panics(path in ".*") {
        drop(path::decode(&path, "/"));
        drop(path::decode(&format!("/base/{path}"), "/base/"));
    }

    #[test]
    fn decoding_escapes_never_panics(path in "[/%+a-fA-F0-9é]*") {
        drop(path::decode(&path, ""));
    }
}

#[test]
fn faults_of_a_path_are_named() {
    let decode = |path| path::decode(path, "/base/");
    assert_eq!(decode("/other/group/key"), Err(PathError::OutsideBase));
    assert_eq!(decode("/base"), Err(PathError::OutsideBase));
    assert_eq!(decode("/base/"), Err(PathError::NoKey));
    assert_eq!(decode("/base/group"), Err(PathError::NoKey));
    assert_eq!(decode("/base//key"), Err(PathError::EmptyGroup));
    assert_eq!(decode("/base/group/"), Err(PathError::EmptyKey));
    assert_eq!(decode("/base/group/%"), Err(PathError::BadEscape));
    assert_eq!(decode("/base/group/%4"), Err(PathError::BadEscape));
    assert_eq!(decode("/base/group/%+4"), Err(PathError::BadEscape));
    assert_eq!(decode("/base/%zz/key"), Err(PathError::BadEscape));
    assert_eq!(decode("/base/group/%C3"), Err(PathError::NotUtf8));
}

#[test]
fn raw_slashes_after_the_first_belong_to_the_key() {
    let group_and_key = path::decode("/base/group/a//../b", "/base/");
    assert_eq!(group_and_key, Ok(("group".to_owned(), "a//../b".to_owned())));
}

#[test]
fn escapes_are_read_once() {
    let group_and_key = path::decode("/base/group/%252B+%2b", "/base/");
    assert_eq!(group_and_key, Ok(("group".to_owned(), "%2B +".to_owned())));
}
