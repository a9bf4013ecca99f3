//! Statics that can change: the driver's image is ordinary memory of the guest, which reads and writes it at will.
//!
//! A static is constant if nothing but plain values makes up its type. What else a type may hide (a cell, an atomic,
//! a lock, a pointer to one) is not looked for: a type that is not on the list is refused.

use crate::sources::Source;
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, GenericArgument, PathArguments, StaticMutability, Type};

/// Types without a place that could change behind a shared reference.
const PLAIN: [&str; 21] = [
    "bool", "char", "str", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64",
    "i128", "isize", "f32", "f64",
    "Option", // Of `crc`: a table that is computed when it is compiled.
    "Crc", "Table", "Range",
];

fn is_plain(it: &Type) -> bool {
    match it {
        Type::Array(array) => is_plain(&array.elem),
        Type::Slice(slice) => is_plain(&slice.elem),
        Type::Tuple(tuple) => tuple.elems.iter().all(is_plain),
        Type::Paren(paren) => is_plain(&paren.elem),
        Type::Group(group) => is_plain(&group.elem),
        Type::Reference(reference) => reference.mutability.is_none() && is_plain(&reference.elem),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            let arguments = match &last.arguments {
                PathArguments::AngleBracketed(arguments) => {
                    arguments.args.iter().all(|argument| match argument {
                        GenericArgument::Type(it) => is_plain(it),
                        GenericArgument::Const(_) | GenericArgument::Lifetime(_) => true,
                        _ => false,
                    })
                }
                PathArguments::None => true,
                PathArguments::Parenthesized(_) => false,
            };
            arguments && PLAIN.iter().any(|plain| last.ident == plain)
        }),
        _ => false,
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => {
            list.path.is_ident("cfg") && list.tokens.to_string().starts_with("test")
        }
        meta => meta.path().is_ident("test"),
    })
}

#[derive(Default)]
struct Statics {
    found: Vec<String>,
}

impl Statics {
    /// A static in the arguments of a macro, whatever the macro makes of it.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut is_behind_static = false;
        let mut is_lifetime = false;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if is_behind_static {
                        self.found.push(ident.to_string());
                    }
                    is_behind_static = ident == "static" && !is_lifetime;
                    is_lifetime = false;
                }
                TokenTree::Group(group) => {
                    is_behind_static = false;
                    self.tokens(group.stream());
                }
                TokenTree::Punct(punct) => {
                    is_behind_static = false;
                    is_lifetime = punct.as_char() == '\'';
                }
                TokenTree::Literal(_) => is_behind_static = false,
            }
        }
    }
}

impl<'ast> Visit<'ast> for Statics {
    fn visit_item_static(&mut self, it: &'ast syn::ItemStatic) {
        let is_constant = matches!(it.mutability, StaticMutability::None) && is_plain(&it.ty);
        if !is_constant && !is_test(&it.attrs) {
            self.found.push(it.ident.to_string());
        }
        visit::visit_item_static(self, it);
    }

    fn visit_foreign_item_static(&mut self, it: &'ast syn::ForeignItemStatic) {
        if !matches!(it.mutability, StaticMutability::None) || !is_plain(&it.ty) {
            self.found.push(it.ident.to_string());
        }
    }

    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        self.tokens(it.tokens.clone());
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, it: &'ast syn::ItemFn) {
        if !is_test(&it.attrs) {
            visit::visit_item_fn(self, it);
        }
    }
}

/// Names of the statics of a source that can change, tests excepted.
pub(crate) fn changeable(source: &Source) -> Vec<String> {
    let mut statics = Statics::default();
    statics.visit_file(&source.parsed());
    statics.found
}

/// Directives of an assembly source that ask for memory that can be written.
pub(crate) fn writable_sections(text: &str) -> Vec<String> {
    let is_writable = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first() {
            Some(&(".data" | ".bss" | ".comm" | ".lcomm")) => true,
            Some(&(".section" | ".pushsection")) => {
                let flags = line.split('"').nth(1).unwrap_or_default();
                flags.contains('w') || line.contains(".data") || line.contains(".bss")
            }
            _ => false,
        }
    };
    text.lines()
        .map(str::trim)
        .filter(is_writable)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_can_change_is_found() {
        let source = Source::of(
            "test.rs",
            "static mut A: u32 = 0;
            static B: AtomicU64 = AtomicU64::new(0);
            pub static C: [core::cell::UnsafeCell<u8>; 4] = make();
            fn f() { static D: OnceLock<u32> = OnceLock::new(); }
            thread_local! { static E: u8 = 0; }
            static F: Mine = Mine::new();
            static G: &Mutex<u8> = &LOCK;
            extern \"C\" { static mut H: u8; static LABEL: u8; }
            static I: Option<*mut u8> = None;",
        );
        assert_eq!(
            changeable(&source),
            ["A", "B", "C", "D", "E", "F", "G", "H", "I"]
        );
    }

    #[test]
    fn constants_and_tests_are_let_be() {
        let source = Source::of(
            "test.rs",
            "static TABLE: [(u16, &'static str); 2] = [];
            static CRC: Crc<u32, Table<1>> = ISO_HDLC;
            const NOT_ONE: AtomicU32 = AtomicU32::new(0);
            fn f() -> &'static str { println!(\"{}\", g::<'static>()); \"\" }
            #[cfg(test)]
            mod tests { static A: OnceLock<u8> = OnceLock::new(); }
            #[cfg(test)]
            static KEPT: Mutex<u8> = Mutex::new(0);",
        );
        assert!(changeable(&source).is_empty());
    }

    #[test]
    fn sections_that_can_be_written_are_found() {
        let text = ".pushsection .text.own, \"ax\", @progbits
            .popsection
            .section .own, \"aw\"
            .data
            .comm name, 8";
        assert_eq!(writable_sections(text).len(), 3);
    }
}
