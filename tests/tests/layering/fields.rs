//! Where a VMCS field is named, and what is done with it there.

use crate::sources::Source;
use syn::visit::{self, Visit};
use syn::{Expr, ExprMethodCall, Path};

/// What is done with a field where it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is an argument of `vmread`.
    Read,
    /// It is an argument of `vmwrite`.
    Write,
    /// It goes somewhere else, from where it may be written.
    Other,
}

struct Uses<'f> {
    field: &'f str,
    found: Vec<Use>,
}

impl Uses<'_> {
    fn is_field(&self, argument: &Expr) -> bool {
        matches!(argument, Expr::Path(it) if self.names(&it.path))
    }

    fn names(&self, path: &Path) -> bool {
        let last = path.segments.last();
        last.is_some_and(|last| last.ident == self.field)
    }
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let done = match call.method.to_string().as_str() {
            "vmread" => Some(Use::Read),
            "vmwrite" => Some(Use::Write),
            _ => None,
        };
        match (done, call.args.first()) {
            (Some(done), Some(field)) if self.is_field(field) => {
                self.found.push(done);
                self.visit_expr(&call.receiver);
                for argument in call.args.iter().skip(1) {
                    self.visit_expr(argument);
                }
            }
            _ => visit::visit_expr_method_call(self, call),
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if self.names(path) {
            self.found.push(Use::Other);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        let text = it.tokens.to_string();
        if crate::sources::has_word(&text, self.field) {
            self.found.push(Use::Other);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }
}

/// What a source does with a field, in order.
pub(crate) fn uses(source: &Source, field: &str) -> Vec<Use> {
    let mut uses = Uses {
        field,
        found: Vec::new(),
    };
    uses.visit_file(&source.parsed());
    uses.found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_writes_and_aliases_are_told_apart() {
        let source = Source::of(
            "test.rs",
            "fn f() {
                cpu.vmwrite(guest::RIP, cpu.vmread(guest::RIP));
                let field = guest::RIP;
                set(cpu, &[guest::RIP]);
            }
            mod tests { fn g() { cpu.vmwrite(guest::RIP, 0); } }",
        );
        let found = uses(&source, "RIP");
        assert_eq!(found, [Use::Write, Use::Read, Use::Other, Use::Other]);
        assert_eq!(uses(&source, "RSP"), []);
    }
}
