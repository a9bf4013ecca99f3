//! Which source file of a crate uses which other one.
//!
//! A file uses another if it names an item that is defined there; through how many re-exports, aliases and
//! `super::` does not matter. `mod x;` and `pub use` name nothing for themselves. A part of a module may use
//! what the module itself defines: that is not counted. Tests are left out. What stands in the arguments
//! of a macro is read as tokens.

use crate::sources::{Source, read};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// A path from the crate's root.
type Module = Vec<String>;

/// A module, by its path: where it stands, what it imports and which macro-free items it defines.
#[derive(Debug, Default)]
struct Names {
    file: String,
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Everything that the module defines itself.
    items: BTreeSet<String>,
}

/// A use of a name: by which file and module, and the path as it stands there.
#[derive(Debug)]
struct Mention {
    file: String,
    module: Module,
    path: Vec<String>,
}

/// A crate's files, and which uses which.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    modules: BTreeMap<Module, Names>,
    mentions: Vec<Mention>,
}

/// How a file uses another one: a path that says so.
pub(crate) type Edges = BTreeMap<(String, String), String>;

/// What the compiler leaves out of the crate itself: tests, what stands in for hardware in them, and names that only
/// documentation needs.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg");
        is_cfg && {
            let text = quote_text(attribute);
            text.contains("test") && !text.contains("not (test)")
                || text.contains("\"fake\"")
                || text == "doc"
        } || attribute.path().is_ident("test")
    })
}

