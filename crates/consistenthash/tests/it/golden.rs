//! Owners that Go's groupcache really picks.
//!
//! `ring_groupcache.tsv` has rows `labels NAME LABEL...` and rows `get NAME POINTS KEY OWNER`, the
//! key quoted as Go quotes strings.

use std::collections::HashMap;

use carrotcache_consistenthash::{Ring, RingBuilder};

const VECTORS: &str = include_str!("../data/ring_groupcache.tsv");

#[test]
fn owners_are_those_of_groupcache() {
    let mut sets: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut rings: HashMap<(&str, &str), Ring> = HashMap::new();
    let mut checked = 0;
    for row in VECTORS.lines() {
        let fields: Vec<&str> = row.split('\t').collect();
        match fields[..] {
            ["labels", set, ..] => {
                sets.insert(set, fields[2..].to_vec());
            }
            ["get", set, points, key, owner] => {
                let ring = rings.entry((set, points)).or_insert_with(|| {
                    builder(&sets[set]).points_per_node(points.parse().unwrap()).build().unwrap()
                });
                assert_eq!(ring.get(unquote(key)), Some(owner), "{row}");
                checked += 1;
            }
            _ => panic!("row {row:?} is of no known kind"),
        }
    }
    assert_eq!(checked, 1080);
}

#[test]
fn default_is_fifty_points_by_groupcache() {
    let labels = ["http://localhost:8001", "http://localhost:8002", "http://localhost:8003"];
    let spelt_out = builder(&labels).points_per_node(50).build().unwrap();
    assert_eq!(Ring::new(labels).unwrap().fingerprint(), spelt_out.fingerprint());
}

fn builder(labels: &[&str]) -> RingBuilder {
    Ring::builder().nodes(labels.iter().copied())
}

/// Reads a string as Go's `strconv.Quote` writes it. It may hold bytes that are not UTF-8.
fn unquote(quoted: &str) -> Vec<u8> {
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
    let mut out = Vec::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut out, c);
            continue;
        }
        match chars.next().unwrap() {
            'a' => out.push(0x07),
            'b' => out.push(0x08),
            'f' => out.push(0x0c),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(0x0b),
            'x' => out.push(u8::try_from(hex(&mut chars, 2)).unwrap()),
            'u' => push(&mut out, char::from_u32(hex(&mut chars, 4)).unwrap()),
            'U' => push(&mut out, char::from_u32(hex(&mut chars, 8)).unwrap()),
            other => push(&mut out, other),
        }
    }
    out
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn hex(chars: &mut std::str::Chars<'_>, digits: usize) -> u32 {
    let text: String = chars.by_ref().take(digits).collect();
    u32::from_str_radix(&text, 16).unwrap()
}

#[test]
fn quoted_strings_are_read_as_go_writes_them() {
    assert_eq!(
        unquote(r#""a\"\\\n\xff\u00e9\U0001f955汉""#),
        b"a\"\\\n\xff\xc3\xa9\xf0\x9f\xa5\x95\xe6\xb1\x89"
    );
}
