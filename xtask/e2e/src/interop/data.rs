//! The keys and values of the mixed rings, and the two files that hold them: text for the Go nodes,
//! SQLite for the Rust nodes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::kind::Kind;
use crate::node::rows;

/// The group in which nearly all keys are.
pub(super) const GROUP: &str = "scores";
/// A group whose name Go's client can ask for and Go's server cannot find (see [`Entry::crosses`]).
pub(super) const ODD_GROUP: &str = "my group/1";
/// A key that only Go can hold: its strings are bytes.
pub(super) const NOT_UTF_8: &[u8] = b"bad\xffutf8";
/// What is stored under it.
pub(super) const NOT_UTF_8_VALUE: &str = "only Go can ask for this";

/// Keys of every kind that the wire has to carry, as in the wire vectors of `peer-http`; with them
/// goes a long one.
const KINDS: [&str; 24] = [
    "Tom",
    "a b",
    "a+b",
    "a%20b",
    "100%",
    "a/b",
    "/lead",
    "trail/",
    "//",
    ".",
    "..",
    "a/../b",
    "a?b=c&d",
    "#frag",
    "é",
    "汉字",
    "🥕",
    "~_-.",
    "\"quoted\"",
    "back\\slash",
    "tab\there",
    "nl\nhere",
    "nul\0here",
    ":@!$&'()*,;=",
];
/// The length of the long key.
const LONG: usize = 300;
/// How many keys there are of each kind.
const EACH: usize = 84;

/// One row of the data.
#[derive(Clone)]
pub(super) struct Entry {
    /// What the key is an example of, where it is one.
    pub(super) kind: usize,
    pub(super) group: &'static str,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
}

impl Entry {
    /// Returns a row of [`GROUP`] whose value tells its key, between bytes that are no text.
    pub(super) fn new(key: impl Into<String>) -> Self {
        let key = key.into();
        let value = [b"\0\xff", key.as_bytes(), b"\xfe\n\0"].concat();
        Self { kind: 0, group: GROUP, key, value }
    }

    /// Returns whether a node of one kind can ask a node of another for this row.
    ///
    /// Go's client escapes a space as `+`, which Go's server reads as a plus; neither happens where
    /// one of the two is ours. And Go's server looks for the end of the group's name after it has
    /// decoded the path, so that a name with a slash is cut short, whoever asks.
    pub(super) fn crosses(&self, from: Kind, to: Kind) -> bool {
        match (from, to) {
            (_, Kind::Rust) => true,
            (Kind::Rust, Kind::Go) => !self.group.contains('/'),
            (Kind::Go, Kind::Go) => !self.group.contains(['/', ' ']) && !self.key.contains(' '),
        }
    }
}

/// Returns the rows over which all nodes have to agree: every kind of key, 84 times, and once in the
/// group with the odd name.
pub(super) fn of_every_kind() -> Vec<Entry> {
    let numbered = |key: &str, number| match number {
        0 => key.to_owned(),
        number if number % 2 == 0 => format!("{key}{number}"),
        number => format!("{number}{key}"),
    };
    let mut rows = Vec::new();
    for (kind, key) in kinds().into_iter().enumerate() {
        let numbered = (0..EACH).map(|number| Entry::new(numbered(&key, number)));
        rows.extend(numbered.map(|row| Entry { kind, ..row }));
        rows.push(Entry { kind, group: ODD_GROUP, ..Entry::new(key) });
    }
    rows
}

/// Returns one key of each kind.
fn kinds() -> Vec<String> {
    KINDS.iter().map(|&kind| kind.to_owned()).chain(["k".repeat(LONG)]).collect()
}

/// Returns `count` rows whose keys start with `prefix`.
pub(super) fn batch(prefix: &str, count: usize) -> Vec<Entry> {
    (0..count).map(|number| Entry::new(format!("{prefix}-{number}"))).collect()
}

/// Returns a row of `bytes` bytes, some of them no text.
pub(super) fn large(key: String, bytes: usize) -> Entry {
    let letters = (b'a'..=b'z').chain([0xff]).cycle();
    Entry { kind: 0, group: GROUP, key, value: letters.take(bytes).collect() }
}

/// The files.
pub(super) struct Files {
    pub(super) text: PathBuf,
    pub(super) sqlite: PathBuf,
}

impl Files {
    /// Writes the rows into `folder`; the key that is no UTF-8 goes into the text only.
    ///
    /// # Errors
    ///
    /// When a file cannot be written, or the example `import` fails.
    pub(super) fn write<'a>(
        folder: &Path,
        import: &Path,
        rows: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<Self> {
        let files = Self { text: folder.join("data.txt"), sqlite: folder.join("data.db") };
        let mut text = BufWriter::new(File::create(&files.text)?);
        for Entry { group, key, value, .. } in rows {
            rows::write(&mut text, group.as_bytes(), key.as_bytes(), value)?;
        }
        text.flush()?;
        rows::import(import, &files.text, &files.sqlite)?;
        rows::write(&mut text, GROUP.as_bytes(), NOT_UTF_8, NOT_UTF_8_VALUE.as_bytes())?;
        text.flush()?;
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_well_over_two_thousand_different_keys() {
        let rows = of_every_kind();
        let distinct: BTreeSet<_> = rows.iter().map(|row| (row.group, &row.key)).collect();
        assert_eq!(distinct.len(), rows.len());
        assert!(rows.len() > 2_000, "{}", rows.len());
        assert!(kinds().iter().all(|kind| distinct.contains(&(GROUP, kind))));
    }

    /// What Go's client makes of a key, undone.
    fn unescaped(path: &str) -> Vec<u8> {
        let (mut bytes, mut read) = (Vec::new(), path.bytes());
        while let Some(byte) = read.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [read.next().unwrap(), read.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                byte => byte,
            });
        }
        bytes
    }

    #[test]
    fn the_kinds_are_those_of_the_wire_vectors() {
        let vectors = include_str!("../../../../crates/peer-http/tests/data/wire_groupcache.tsv");
        let paths = vectors.lines().filter_map(|line| line.split('\t').nth(2));
        let keys: BTreeSet<_> =
            paths.filter_map(|path| Some(unescaped(path.rsplit_once('/')?.1))).collect();
        let ours = kinds().into_iter().map(String::into_bytes).chain([NOT_UTF_8.to_vec()]);
        assert_eq!(ours.collect::<BTreeSet<_>>(), keys);
    }

    #[test]
    fn only_go_s_server_cannot_be_asked_for_everything() {
        let (plain, space) = (Entry::new("a+b"), Entry::new("a b"));
        let odd = Entry { group: ODD_GROUP, ..Entry::new("Tom") };
        assert!(plain.crosses(Kind::Go, Kind::Go));
        assert!(!space.crosses(Kind::Go, Kind::Go) && space.crosses(Kind::Rust, Kind::Go));
        assert!(!odd.crosses(Kind::Rust, Kind::Go) && odd.crosses(Kind::Go, Kind::Rust));
    }
}