fn quote_text(attribute: &Attribute) -> String {
    match &attribute.meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::ExternCrate(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::ForeignMod(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Macro(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::TraitAlias(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Union(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

/// The name that an item defines.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(it) => &it.ident,
        Item::Enum(it) => &it.ident,
        Item::Fn(it) => &it.sig.ident,
        Item::Macro(it) => it.ident.as_ref()?,
        Item::Static(it) => &it.ident,
        Item::Struct(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::TraitAlias(it) => &it.ident,
        Item::Type(it) => &it.ident,
        Item::Union(it) => &it.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

impl Graph {
    /// Reads a crate from its root file on: `debuggee-driver/src/lib.rs`.
    pub(crate) fn of(root: &str) -> Self {
        let mut graph = Self::default();
        let directory = root.rsplit_once('/').map_or("", |(directory, _)| directory);
        graph.read_file(root, directory, Vec::new());
        graph
    }

    /// Every file of the crate but those of tests.
    pub(crate) fn sources(&self) -> Vec<Source> {
        let files: BTreeSet<&str> = self
            .modules
            .values()
            .map(|names| names.file.as_str())
            .collect();
        files
            .into_iter()
            .map(|path| Source::of(path, &read(path)))
            .collect()
    }

    fn read_file(&mut self, path: &str, children: &str, module: Module) {
        let text = read(path);
        let file = match syn::parse_file(&text) {
            Ok(file) => file,
            Err(error) => panic!("{path}: {error}"),
        };
        self.read_items(path, children, module, &file.items);
    }

    fn read_items(&mut self, path: &str, children: &str, module: Module, items: &[Item]) {
        let names = self.modules.entry(module.clone()).or_default();
        path.clone_into(&mut names.file);
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            self.read_item(path, children, &module, item);
        }
    }

    fn read_item(&mut self, path: &str, children: &str, module: &Module, item: &Item) {
        if let Some(name) = name(item) {
            self.names(module).items.insert(name);
        }
        match item {
            Item::Mod(it) => self.read_module(path, children, module, it),
            Item::Use(it) => self.read_use(path, module, it),
            Item::ForeignMod(it) => {
                for foreign in &it.items {
                    let ident = match foreign {
                        syn::ForeignItem::Fn(it) => &it.sig.ident,
                        syn::ForeignItem::Static(it) => &it.ident,
                        _ => continue,
                    };
                    let ident = ident.to_string();
                    self.names(module).items.insert(ident);
                }
            }
            other => {
                let mut paths = Paths::default();
                paths.visit_item(other);
                for mentioned in paths.found {
                    self.mention(path, module, mentioned);
                }
                for import in paths.imports {
                    self.read_use(path, module, &import);
                }
            }
        }
    }

    fn names(&mut self, module: &Module) -> &mut Names {
        self.modules.entry(module.clone()).or_default()
    }

    fn mention(&mut self, path: &str, module: &Module, mentioned: Vec<String>) {
        self.mentions.push(Mention {
            file: path.to_owned(),
            module: module.clone(),
            path: mentioned,
        });
    }

    fn read_module(&mut self, path: &str, children: &str, module: &Module, it: &ItemMod) {
        let name = it.ident.to_string();
        let mut inner = module.clone();
        inner.push(name.clone());
        let below = format!("{children}/{name}");
        if let Some((_, items)) = &it.content {
            self.read_items(path, &below, inner, items);
            return;
        }
        let named = it.attrs.iter().find_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                syn::Expr::Lit(literal) => match &literal.lit {
                    syn::Lit::Str(text) => Some(text.value()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        });
        let places = match named {
            Some(named) => {
                let own = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                vec![format!("{own}/{named}")]
            }
            None => vec![format!("{below}.rs"), format!("{below}/mod.rs")],
        };
        let root = crate::sources::repository();
        match places.iter().find(|place| root.join(place).exists()) {
            Some(place) => self.read_file(place, &below, inner),
            None => panic!("{path}: no file for `mod {name}`"),
        }
    }

    fn read_use(&mut self, path: &str, module: &Module, it: &ItemUse) {
        let is_public = !matches!(it.vis, Visibility::Inherited);
        let mut flat = Vec::new();
        flatten(&it.tree, &mut Vec::new(), &mut flat);
        for (parts, alias) in flat {
            let import = parts.clone();
            match alias {
                Some(alias) => drop(self.names(module).imports.insert(alias, import)),
                None => self.names(module).globs.push(import),
            }
            if !is_public {
                self.mention(path, module, parts);
            }
        }
    }

    /// Who uses whom.
    pub(crate) fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for mention in &self.mentions {
            let Some(to) = self.file_of(&mention.module, &mention.path, 0) else {
                continue;
            };
            if to != mention.file && !is_part_of(&mention.file, &to) {
                edges
                    .entry((mention.file.clone(), to))
                    .or_insert_with(|| mention.path.join("::"));
            }
        }
        edges
    }

    /// The file that defines what `path` means in `module`. `None`: it is a module, or none of this crate's.
    fn file_of(&self, module: &[String], path: &[String], depth: usize) -> Option<String> {
        const DEPTH_MAX: usize = 16;
        if depth > DEPTH_MAX {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            name => {
                if let Some(import) = self.modules.get(module)?.imports.get(name) {
                    let mut whole = import.clone();
                    if whole.first() == path.first() && whole.len() == 1 {
                        return None;
                    }
                    whole.extend_from_slice(rest);
                    return self.file_of(module, &whole, depth + 1);
                }
                let mut child = module.to_vec();
                child.push(name.to_owned());
                if self.modules.contains_key(&child) {
                    child
                } else {
                    // Outside the root, a bare name is a crate's, or what a glob brings in.
                    return self.in_module(module, name, depth);
                }
            }
        };
        for (index, part) in rest.iter().enumerate() {
            if part == "super" {
                at.pop();
                continue;
            }
            let mut child = at.clone();
            child.push(part.clone());
            if self.modules.contains_key(&child) {
                at = child;
                continue;
            }
            if let Some(import) = self.modules.get(&at)?.imports.get(part) {
                let mut whole = import.clone();
                whole.extend_from_slice(&rest[index + 1..]);
                return self.file_of(&at, &whole, depth + 1);
            }
            if part == "*" {
                return self.modules.get(&at).map(|names| names.file.clone());
            }
            // What a macro defines is not seen; nobody else can mean it by this path.
            let own = || self.modules.get(&at).map(|names| names.file.clone());
            return self.in_module(&at, part, depth).or_else(own);
        }
        None
    }

    /// The file that defines the item `name` of a module: that module's, or another's that it has all names of.
    fn in_module(&self, module: &[String], name: &str, depth: usize) -> Option<String> {
        let names = self.modules.get(module)?;
        if names.items.contains(name) {
            return Some(names.file.clone());
        }
        names.globs.iter().find_map(|glob| {
            let mut whole = glob.clone();
            whole.pop();
            whole.push(name.to_owned());
            self.file_of(module, &whole, depth + 1)
        })
    }
}

/// Paths of a `use`, with the name that each gets; `None` for a glob, which ends with `*`.
fn flatten(
    tree: &UseTree,
    before: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, Option<String>)>,
) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
            before.pop();
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            let mut whole = before.clone();
            if name == "self" {
                let own = whole.last().cloned();
                found.push((whole, own));
            } else {
                whole.push(name.clone());
                found.push((whole, Some(name)));
            }
        }
        UseTree::Rename(rename) => {
            let mut whole = before.clone();
            if rename.ident != "self" {
                whole.push(rename.ident.to_string());
            }
            found.push((whole, Some(rename.rename.to_string())));
        }
        UseTree::Glob(_) => {
            let mut whole = before.clone();
            whole.push("*".to_owned());
            found.push((whole, None));
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, found);
            }
        }
    }
}

