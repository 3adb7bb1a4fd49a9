//! Owners as computed in Go: by groupcache itself for `ring_groupcache.tsv`, and for
//! `ring_mailgun.tsv` by a program that places as mailgun's fork and groupcache-go do, checked by
//! what their own test suites assert.
//!
//! The files have rows `labels NAME LABEL...` and rows `get [SCHEME] NAME POINTS KEY OWNER`, the
//! key quoted as Go quotes strings.

use std::collections::HashMap;

use carrotcache_consistenthash::{Ring, RingBuilder, Scheme};

#[test]
fn owners_are_those_of_groupcache() {
    let mut vectors = Vectors::default();
    for row in include_str!("../data/ring_groupcache.tsv").lines() {
        let fields: Vec<&str> = row.split('\t').collect();
        match fields[..] {
            ["labels", set, ..] => vectors.add_labels(set, &fields[2..]),
            ["get", set, points, key, owner] => {
                assert_eq!(vectors.owner(Scheme::Groupcache, set, points, key), owner, "{row}");
            }
            _ => panic!("row {row:?} is of no known kind"),
        }
    }
    assert_eq!(vectors.checked, 1080);
}

/// The owners are host and port, of which `mailgun-v2` makes a URL. `groupcache-go-v3` must find
/// the same whether it is given addresses or URLs.
#[test]
fn owners_are_those_of_mailgun_and_groupcache_go() {
    let (mut urls, mut addresses) = (Vectors::default(), Vectors::default());
    for row in include_str!("../data/ring_mailgun.tsv").lines() {
        let fields: Vec<&str> = row.split('\t').collect();
        match fields[..] {
            ["labels", set, ..] => {
                let bases: Vec<String> =
                    fields[2..].iter().map(|l| format!("http://{l}")).collect();
                urls.add_labels(set, &bases);
                addresses.add_labels(set, &fields[2..]);
            }
            ["get", scheme, set, points, key, owner] => {
                let url = format!("http://{owner}");
                let scheme = match scheme {
                    "mailgun-v2" => Scheme::MailgunV2,
                    _ => Scheme::GroupcacheGoV3,
                };
                if matches!(scheme, Scheme::GroupcacheGoV3) {
                    assert_eq!(addresses.owner(scheme.clone(), set, points, key), owner, "{row}");
                }
                assert_eq!(urls.owner(scheme, set, points, key), url, "{row}");
            }
            _ => panic!("row {row:?} is of no known kind"),
        }
    }
    assert_eq!((urls.checked, addresses.checked), (540, 270));
}

/// What the test suites of mailgun/groupcache and groupcache-go assert.
#[test]
fn mailgun_schemes_pass_the_tests_of_their_models() {
    for scheme in [Scheme::MailgunV2, Scheme::GroupcacheGoV3] {
        let build = |labels: &[&str]| {
            builder(labels).scheme(scheme.clone()).points_per_node(512).build().unwrap()
        };
        let three = build(&["6", "4", "2"]);
        for (key, owner) in [("12,000", "4"), ("11", "6"), ("500,000", "4"), ("1,000,000", "2")] {
            assert_eq!(three.get(key), Some(owner));
        }
        let four = three.with_node("8").unwrap();
        for (key, owner) in [("12,000", "4"), ("11", "8"), ("500,000", "4"), ("1,000,000", "8")] {
            assert_eq!(four.get(key), Some(owner));
        }
        let hosts = build(&["a.svc.local", "b.svc.local", "c.svc.local"]);
        for (key, host) in [("Bob", "a"), ("Johnny", "b"), ("Rick", "c")] {
            assert_eq!(hosts.get(key), Some(&*format!("{host}.svc.local")));
        }
    }
}

/// The label sets of a file, and the rings built of them so far.
#[derive(Default)]
struct Vectors {
    sets: HashMap<String, Vec<String>>,
    rings: HashMap<(String, String, String), Ring>,
    checked: usize,
}

impl Vectors {
    fn add_labels(&mut self, set: &str, labels: &[impl AsRef<str>]) {
        let labels = labels.iter().map(|label| label.as_ref().to_owned()).collect();
        self.sets.insert(set.to_owned(), labels);
    }

    fn owner(&mut self, scheme: Scheme, set: &str, points: &str, key: &str) -> &str {
        self.checked += 1;
        let name = (scheme.name().to_owned(), set.to_owned(), points.to_owned());
        let ring = self.rings.entry(name).or_insert_with(|| {
            let builder = builder(&self.sets[set]).scheme(scheme);
            builder.points_per_node(points.parse().unwrap()).build().unwrap()
        });
        ring.get(unquote(key)).unwrap()
    }
}

#[test]
fn default_is_fifty_points_by_groupcache() {
    let labels = ["http://localhost:8001", "http://localhost:8002", "http://localhost:8003"];
    let spelt_out = builder(&labels).points_per_node(50).build().unwrap();
    assert_eq!(Ring::new(labels).unwrap().fingerprint(), spelt_out.fingerprint());
}

fn builder(labels: &[impl AsRef<str>]) -> RingBuilder {
    Ring::builder().nodes(labels.iter().map(AsRef::as_ref))
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
