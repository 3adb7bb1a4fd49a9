//! What the value of every key is, by a rule, so that whoever knows a key can tell a wrong value.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use crate::node::rows;

/// The only group.
pub(super) const GROUP: &str = "soak";

/// How long a value of the largest kind is: too long to be kept by a node of [`MAX_BYTES`], so that
/// each who asks makes it be loaded once more.
///
/// [`MAX_BYTES`]: super::bounds::MAX_BYTES
pub(super) const HUGE_BYTES: usize = 6 << 20;
/// How many keys there are of each kind. Of the small ones a node can keep only some, so that there is
/// always something to ask an owner for.
const SMALL: u32 = 12_000;
const MEDIUM: u32 = 200;
const HUGE: u32 = 3;
/// So many of the small keys are asked for as often as all others.
const POPULAR: u32 = 50;

/// Returns the value of a key: it tells the key, and is of a length that goes with it.
pub(super) fn value(key: &str) -> Vec<u8> {
    const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    #[expect(clippy::cast_possible_truncation)]
    let hash = hasher.finish() as usize;
    let len = match key.split('-').next() {
        Some("small") => 40 + hash % 512,
        Some("medium") => (16 << 10) + hash % (48 << 10),
        _ => HUGE_BYTES,
    };
    let mut value = format!("value of {key}: ").into_bytes();
    let mut letters = *LETTERS;
    letters.rotate_left(hash % LETTERS.len());
    value.extend(letters.repeat(len / letters.len() + 1));
    value.truncate(len);
    value
}

/// Returns what is wrong with `found` as the value of `key`, if anything is.
pub(super) fn fault(key: &str, found: &[u8]) -> Option<String> {
    let right = value(key);
    if found == right {
        return None;
    }
    let at = found.iter().zip(&right).take_while(|(found, right)| found == right).count();
    let begin = String::from_utf8_lossy(&found[..found.len().min(60)]);
    let (len, expected) = (found.len(), right.len());
    Some(format!(
        "{len} bytes for the key {key:?}, whose value has {expected}, differ at byte {at} and begin \
         {begin:?}"
    ))
}

/// Returns a key as it is asked for: half of the time a popular one.
pub(super) fn draw(rng: &mut StdRng) -> String {
    match rng.random_range(0..200) {
        0..100 => name("small", rng.random_range(0..POPULAR)),
        100..180 => small(rng),
        180..199 => name("medium", rng.random_range(0..MEDIUM)),
        _ => huge(rng),
    }
}

/// Returns any of the small keys.
pub(super) fn small(rng: &mut impl Rng) -> String {
    name("small", rng.random_range(0..SMALL))
}

/// Returns any of the keys whose value no node can keep.
pub(super) fn huge(rng: &mut impl Rng) -> String {
    name("huge", rng.random_range(0..HUGE))
}

fn name(kind: &str, number: u32) -> String {
    format!("{kind}-{number}")
}

/// Writes all rows into a database in `folder`, by the built example `import`, and returns its URL.
///
/// # Errors
///
/// When a file cannot be written, or the example fails.
pub(super) fn write(folder: &Path, import: &Path) -> Result<String> {
    let (text, database): (PathBuf, _) = (folder.join("soak.txt"), folder.join("soak.db"));
    let mut out = BufWriter::new(File::create(&text)?);
    for (kind, count) in [("small", SMALL), ("medium", MEDIUM), ("huge", HUGE)] {
        for key in (0..count).map(|number| name(kind, number)) {
            rows::write(&mut out, GROUP.as_bytes(), key.as_bytes(), &value(&key))?;
        }
    }
    out.flush()?;
    rows::import(import, &text, &database)?;
    Ok(format!("sqlite:{}", database.display()))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_right_value_has_no_fault_and_every_other_one_has() {
        let key = "small-17";
        assert_eq!(fault(key, &value(key)), None);
        let other = fault(key, &value("small-18")).expect("the value of another key");
        assert!(other.contains("\"small-17\"") && other.contains("value of small-18"), "{other}");
        let mut changed = value(key);
        *changed.last_mut().unwrap() = b'!';
        let cut = &value(key)[..30];
        for wrong in [&changed[..], cut, b"", &[value(key), b"x".to_vec()].concat()] {
            assert!(fault(key, wrong).is_some());
        }
    }

    #[test]
    fn each_kind_of_key_is_drawn_and_the_popular_ones_half_of_the_time() {
        let mut rng = StdRng::seed_from_u64(1);
        let drawn: Vec<_> = (0..4_000).map(|_| draw(&mut rng)).collect();
        let number = |key: &String| key.strip_prefix("small-")?.parse::<u32>().ok();
        let popular = drawn.iter().filter_map(number).filter(|number| *number < POPULAR).count();
        assert!((1_800..2_300).contains(&popular), "{popular}");
        for kind in ["small-", "medium-", "huge-"] {
            assert!(drawn.iter().any(|key| key.starts_with(kind)), "{kind}");
        }
    }

    #[test]
    fn a_huge_value_is_too_large_for_a_node() {
        assert_eq!(value("huge-0").len(), HUGE_BYTES);
        assert!(HUGE_BYTES as u64 > super::super::bounds::MAX_BYTES);
    }
}