/// Paths that an item names.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
    imports: Vec<ItemUse>,
}

impl Paths {
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.end(&mut path);
                    colons = 0;
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.found.push(path.clone());
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts = path.segments.iter().map(|part| part.ident.to_string());
        self.found.push(parts.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        self.tokens(it.tokens.clone());
        visit::visit_macro(self, it);
    }

    fn visit_item_use(&mut self, it: &'ast ItemUse) {
        self.imports.push(it.clone());
    }

    fn visit_item_fn(&mut self, it: &'ast syn::ItemFn) {
        if !is_test(&it.attrs) {
            visit::visit_item_fn(self, it);
        }
    }

    fn visit_impl_item_fn(&mut self, it: &'ast syn::ImplItemFn) {
        if !is_test(&it.attrs) {
            visit::visit_impl_item_fn(self, it);
        }
    }
}

/// Files that use each other, whichever way round: each set with more than one.
pub(crate) fn circles(edges: &Edges) -> Vec<Vec<String>> {
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        uses.entry(from).or_default().insert(to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = uses
        .keys()
        .map(|from| {
            let mut seen = BTreeSet::new();
            let mut waiting = vec![*from];
            while let Some(file) = waiting.pop() {
                for to in uses.get(file).into_iter().flatten() {
                    if seen.insert(*to) {
                        waiting.push(to);
                    }
                }
            }
            (*from, seen)
        })
        .collect();
    let mut circles = BTreeSet::new();
    for (from, all) in &reached {
        let back = |to: &&&str| reached.get(**to).is_some_and(|all| all.contains(from));
        let circle: Vec<String> = all
            .iter()
            .filter(back)
            .map(|file| (*file).to_owned())
            .collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// Whether a file is a part of another one's module.
fn is_part_of(part: &str, whole: &str) -> bool {
    let directory = match whole.strip_suffix("/mod.rs") {
        Some(directory) => directory,
        None => whole.trim_end_matches(".rs"),
    };
    part.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(pairs: &[(&str, &str)]) -> Edges {
        let owned =
            |(from, to): &(&str, &str)| (((*from).to_owned(), (*to).to_owned()), String::new());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn circles_are_found_however_long() {
        assert!(circles(&edges(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
        let three = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")];
        assert_eq!(circles(&edges(&three)), [["a", "b", "c"]]);
    }

    #[test]
    fn re_exports_lead_to_the_file_that_defines() {
        let graph = Graph::of("debuggee-driver/src/lib.rs");
        let edges = graph.edges();
        let uses = |from: &str, to: &str| {
            let full = |path: &str| format!("debuggee-driver/src/{path}");
            edges.contains_key(&(full(from), full(to)))
        };
        // `crate::exit::Core`, `crate::event::Installed` and what a macro defines.
        assert!(uses("boot/core_loop.rs", "exit/core.rs"));
        assert!(
            uses("command/event.rs", "event/installed.rs")
                || uses("shared.rs", "event/installed.rs")
        );
        assert!(uses("exit/nmi.rs", "exit/due.rs"));
        assert!(!uses("exit/due.rs", "exit/nmi.rs"));
    }
}
