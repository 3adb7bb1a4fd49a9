//! The arrows between crates: exactly those drawn here, so that none runs upward.

use std::collections::BTreeSet;

use serde_json::Value;

/// A library crate and what it may stand on.
struct Row {
    package: &'static str,
    /// Our crates that it depends on, no more and no fewer.
    ours: &'static [&'static str],
    /// Foreign crates that it may require, or `None` if that is left to it. Optional ones are free:
    /// whoever does not ask for them does not build them.
    foreign: Option<&'static [&'static str]>,
}

/// From the bottom up: a row stands on rows above it only.
const ROWS: [Row; 7] = [
    Row { package: "carrotcache-byteview", ours: &[], foreign: Some(&["bytes"]) },
    Row { package: "carrotcache-lru", ours: &[], foreign: Some(&["foldhash"]) },
    Row { package: "carrotcache-consistenthash", ours: &[], foreign: Some(&["crc32fast"]) },
    Row { package: "carrotcache-singleflight", ours: &[], foreign: Some(&["foldhash"]) },
    Row {
        package: "carrotcache-peer",
        ours: &["carrotcache-byteview"],
        foreign: Some(&["thiserror"]),
    },
    Row {
        package: "carrotcache-peer-http",
        ours: &["carrotcache-byteview", "carrotcache-consistenthash", "carrotcache-peer"],
        foreign: None,
    },
    Row {
        package: "carrotcache",
        ours: &[
            "carrotcache-byteview",
            "carrotcache-consistenthash",
            "carrotcache-lru",
            "carrotcache-peer",
            "carrotcache-peer-http",
            "carrotcache-singleflight",
        ],
        foreign: None,
    },
];

/// Packages that are no library: they may depend on anything and nothing may depend on them.
const UNPUBLISHED: [&str; 4] = ["benches", "e2e", "examples", "xtask"];

/// Returns each arrow of `metadata` (what `cargo metadata` prints) that is drawn wrongly.
pub(super) fn check(metadata: &Value) -> Vec<String> {
    let packages: Vec<_> = list(metadata, "packages").collect();
    let names: BTreeSet<_> = packages.iter().map(|package| text(package, "name")).collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = text(package, "name");
        match ROWS.iter().find(|row| row.package == name) {
            Some(row) => check_package(row, package, &names, &mut faults),
            None if UNPUBLISHED.contains(&name) => {}
            None => faults.push(format!("{name}: a package that the table in tidy does not know")),
        }
    }
    faults
}

fn check_package(row: &Row, package: &Value, ours: &BTreeSet<&str>, faults: &mut Vec<String>) {
    let name = row.package;
    let mut missing: BTreeSet<_> = row.ours.iter().copied().collect();
    for dependency in list(package, "dependencies") {
        let on = text(dependency, "name");
        let required = dependency["kind"].is_null() && dependency["optional"] != Value::Bool(true);
        if ours.contains(on) {
            // Tests too stay within the row: an arrow upward, even one of tests, is a circle.
            if !row.ours.contains(&on) {
                faults.push(format!("{name} must not depend on {on}"));
            } else if dependency["kind"].is_null() {
                missing.remove(on);
            }
        } else if required && row.foreign.is_some_and(|allowed| !allowed.contains(&on)) {
            faults.push(format!("{name} must not require {on}: make it optional or do without"));
        }
    }
    faults.extend(missing.iter().map(|on| format!("{name} should depend on {on}, and does not")));
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lru_with(dependencies: Value) -> Value {
        json!({"packages": [
            {"name": "carrotcache-lru", "dependencies": dependencies},
            {"name": "carrotcache-byteview", "dependencies": []},
        ]})
    }

    fn dependency(name: &str, kind: Option<&str>, optional: bool) -> Value {
        json!({"name": name, "kind": kind, "optional": optional})
    }

    #[test]
    fn the_workspace_as_it_is_has_no_fault() {
        assert_eq!(check(&crate::workspace::metadata().unwrap()), [""; 0]);
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_a_fault_even_in_tests() {
        for kind in [None, Some("dev"), Some("build")] {
            let metadata = lru_with(json!([dependency("carrotcache-byteview", kind, false)]));
            assert_eq!(
                check(&metadata),
                ["carrotcache-lru must not depend on carrotcache-byteview"]
            );
        }
    }

    #[test]
    fn a_missing_arrow_is_a_fault() {
        let metadata = json!({"packages": [{"name": "carrotcache-peer-http", "dependencies": [
            dependency("carrotcache-byteview", None, false),
            dependency("carrotcache-consistenthash", Some("dev"), false),
        ]}, {"name": "carrotcache-byteview"}, {"name": "carrotcache-consistenthash"}]});
        let missing =
            "carrotcache-peer-http should depend on carrotcache-consistenthash, and does not";
        assert_eq!(check(&metadata)[0], missing);
    }

    #[test]
    fn a_small_crate_requires_nothing_foreign_beyond_its_row() {
        let required = lru_with(json!([dependency("serde", None, false)]));
        assert_eq!(check(&required).len(), 1);
        let optional = lru_with(json!([
            dependency("foldhash", None, false),
            dependency("serde", None, true),
            dependency("proptest", Some("dev"), false),
        ]));
        assert_eq!(check(&optional), [""; 0]);
    }

    #[test]
    fn an_unknown_package_is_a_fault() {
        assert_eq!(check(&json!({"packages": [{"name": "carrotcache-new"}]})).len(), 1);
    }

    #[test]
    fn rows_stand_on_rows_above_them() {
        for (at, row) in ROWS.iter().enumerate() {
            for on in row.ours {
                assert!(ROWS[..at].iter().any(|below| below.package == *on), "{}", row.package);
            }
        }
    }
}
