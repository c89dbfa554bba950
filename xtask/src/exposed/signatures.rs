//! The paths in the public signatures of a file.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;
use syn::{Attribute, Fields, File, ImplItem, Item, Type, UseTree, Visibility};

/// Returns the names of the public types of a file.
pub(super) fn public_types(file: &File) -> Vec<String> {
    let mut names = Vec::new();
    for item in items(&file.items) {
        let (visibility, name) = match item {
            Item::Struct(item) => (&item.vis, &item.ident),
            Item::Enum(item) => (&item.vis, &item.ident),
            Item::Union(item) => (&item.vis, &item.ident),
            Item::Trait(item) => (&item.vis, &item.ident),
            _ => continue,
        };
        if is_public(visibility) {
            names.push(name.to_string());
        }
    }
    names
}

/// Returns the complete paths in the public signatures of a file. `public` contains the names of all public types.
pub(super) fn paths(file: &File, public: &BTreeSet<String>) -> BTreeSet<String> {
    let mut visitor = SignatureVisitor::default();
    for item in items(&file.items) {
        if let Item::Use(item) = item {
            visitor.import(&item.tree, "", is_public(&item.vis));
        }
    }
    for item in items(&file.items) {
        visitor.item(item, public);
    }
    let SignatureVisitor { imported, paths, exported } = visitor;
    let complete = paths.into_iter().map(|path| match path.split_once("::") {
        None => imported.get(&path).cloned().unwrap_or(path),
        Some((first, rest)) => imported.get(first).map_or(path.clone(), |origin| format!("{origin}::{rest}")),
    });
    complete.chain(exported).collect()
}

/// Returns the items of a file and of its inline modules, without those of tests.
fn items(file_items: &[Item]) -> Vec<&Item> {
    let mut visible_items = Vec::new();
    for item in file_items {
        match item {
            Item::Mod(module) if module.attrs.iter().any(is_test) => {}
            Item::Mod(module) => {
                visible_items.extend(module.content.as_ref().map(|(_, inner)| items(inner)).into_iter().flatten());
            }
            other => visible_items.push(other),
        }
    }
    visible_items
}

fn is_test(attribute: &Attribute) -> bool {
    let is_named =
        |list: &syn::MetaList| list.tokens.to_string().split([',', '(', ')', ' ']).any(|word| word == "test");
    attribute.path().is_ident("cfg") && matches!(&attribute.meta, syn::Meta::List(list) if is_named(list))
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

#[derive(Default)]
struct SignatureVisitor {
    /// The names that the file imports, and the path of each.
    imported: BTreeMap<String, String>,
    paths: BTreeSet<String>,
    exported: BTreeSet<String>,
}

impl SignatureVisitor {
    fn import(&mut self, tree: &UseTree, prefix: &str, is_public: bool) {
        let (name, path) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &format!("{prefix}{}::", path.ident), is_public),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, prefix, is_public));
            }
            UseTree::Glob(_) => (String::new(), format!("{prefix}*")),
            UseTree::Name(name) if name.ident == "self" => {
                let path = prefix.trim_end_matches("::");
                (path.rsplit("::").next().unwrap_or_default().to_owned(), path.to_owned())
            }
            UseTree::Name(name) => (name.ident.to_string(), format!("{prefix}{}", name.ident)),
            UseTree::Rename(name) => (name.rename.to_string(), format!("{prefix}{}", name.ident)),
        };
        if is_public {
            self.exported.insert(path.clone());
        }
        self.imported.insert(name, path);
    }

    fn item(&mut self, item: &Item, public: &BTreeSet<String>) {
        match item {
            Item::Fn(item) if is_public(&item.vis) => self.visit_signature(&item.sig),
            Item::Struct(item) if is_public(&item.vis) => {
                self.visit_generics(&item.generics);
                self.fields(&item.fields, false);
            }
            Item::Enum(item) if is_public(&item.vis) => {
                self.visit_generics(&item.generics);
                item.variants.iter().for_each(|variant| self.fields(&variant.fields, true));
            }
            Item::Trait(item) if is_public(&item.vis) => self.visit_item_trait(item),
            Item::Type(item) if is_public(&item.vis) => self.visit_type(&item.ty),
            Item::Const(item) if is_public(&item.vis) => self.visit_type(&item.ty),
            Item::Static(item) if is_public(&item.vis) => self.visit_type(&item.ty),
            Item::Impl(item) if type_path_name(&item.self_ty).is_some_and(|name| public.contains(&name)) => {
                self.visit_generics(&item.generics);
                if let Some((path, _)) = &item.trait_ {
                    self.visit_path(path);
                }
                item.items.iter().for_each(|inner| self.member(inner));
            }
            _ => {}
        }
    }

    fn member(&mut self, item: &ImplItem) {
        match item {
            ImplItem::Fn(item) if is_public(&item.vis) => self.visit_signature(&item.sig),
            ImplItem::Const(item) if is_public(&item.vis) => self.visit_type(&item.ty),
            ImplItem::Type(item) => self.visit_type(&item.ty),
            _ => {}
        }
    }

    fn fields(&mut self, fields: &Fields, is_enum: bool) {
        for field in fields.iter().filter(|field| is_enum || is_public(&field.vis)) {
            self.visit_type(&field.ty);
        }
    }
}

/// Returns the last name in the path of a type.
fn type_path_name(type_: &Type) -> Option<String> {
    match type_ {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Type::Reference(reference) => type_path_name(&reference.elem),
        _ => None,
    }
}

impl<'ast> Visit<'ast> for SignatureVisitor {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.paths.insert(names.join("::"));
        syn::visit::visit_path(self, path);
    }

    /// Attributes and the bodies of provided methods do not belong to a signature.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_block(&mut self, _: &'ast syn::Block) {}
}
