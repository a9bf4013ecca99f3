//! Which expressions are numbers: counts, ids, vectors, ports, masks, lengths. Called for every
//! argument that is one.
//!
//! Digits come first, so `cf` and `df` are numbers and no flags; a register or a flag has its `@`
//! here, and a name, which is an address, is no number. What is computed from addresses may be one:
//! their difference, what memory holds there, what is left of one under a mask. Whether something is
//! true is none, so that `!db` is nothing but a command.

use super::{Binary, Expression, SyntaxError, Unary};

/// What the value of an expression can be.
enum Sort {
    Number,
    /// An address, by the name of this symbol.
    Address(String),
}

/// The expression, if it is a number.
///
/// # Errors
/// Which word of it makes it something else.
pub fn number(mut expression: Expression) -> Result<Expression, SyntaxError> {
    match sort(&mut expression)? {
        Sort::Number => Ok(expression),
        Sort::Address(name) => Err(SyntaxError::NoNumber { word: name }),
    }
}

fn sort(expression: &mut Expression) -> Result<Sort, SyntaxError> {
    match expression {
        Expression::Number { word, .. } => {
            // A symbol cannot stand here, so there is nothing to mistake it for.
            *word = None;
            Ok(Sort::Number)
        }
        Expression::Register {
            name,
            is_bare: true,
        } => Err(SyntaxError::BareRegister { name: name.clone() }),
        Expression::Register { .. } | Expression::Pseudo(_) | Expression::Memory(..) => {
            Ok(Sort::Number)
        }
        Expression::Symbol(name) => Ok(Sort::Address(name.clone())),
        Expression::Unary(Unary::Not, _) => Err(SyntaxError::Truth),
        Expression::Unary(_, operand) => sort(operand),
        Expression::Binary(sign, ..) if sign.compares() || is_logical(*sign) => {
            Err(SyntaxError::Truth)
        }
        Expression::Binary(sign, left, right) => {
            let (left, right) = (sort(left)?, sort(right)?);
            Ok(match (sign, left, right) {
                (Binary::Add | Binary::Subtract, Sort::Address(name), Sort::Number)
                | (Binary::Add, Sort::Number | Sort::Address(_), Sort::Address(name)) => {
                    Sort::Address(name)
                }
                _ => Sort::Number,
            })
        }
    }
}

fn is_logical(sign: Binary) -> bool {
    matches!(sign, Binary::LogicalAnd | Binary::LogicalOr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::parser::parse;
    use crate::types::register::{FLAGS, all, spelling};

    fn read(text: &str) -> Result<Expression, SyntaxError> {
        number(parse(text).expect(text))
    }

    #[test]
    fn every_word_of_hexadecimal_digits_is_the_number() {
        for value in 0..=0xff_u64 {
            for text in [format!("{value:x}"), format!("{value:02X}")] {
                let expected = Expression::Number { value, word: None };
                assert_eq!(read(&text), Ok(expected), "{text}");
            }
        }
    }

    #[test]
    fn registers_and_flags_need_their_sign() {
        let flags = FLAGS.iter().map(|(name, ..)| (*name).to_owned());
        let short = ["al", "ch", "bp", "ip", "eax", "sil", "r9d"].map(str::to_owned);
        for name in all().map(spelling).chain(flags).chain(short) {
            assert!(read(&format!("@{name}")).is_ok(), "{name}");
            // `if` is a word of the language besides.
            if u64::from_str_radix(&name, 16).is_err() && name != "if" {
                let refused = Err(SyntaxError::BareRegister { name: name.clone() });
                assert_eq!(read(&name), refused);
            }
        }
    }

    #[test]
    fn what_is_computed_from_addresses_may_be_a_number() {
        for text in [
            "poi(vfs_read)",
            "dd(al)",
            "vfs_write - vfs_read",
            "vfs_read & fff",
            "$core + 1",
            "2 * (@rax + 1)",
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in ["!db", "1 == 1", "@rax && 1", "1 + !0"] {
            assert_eq!(read(text), Err(SyntaxError::Truth), "{text}");
        }
        for (text, word) in [
            ("x", "x"),
            ("vmlinux!vfs_read", "vmlinux!vfs_read"),
            ("vfs_read + 4", "vfs_read"),
            ("4 + vfs_read", "vfs_read"),
            ("-vfs_read", "vfs_read"),
        ] {
            let word = word.to_owned();
            assert_eq!(read(text), Err(SyntaxError::NoNumber { word }), "{text}");
        }
    }
}
