//! The modules of a crate, and what is written in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The modules of one crate; the first is its root.
#[derive(Default)]
pub(super) struct Modules {
    pub(super) list: Vec<Module>,
}

/// A module, which may share its file with others.
#[derive(Default)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    pub(super) parent: Option<usize>,
    pub(super) children: BTreeMap<String, usize>,
    /// Names defined here.
    pub(super) items: BTreeSet<String>,
    /// Names brought in by `use`, and the paths that they stand for.
    pub(super) imports: BTreeMap<String, Vec<String>>,
    /// Paths of modules from which `use` brings in all names.
    pub(super) globs: Vec<Vec<String>>,
    pub(super) mentions: Vec<Mention>,
}

/// A path that is written in a module.
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    /// Whether it stands in a `pub use`.
    pub(super) is_passed_on: bool,
}

impl Modules {
    /// Returns whether the module `at` is a child of `other`, or a child's child.
    pub(super) fn is_inside(&self, at: usize, other: usize) -> bool {
        std::iter::successors(self.list[at].parent, |&at| self.list[at].parent)
            .any(|at| at == other)
    }
}
