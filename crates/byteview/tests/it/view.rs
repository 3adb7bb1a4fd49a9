//! Making, slicing, compacting and showing views, against plain vectors where that says more.

use std::io::Read;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use carrotcache_byteview::ByteView;
use proptest::prelude::*;

/// Every kind of storage that a view can have, with the same bytes in it.
pub(crate) fn every_kind(bytes: &[u8]) -> Vec<ByteView> {
    let padded = [b"<<", bytes, b">>"].concat();
    let leaked: &'static [u8] = Box::leak(bytes.to_vec().into_boxed_slice());
    vec![
        ByteView::copy_from_slice(bytes),
        ByteView::from(bytes.to_vec()),
        ByteView::from(Bytes::copy_from_slice(bytes)),
        ByteView::from_static(leaked),
        ByteView::from(Arc::<[u8]>::from(bytes)),
        ByteView::copy_from_slice(&padded).slice(2..2 + bytes.len()),
        ByteView::from(padded).slice(2..2 + bytes.len()),
        bytes.iter().copied().collect(),
    ]
}

#[test]
fn views_can_be_sent_and_shared() {
    fn assert<T: Send + Sync + Clone + Default + 'static>() {}
    assert::<ByteView>();
}

#[test]
fn the_empty_view_is_empty() {
    const EMPTY: ByteView = ByteView::new();
    assert!(EMPTY.is_empty());
    assert_eq!(EMPTY, ByteView::default());
    assert_eq!(EMPTY.as_str(), Ok(""));
    assert_eq!(ByteView::copy_from_slice(b"").len(), 0);
}

#[test]
fn a_clone_and_a_slice_share_the_bytes() {
    for view in every_kind(b"carrot") {
        assert_eq!(view.clone().as_ptr(), view.as_ptr());
        assert_eq!(view.slice(3..).as_ptr(), view[3..].as_ptr());
    }
}

#[test]
fn a_compact_view_lets_go_of_the_buffer() {
    let buffer: Arc<[u8]> = Arc::from(&b"a large buffer"[..]);
    let slice = ByteView::from(Arc::clone(&buffer)).slice(2..7);
    assert_eq!(Arc::strong_count(&buffer), 2);
    let kept = slice.compact();
    drop(slice);
    assert_eq!(Arc::strong_count(&buffer), 1);
    assert_eq!(kept, "large");
}

#[test]
fn an_empty_slice_keeps_nothing_alive() {
    let buffer: Arc<[u8]> = Arc::from(&b"a large buffer"[..]);
    let view = ByteView::from(Arc::clone(&buffer));
    let empty = view.slice(4..4);
    drop(view);
    assert_eq!((Arc::strong_count(&buffer), empty.len()), (1, 0));
}

#[test]
fn compact_does_not_copy_what_is_compact_already() {
    let copied = ByteView::copy_from_slice(b"carrot");
    assert_eq!(copied.compact().as_ptr(), copied.as_ptr());
    let fixed = ByteView::from_static(b"carrot").slice(1..3);
    assert_eq!(fixed.compact().as_ptr(), fixed.as_ptr());
}

#[test]
fn text_is_read_as_text_and_the_rest_refused() {
    assert_eq!(ByteView::from("汉字 🥕").as_str(), Ok("汉字 🥕"));
    let error = ByteView::from(&b"ok\xff"[..]).as_str().unwrap_err();
    assert_eq!(error.valid_up_to(), 2);
}

#[test]
fn debug_shows_text_escapes_the_rest_and_cuts_what_is_long() {
    let shown = |bytes: &[u8]| format!("{:?}", ByteView::copy_from_slice(bytes));
    assert_eq!(shown(b""), r#"ByteView("")"#);
    assert_eq!(shown(b"Tom"), r#"ByteView("Tom")"#);
    assert_eq!(shown(b"a\n\"b\"\xff\0"), r#"ByteView("a\n\"b\"\xff\0")"#);
    assert_eq!(shown("🥕".as_bytes()), r#"ByteView("🥕")"#);
    assert_eq!(shown(&[b'x'; 64]), format!("ByteView(\"{}\")", "x".repeat(64)));
    assert_eq!(shown(&[b'x'; 65]), format!("ByteView(\"{}\"… 65 bytes)", "x".repeat(64)));
    // The cut falls into the middle of the last character, which is left out whole.
    let text = format!("{}🥕 and more", "x".repeat(62));
    assert_eq!(
        shown(text.as_bytes()),
        format!("ByteView(\"{}\"… {} bytes)", "x".repeat(62), text.len())
    );
}

#[test]
fn a_view_is_read_as_a_buffer() {
    for mut view in every_kind(b"\x00\x2acarrot") {
        let whole = view.clone();
        assert_eq!(view.get_u16(), 42);
        assert_eq!(view.copy_to_bytes(3), "car");
        let mut rest = String::new();
        view.reader().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rot");
        assert_eq!(whole, b"\x00\x2acarrot");
    }
}

#[test]
#[should_panic(expected = "slice ends at 7 in a view of 6 bytes")]
fn a_slice_beyond_the_end_panics() {
    let _ = ByteView::from("carrot").slice(2..7);
}

#[test]
#[should_panic(expected = "slice starts at 4 but ends at 2")]
fn a_slice_that_ends_before_it_starts_panics() {
    let _ = ByteView::from("carrot")
        .slice((std::ops::Bound::Included(4), std::ops::Bound::Excluded(2)));
}

#[test]
#[should_panic(expected = "cannot advance 7 in a view of 6 bytes")]
fn advancing_beyond_the_end_panics() {
    ByteView::from("carrot").advance(7);
}

proptest! {
    #[test]
    fn slices_of_slices_are_those_of_the_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
    ) {
        for mut view in every_kind(&bytes) {
            let mut model = &bytes[..];
            for (from, to) in &cuts {
                let end = to.index(model.len() + 1);
                let start = from.index(end + 1);
                view = view.slice(start..end);
                model = &model[start..end];
                prop_assert_eq!(&view, model);
            }
            prop_assert_eq!(&view.compact(), model);
            prop_assert_eq!(view.to_vec(), model);
            prop_assert_eq!(&view.clone().into_bytes(), model);
            prop_assert_eq!(view.into_vec(), model);
        }
    }

    #[test]
    fn reading_from_the_front_is_reading_the_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        steps in proptest::collection::vec((any::<bool>(), 0_usize..16), 0..16),
    ) {
        for mut view in every_kind(&bytes) {
            let mut model = &bytes[..];
            for (copy, step) in &steps {
                let step = *step.min(&model.len());
                if *copy {
                    prop_assert_eq!(view.copy_to_bytes(step), &model[..step]);
                } else {
                    view.advance(step);
                }
                model = &model[step..];
                prop_assert_eq!((view.remaining(), view.chunk()), (model.len(), model));
            }
        }
    }

    #[test]
    fn all_forms_of_range_mean_what_they_mean_for_slices(bytes in proptest::collection::vec(any::<u8>(), 4..16)) {
        for view in every_kind(&bytes) {
            prop_assert_eq!(view.slice(..), &bytes[..]);
            prop_assert_eq!(view.slice(1..), &bytes[1..]);
            prop_assert_eq!(view.slice(..2), &bytes[..2]);
            prop_assert_eq!(view.slice(..=2), &bytes[..=2]);
            prop_assert_eq!(view.slice(1..=2), &bytes[1..=2]);
            prop_assert_eq!(view.slice(4..), &bytes[4..]);
        }
    }
}
