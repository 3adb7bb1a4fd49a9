//! Reads the modules of a crate, file by file, and each path that is written in them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

use super::items;
use super::modules::{Mention, Module, Modules};

/// Reads the crate that begins with the file `root`, without what is compiled for tests only.
///
/// # Errors
///
/// When a file cannot be read or is no Rust.
pub(super) fn read(root: &Path) -> Result<Modules> {
    let mut modules = Modules::default();
    modules.list.push(Module { file: root.to_owned(), ..Module::default() });
    let folder = root.parent().unwrap_or(Path::new("")).to_owned();
    let mut to_read = vec![(0, folder)];
    while let Some((at, folder)) = to_read.pop() {
        let file = modules.list[at].file.clone();
        let name = || file.display().to_string();
        let code = std::fs::read_to_string(&file).with_context(name)?;
        let code = syn::parse_file(&code).with_context(name)?;
        let mut reader = Reader { modules: &mut modules, at, folder, to_read: Vec::new() };
        reader.visit_file(&code);
        to_read.append(&mut reader.to_read);
    }
    Ok(modules)
}

/// Walks through one file.
struct Reader<'a> {
    modules: &'a mut Modules,
    /// The module that is being read.
    at: usize,
    /// Where the files of its children are.
    folder: PathBuf,
    /// Modules in files of their own that were met, each with the folder of its children.
    to_read: Vec<(usize, PathBuf)>,
}

impl Reader<'_> {
    fn module(&mut self) -> &mut Module {
        &mut self.modules.list[self.at]
    }

    fn add_child(&mut self, name: String, file: PathBuf) -> usize {
        let child = self.modules.list.len();
        self.module().children.insert(name, child);
        let parent = Some(self.at);
        self.modules.list.push(Module { file, parent, ..Module::default() });
        child
    }

    /// Reads `use` followed by `tree`, below the path `before`.
    fn read_use(&mut self, tree: &UseTree, mut before: Vec<String>, is_passed_on: bool) {
        let name = match tree {
            UseTree::Path(tree) => {
                before.push(tree.ident.to_string());
                return self.read_use(&tree.tree, before, is_passed_on);
            }
            UseTree::Group(tree) => {
                for tree in &tree.items {
                    self.read_use(tree, before.clone(), is_passed_on);
                }
                return;
            }
            UseTree::Glob(_) => {
                self.module().globs.push(before.clone());
                None
            }
            UseTree::Name(tree) => {
                push(&mut before, &tree.ident);
                before.last().cloned()
            }
            UseTree::Rename(tree) => {
                push(&mut before, &tree.ident);
                Some(tree.rename.to_string())
            }
        };
        self.module().imports.extend(name.map(|name| (name, before.clone())));
        self.module().mentions.push(Mention { path: before, is_passed_on });
    }

    fn mention(&mut self, path: Vec<String>) {
        // A single name is defined here, or is brought in by a `use` that is a mention itself.
        if path.len() > 1 {
            self.module().mentions.push(Mention { path, is_passed_on: false });
        }
    }

    /// Finds the paths among the tokens of a macro, `$crate::…` included.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.mention(std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                }
                other => {
                    self.mention(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.read_tokens(group.stream());
                    }
                }
            }
        }
        self.mention(path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !items::is_test(items::attributes(item)) {
            self.module().items.extend(items::name(item));
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !items::is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let (name, own) = (item.ident.to_string(), self.module().file.clone());
        let folder = self.folder.join(&name);
        let Some((_, items)) = &item.content else {
            let beside = own.parent().unwrap_or(Path::new(""));
            let [in_folder, plain] = [folder.join("mod.rs"), folder.with_extension("rs")];
            let (file, folder) = match items::path(&item.attrs) {
                // As for a root: what is inside lies beside it.
                Some(path) => (beside.join(&path), beside.join(path).with_file_name("")),
                None if in_folder.is_file() => (in_folder, folder),
                None => (plain, folder),
            };
            let child = self.add_child(name, file);
            self.to_read.push((child, folder));
            return;
        };
        let child = self.add_child(name, own);
        let outside =
            (std::mem::replace(&mut self.at, child), std::mem::replace(&mut self.folder, folder));
        items.iter().for_each(|item| self.visit_item(item));
        (self.at, self.folder) = outside;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.read_use(&item.tree, Vec::new(), !matches!(item.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.mention(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        self.read_tokens(item.tokens.clone());
    }

    // Neither who may see an item nor what is said about it is what it stands on.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

/// Appends the last name of a `use`; in `{self}` it is what stands before the brace.
fn push(path: &mut Vec<String>, name: &syn::Ident) {
    if name != "self" || path.is_empty() {
        path.push(name.to_string());
    }
}
