//! Serialisation with a format that has no bytes (JSON) and with values that have.

use carrotcache_byteview::ByteView;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{BytesDeserializer, Error, StrDeserializer, StringDeserializer};

#[test]
fn json_keeps_a_view_as_numbers() {
    let view = ByteView::from(&b"a\xff\0"[..]);
    let json = serde_json::to_string(&view).unwrap();
    assert_eq!(json, "[97,255,0]");
    assert_eq!(serde_json::from_str::<ByteView>(&json).unwrap(), view);
}

#[test]
fn text_and_bytes_are_read_too() {
    assert_eq!(serde_json::from_str::<ByteView>("\"Tom\"").unwrap(), "Tom");
    let bytes: BytesDeserializer<'_, Error> = BytesDeserializer::new(b"Tom");
    assert_eq!(ByteView::deserialize(bytes).unwrap(), "Tom");
    let text: StrDeserializer<'_, Error> = "Tom".into_deserializer();
    assert_eq!(ByteView::deserialize(text).unwrap(), "Tom");
    let owned: StringDeserializer<Error> = String::from("Tom").into_deserializer();
    assert_eq!(ByteView::deserialize(owned).unwrap(), "Tom");
}

#[test]
fn what_is_no_bytes_is_refused() {
    for json in ["[256]", "[-1]", "12", "{}", "[\"a\"]"] {
        assert!(serde_json::from_str::<ByteView>(json).is_err(), "{json} was read");
    }
}
