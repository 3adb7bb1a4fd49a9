//! Finds the module that a path leads to.

use super::modules::Modules;

/// More names than a path passes through; only one that leads to itself does.
const STEPS: usize = 64;

/// Returns the module that `path`, written in the module `from`, leads to: the one that it names, or
/// the one that defines what it names. Returns `None` for what is outside the crate.
pub(super) fn resolve(modules: &Modules, from: usize, path: &[String]) -> Option<usize> {
    Search { modules, steps: STEPS }.follow(from, path)
}

struct Search<'a> {
    modules: &'a Modules,
    /// How many more names may be looked up.
    steps: usize,
}

/// What a name stands for.
enum Found {
    Module(usize),
    /// Something defined in this module.
    Item(usize),
}

impl Search<'_> {
    fn follow(&mut self, from: usize, path: &[String]) -> Option<usize> {
        match self.walk(from, path)? {
            Found::Module(at) | Found::Item(at) => Some(at),
        }
    }

    fn walk(&mut self, from: usize, path: &[String]) -> Option<Found> {
        let (first, rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.modules.list[from].parent?,
            name => match self.look_up(from, name)? {
                Found::Module(at) => at,
                item @ Found::Item(_) => return Some(item),
            },
        };
        for name in rest {
            at = match name.as_str() {
                "super" => self.modules.list[at].parent?,
                name => match self.look_up(at, name) {
                    Some(Found::Module(next)) => next,
                    Some(item @ Found::Item(_)) => return Some(item),
                    // A macro may have defined it there.
                    None => return Some(Found::Item(at)),
                },
            };
        }
        Some(Found::Module(at))
    }

    /// Looks up one name in the module `at`.
    fn look_up(&mut self, at: usize, name: &str) -> Option<Found> {
        self.steps = self.steps.checked_sub(1)?;
        let module = &self.modules.list[at];
        if let Some(&child) = module.children.get(name) {
            return Some(Found::Module(child));
        }
        if module.items.contains(name) {
            return Some(Found::Item(at));
        }
        if let Some(path) = module.imports.get(name) {
            return self.walk(at, path);
        }
        module.globs.iter().find_map(|path| match self.follow(at, path)? {
            there if there == at => None,
            there => self.look_up(there, name),
        })
    }
}
