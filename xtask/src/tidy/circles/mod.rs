//! No circles between the files of one crate: a file can be read once those that it uses are known.
//!
//! [`reader`] reads a crate's files, [`names`] finds the file that a path leads to. Each path that
//! is written in one file and leads to another is an arrow; files that can reach each other along
//! arrows are a circle.

mod items;
mod modules;
mod names;
mod reader;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;
use serde_json::Value;

use crate::workspace;
use modules::Modules;

/// Returns each circle in a crate of `metadata` (what `cargo metadata` prints), tests left out.
///
/// # Errors
///
/// When a file cannot be read or is no Rust.
pub(super) fn check(metadata: &Value) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    for package in packages {
        let targets = package["targets"].as_array().into_iter().flatten();
        for target in targets.filter(|target| target["kind"][0] != "test") {
            let root = target["src_path"].as_str().context("a target without a file")?;
            faults.extend(circles(Path::new(root))?);
        }
    }
    Ok(faults)
}

/// Returns the circles of the crate that begins with the file `root`, each with its arrows.
fn circles(root: &Path) -> Result<Vec<String>> {
    let modules = reader::read(root)?;
    let arrows = arrows(&modules);
    let mut graph = DiGraph::new();
    let mut nodes = BTreeMap::new();
    for (from, to) in arrows.keys() {
        let [from, to] =
            [from, to].map(|file| *nodes.entry(file).or_insert_with(|| graph.add_node(file)));
        graph.add_edge(from, to, ());
    }
    let circles = tarjan_scc(&graph).into_iter().filter(|circle| circle.len() > 1);
    Ok(circles
        .map(|circle| {
            let inside = |file| circle.iter().any(|&node| graph[node] == file);
            let arrows = arrows.iter().filter(|((from, to), _)| inside(from) && inside(to));
            let line = |((from, to), path): (&(PathBuf, PathBuf), &String)| {
                let [from, to] = [from, to].map(|file| workspace::relative(file));
                format!("\n         {from} → {to}: {path}")
            };
            format!("a circle of {} files:{}", circle.len(), arrows.map(line).collect::<String>())
        })
        .collect())
}

