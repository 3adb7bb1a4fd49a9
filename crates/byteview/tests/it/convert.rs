//! Conversions to and from the owners of bytes.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use carrotcache_byteview::ByteView;

use crate::view::every_kind;

#[test]
fn every_usual_owner_becomes_a_view() {
    let views: Vec<ByteView> = vec![
        b"carrot".into(),
        (&b"carrot"[..]).into(),
        "carrot".into(),
        b"carrot".to_vec().into(),
        String::from("carrot").into(),
        b"carrot".to_vec().into_boxed_slice().into(),
        String::from("carrot").into_boxed_str().into(),
        Arc::<[u8]>::from(&b"carrot"[..]).into(),
        Arc::<str>::from("carrot").into(),
        Bytes::from_static(b"carrot").into(),
        BytesMut::from("carrot").into(),
        Cow::Borrowed("carrot").into(),
        Cow::<str>::Owned("carrot".into()).into(),
        Cow::Borrowed(&b"carrot"[..]).into(),
        Cow::<[u8]>::Owned(b"carrot".to_vec()).into(),
        b"carrot".iter().copied().collect(),
    ];
    for view in views {
        assert_eq!(view, "carrot");
    }
}

#[test]
fn taking_over_an_owner_does_not_move_the_bytes() {
    let bytes = b"carrot".to_vec();
    let at = bytes.as_ptr();
    assert_eq!(ByteView::from(bytes).as_ptr(), at);
    let text: Arc<str> = "carrot".into();
    let at = text.as_ptr();
    assert_eq!(ByteView::from(text).as_ptr(), at);
}

#[test]
fn a_view_becomes_bytes_without_moving_them() {
    for view in every_kind(b"carrot") {
        let at = view.as_ptr();
        let bytes = Bytes::from(view);
        assert_eq!((bytes.as_ptr(), &bytes[..]), (at, &b"carrot"[..]));
    }
}

#[test]
fn a_vector_comes_back_when_nobody_else_holds_it() {
    let view = ByteView::from(b"carrot".to_vec());
    let at = view.as_ptr();
    let vector = Vec::from(view);
    assert_eq!(vector.as_ptr(), at);

    let view = ByteView::from(b"carrot".to_vec());
    let other = view.clone();
    let vector = view.into_vec();
    assert_ne!(vector.as_ptr(), other.as_ptr());
}

#[test]
fn a_view_of_text_becomes_a_string() {
    assert_eq!(String::try_from(ByteView::from("汉字")).unwrap(), "汉字");
    let error = String::try_from(ByteView::from(b"\xffno text")).unwrap_err();
    assert_eq!(error.into_bytes(), b"\xffno text");
}

#[test]
fn a_view_iterates_over_its_bytes() {
    let view = ByteView::from("abc");
    let mut seen = Vec::new();
    for byte in &view {
        seen.push(*byte);
    }
    assert_eq!(seen, b"abc");
}
