//! Expressions, parsed and evaluated against a made-up debuggee and an independent evaluator.

use super::super::Read;
use super::super::parser::{parse, parse_prefix};
use super::{Context, EvalError, Other};
use proptest::prelude::*;

#[derive(Default)]
struct MadeUp {
    warnings: Vec<String>,
}

impl Context for MadeUp {
    fn register(&mut self, name: &str) -> Result<u64, EvalError> {
        match name {
            "rax" => Ok(0x100),
            "zf" => Ok(1),
            "al" => Ok(0x55),
            _ => Err(EvalError::UnknownRegister { name: name.into() }),
        }
    }
    fn pseudo(&mut self, name: &str) -> Result<u64, EvalError> {
        match name {
            "ip" => Ok(0x4000),
            _ => Err(EvalError::UnknownPseudo { name: name.into() }),
        }
    }
    fn symbol(&mut self, name: &str) -> Option<u64> {
        match name {
            "vmlinux!do_sys_openat2" | "nt!do_sys_openat2" | "do_sys_openat2" => Some(0xffff_0000),
            "add" => Some(0x7777),
            _ => None,
        }
    }
    fn memory(&mut self, read: Read, address: u64) -> Result<u64, EvalError> {
        let bytes = [0x11_u8, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];
        let mut value = 0;
        for i in (0..read.bytes).rev() {
            value = value << 8 | u64::from(bytes[(i + (address & 7) as usize) % 8]);
        }
        Ok(value)
    }
    fn ambiguous(&mut self, word: &str, _: u64, _: Other) {
        self.warnings.push(word.to_owned());
    }
}

fn value(text: &str) -> Result<u64, EvalError> {
    parse(text).expect(text).evaluate(&mut MadeUp::default())
}