/// Returns the pairs of files of which the first uses the second, with a path by which it does.
fn arrows(modules: &Modules) -> BTreeMap<(PathBuf, PathBuf), String> {
    let mut arrows = BTreeMap::new();
    for (from, module) in modules.list.iter().enumerate() {
        for mention in &module.mentions {
            let Some(to) = names::resolve(modules, from, &mention.path) else { continue };
            // What a module passes on from those inside it is its face, and not what it stands on.
            if mention.is_passed_on && modules.is_inside(to, from) {
                continue;
            }
            let [from, to] = [from, to].map(|at| modules.list[at].file.clone());
            if from != to {
                arrows.entry((from, to)).or_insert_with(|| mention.path.join("::"));
            }
        }
    }
    arrows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the files of a crate and returns each circle as the arrows in it.
    fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (path, code) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, code).unwrap();
        }
        let circles = circles(&folder.path().join(files[0].0)).unwrap();
        let folder = format!("{}/", folder.path().display());
        let arrow = |line: &str| line.trim().replace(&folder, "");
        circles.iter().map(|circle| circle.lines().skip(1).map(arrow).collect()).collect()
    }

    const NONE: [Vec<String>; 0] = [];

    #[test]
    fn the_workspace_as_it_is_has_no_fault() {
        assert_eq!(check(&workspace::metadata().unwrap()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_circle_through_use_items_and_a_type_is_shown_with_its_arrows() {
        let found = circles_of(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::{B, self as bee}; pub struct A;"),
            ("b.rs", "pub struct B(super::c::C);"),
            ("c.rs", "pub struct C; fn f() { let _ = crate::a::A; }"),
            ("d.rs", "use crate::a::A;"),
        ]);
        let expected =
            ["a.rs → b.rs: crate::b::B", "b.rs → c.rs: super::c::C", "c.rs → a.rs: crate::a::A"];
        assert_eq!(found, [expected]);
    }

    #[test]
    fn two_circles_are_two_faults() {
        let found = circles_of(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use super::b::f; pub fn g() {}"),
            ("b.rs", "use super::a::g; pub fn f() {}"),
            ("c.rs", "use super::{a, d::f};"),
            ("d.rs", "use super::c; pub fn f() {}"),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn names_passed_on_by_the_root_lead_to_where_they_are_defined() {
        for pass_on in
            ["pub use b::B;", "pub use b::{B};", "pub(crate) use b::Bee as B;", "pub use b::*;"]
        {
            let found = circles_of(&[
                ("lib.rs", &format!("mod a; mod b; {pass_on}")),
                ("a.rs", "use crate::B; pub struct A;"),
                ("b.rs", "use crate::a::A; pub struct B; pub struct Bee;"),
            ]);
            assert_eq!(found, [["a.rs → b.rs: crate::B", "b.rs → a.rs: crate::a::A"]], "{pass_on}");
        }
    }

    #[test]
    fn declaring_modules_and_passing_names_on_are_no_arrows() {
        let found = circles_of(&[
            ("lib.rs", "mod a; pub use a::A; pub use a::deep::Deep; pub const LIMIT: u8 = 1;"),
            ("a/mod.rs", "pub mod deep; pub use deep::Deep as A; pub type T = u8;"),
            ("a/deep.rs", "use super::T; const L: u8 = crate::LIMIT; pub struct Deep;"),
        ]);
        assert_eq!(found, NONE);
    }

    #[test]
    fn a_module_that_uses_a_child_which_uses_it_is_a_circle() {
        let found = circles_of(&[
            ("lib.rs", "mod a; use a::A; pub type T = u8; fn f(_: A) {}"),
            ("a.rs", "pub struct A(crate::T);"),
        ]);
        assert_eq!(found, [["a.rs → lib.rs: crate::T", "lib.rs → a.rs: a::A"]]);
    }

    #[test]
    fn paths_through_imported_modules_and_in_macros_count() {
        let found = circles_of(&[
            ("main.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod deep; use super::b; fn f() { b::deep::f(); }"),
            ("a/deep.rs", "pub fn f() {}"),
            ("b/mod.rs", "pub mod deep;"),
            ("b/deep.rs", "pub fn f() { println!(\"{}\", [crate::a::g(1)]); }"),
        ]);
        assert_eq!(
            found,
            [["a/mod.rs → b/deep.rs: b::deep::f", "b/deep.rs → a/mod.rs: crate::a::g"]]
        );
    }

    #[test]
    fn tests_comments_strings_and_visibility_are_no_arrows() {
        let found = circles_of(&[
            ("lib.rs", "mod a { pub(super) mod b; pub(crate) mod c; } #[cfg(test)] mod missing;"),
            ("a/b.rs", "use super::c::C; pub(in crate::a) struct B;"),
            (
                "a/c.rs",
                "//! [`super::b::B`]
                 // use super::b::B;
                 /// [link](crate::a::b::B)
                 pub struct C;
                 impl C { #[cfg(test)] fn t() { super::b::f(); } }
                 const TEXT: &str = \"crate::a::b::B\";
                 #[cfg(test)] mod tests { use super::super::b::B; }
                 #[cfg(test)] use super::b::B;",
            ),
        ]);
        assert_eq!(found, NONE);
    }

    #[test]
    fn names_of_other_crates_lead_nowhere() {
        let found = circles_of(&[
            ("lib.rs", "mod bytes; mod a;"),
            ("bytes.rs", "use crate::a::A; use ::bytes::Bytes; use tracing::{self, debug};"),
            ("a.rs", "use bytes::Bytes; use std::io; fn f() { io::stdout(); tracing::debug(); }"),
        ]);
        assert_eq!(found, NONE);
    }
}
