//! The paths that a file uses and exports.

use std::collections::BTreeMap;

use syn::visit::Visit;
use syn::{Attribute, File, Item, UseTree};

use super::Module;

/// The paths of a file, from the root of its crate.
#[derive(Default)]
pub(super) struct Paths {
    /// All paths in the file that begin in the crate.
    pub(super) used: Vec<Module>,
    /// Names that the file imports or re-exports, and the path of each.
    pub(super) exported: BTreeMap<String, Module>,
}

impl Paths {
    /// Reads the paths of the file of a module.
    pub(super) fn of(file: &File, module: &Module) -> Self {
        let children = file.items.iter().filter_map(|item| match item {
            Item::Mod(child) => Some(child.ident.to_string()),
            _ => None,
        });
        let mut visitor = Visitor { children: children.collect(), module, paths: Self::default() };
        visitor.visit_file(file);
        visitor.paths
    }
}

struct Visitor<'a> {
    children: Vec<String>,
    module: &'a Module,
    paths: Paths,
}

impl Visitor<'_> {
    /// Returns a path from the root of the crate, or `None` for other crates and for local names.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let mut base = self.module.clone();
        let (first, mut rest) = path.split_first()?;
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => drop(base.pop()),
            child if self.children.iter().any(|known| known == child) => base.push(first.clone()),
            _ => return None,
        }
        while let [parent, others @ ..] = rest
            && parent == "super"
        {
            base.pop();
            rest = others;
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn add_tree(&mut self, tree: &UseTree, prefix: &[String]) {
        let prefixed = |name: String| [prefix, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&path.tree, &prefixed(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, prefix)),
            UseTree::Glob(_) => self.add_path(prefix, None),
            UseTree::Name(name) if name.ident == "self" => self.add_path(prefix, prefix.last().cloned()),
            UseTree::Name(name) => self.add_path(&prefixed(name.ident.to_string()), Some(name.ident.to_string())),
            UseTree::Rename(name) => self.add_path(&prefixed(name.ident.to_string()), Some(name.rename.to_string())),
        }
    }

    fn add_path(&mut self, path: &[String], name: Option<String>) {
        if let Some(path) = self.absolute(path) {
            if let Some(name) = name {
                self.paths.exported.insert(name, path.clone());
            }
            self.paths.used.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if !attributes.iter().any(is_test) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.add_path(&names, None);
        }
        syn::visit::visit_path(self, path);
    }
}

/// Returns true for `#[cfg(test)]` and `#[cfg(doctest)]`.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && matches!(&attribute.meta, syn::Meta::List(list) if matches!(&*list.tokens.to_string(), "test" | "doctest"))
}