#[test]
fn precedence_is_that_of_c() {
    for (text, expected) in [
        ("1+2*3", 7),
        ("(1+2)*3", 9),
        ("10 - 4 - 2", 0xa),
        ("1 << 4 + 1", 0x20),
        ("f & 3 | 8 ^ 1", 0xb),
        ("-1", u64::MAX),
        ("~0 >> 3c", u64::MAX),
        ("ffffffffffffffff >> 3c", 0xf),
        ("-5 / 2", 2_u64.wrapping_neg()),
        ("-1 > 0", 0),
        ("ffffffffffffffff > 0", 1),
        ("-1 > ffffffffffff0000", 1),
        ("@rax - 200 < 0", 1),
        ("db(0) - 12 < 0", 0),
        ("(1 == 1) - 2 < 0", 1),
        ("- - 5", 5),
        ("0n100 / 0n7 % 5", 4),
        ("!0 + !5", 1),
        ("1 << 40", 0),
        ("1 < 2 == 1 && 0 || 3 & 1 == 1", 1),
        ("@rax >= 100 && !(2 != 2)", 1),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn names_are_registers_pseudo_registers_and_symbols() {
    for (text, expected) in [
        ("@rax", 0x100),
        ("@RAX+8", 0x108),
        ("rax", 0x100),
        ("@zf", 1),
        ("al", 0x55),
        ("$ip + 1", 0x4001),
        ("do_sys_openat2+10", 0xffff_0010),
        ("vmlinux!do_sys_openat2", 0xffff_0000),
        ("nt!do_sys_openat2+@rax", 0xffff_0100),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
    assert!(matches!(
        value("nothing_here"),
        Err(EvalError::UnknownSymbol { .. })
    ));
}

#[test]
fn memory_functions_read_their_own_size() {
    for (text, expected) in [
        ("poi(0)", 0x8877_6655_4433_2211),
        ("dq(0)", 0x8877_6655_4433_2211),
        ("dd(0)", 0x4433_2211),
        ("dw(2)", 0x4433),
        ("db(@rax+1)", 0x22),
        ("low(0)", 0x2211),
        ("hi(0)", 0x4433),
        ("db(db(0)-10)", 0x22),
        ("*0 & ff", 0x11),
        ("dd_pa(0)", 0x4433_2211),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_word_that_is_number_and_symbol_is_a_number_with_a_warning() {
    let mut context = MadeUp::default();
    assert_eq!(
        parse("add").expect("good").evaluate(&mut context),
        Ok(0xadd)
    );
    assert_eq!(context.warnings, ["add"]);
    assert_eq!(
        parse("0add").expect("good").evaluate(&mut context),
        Ok(0xadd)
    );
    assert_eq!(context.warnings.len(), 1);
}

#[test]
fn errors_name_what_is_wrong() {
    for (text, words) in [
        ("", "a value is expected here, not the end"),
        ("1+", "a value is expected here, not the end"),
        ("(1", "`)` is expected here, not the end"),
        ("1 + )", "a value is expected here, not `)`"),
        ("1 2", "`2` cannot stand here"),
        ("1 + §", "'§' is not part of the language"),
        ("\"text", "this string has no end"),
        ("0n9a", "`0n9a` is not a number in base 10"),
        ("12345678901234567", "does not fit in 64 bits"),
        ("&rax", "can be used in scripts only"),
        ("strlen(1)", "can be used in scripts only"),
        ("1.5", "can be used in scripts only"),
        (&"(".repeat(1000), "levels deep"),
        (&"-".repeat(1000), "levels deep"),
        (&"1+".repeat(1000), "operators in a row"),
    ] {
        let why = parse(text).expect_err(text).to_string();
        assert!(why.contains(words), "{text}: {why}");
    }
    assert_eq!(value("5/0"), Err(EvalError::DivisionByZero));
}

#[test]
fn an_expression_ends_before_a_keyword() {
    let (_, rest) = parse_prefix("@rax + 8 l 20").expect("good");
    assert_eq!(rest, "l 20");
}

/// A tree of our own, so that the evaluator under test is compared with something else.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(u64),
    Op(char, Box<Self>, Box<Self>),
    Sign(char, Box<Self>),
}

/// The number of that sign that has the same lowest 64 bits.
fn cut(value: i128, is_signed: bool) -> i128 {
    let value = value.rem_euclid(1 << 64);
    if is_signed && value >= 1 << 63 {
        value - (1 << 64)
    } else {
        value
    }
}

impl Tree {
    /// The value, and whether it is signed.
    fn value(&self) -> Option<(i128, bool)> {
        Some(match self {
            Self::Leaf(v) => (i128::from(*v), v >> 63 == 0),
            Self::Sign(sign, a) => {
                let (value, is_signed) = a.value()?;
                let changed = if *sign == '-' { -value } else { -1 - value };
                (cut(changed, is_signed), is_signed)
            }
            Self::Op(op, a, b) => {
                let ((a, a_signed), (b, b_signed)) = (a.value()?, b.value()?);
                if matches!(op, '<' | '>') {
                    let by = cut(b, false);
                    let value = match op {
                        _ if by >= 64 => 0,
                        '<' => (0..by).fold(a, |v, _| cut(v * 2, a_signed)),
                        _ => a.div_euclid(1 << by),
                    };
                    return Some((value, a_signed));
                }
                let is_signed = a_signed && b_signed;
                let (a, b) = (cut(a, is_signed), cut(b, is_signed));
                let value = match op {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a.wrapping_mul(b),
                    '/' => a.checked_div(b)?,
                    '%' => a.checked_rem(b)?,
                    '&' => a & b,
                    '|' => a | b,
                    _ => a ^ b,
                };
                (cut(value, is_signed), is_signed)
            }
        })
    }

    /// As few parentheses as C needs.
    fn text(&self, above: u8) -> String {
        let (level, text) = match self {
            Self::Leaf(v) => (9, format!("{v:x}")),
            Self::Sign(sign, a) => (8, format!("{sign}{}", a.text(8))),
            Self::Op(op, a, b) => {
                let level = match op {
                    '|' => 1,
                    '^' => 2,
                    '&' => 3,
                    '<' | '>' => 4,
                    '+' | '-' => 5,
                    _ => 6,
                };
                let sign = match op {
                    '<' => "<<".to_owned(),
                    '>' => ">>".to_owned(),
                    other => other.to_string(),
                };
                (
                    level,
                    format!("{} {sign} {}", a.text(level), b.text(level + 1)),
                )
            }
        };
        if level < above {
            format!("({text})")
        } else {
            text
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![any::<u64>(), 0..70_u64].prop_map(Tree::Leaf);
    leaf.prop_recursive(6, 48, 2, |inner| {
        prop_oneof![
            (
                prop::sample::select(vec!['+', '-', '*', '/', '%', '&', '|', '^', '<', '>']),
                inner.clone(),
                inner.clone()
            )
                .prop_map(|(op, a, b)| Tree::Op(op, Box::new(a), Box::new(b))),
            (prop::sample::select(vec!['-', '~']), inner)
                .prop_map(|(sign, a)| Tree::Sign(sign, Box::new(a))),
        ]
    })
}

proptest! {
    #[test]
    fn values_agree_with_an_independent_evaluator(tree in tree()) {
        let text = tree.text(0);
        let got = parse(&text).expect(&text).evaluate(&mut MadeUp::default());
        match tree.value() {
            Some((expected, _)) => {
                prop_assert_eq!(got.map(i128::from), Ok(cut(expected, false)), "{}", text);
            }
            None => prop_assert_eq!(got, Err(EvalError::DivisionByZero), "{}", text),
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_text_of_likely_characters_makes_the_parser_panic(text in "[-+*/%~!&|^<>()@$`\\\\a-f0-9nxyt_ ]{0,60}") {
        let _ = parse(&text);
    }
}
