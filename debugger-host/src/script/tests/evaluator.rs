//! The compiler and the interpreter against an evaluator of its own: random trees, written with
//! as few parentheses as C needs.

use super::good;
use crate::script::trial::{OPERATIONS, World};
use proptest::prelude::*;
use wire_protocol::register::Register;

#[derive(Clone, Debug)]
enum Tree {
    Number(u64),
    Register(usize),
    Sign(char, Box<Self>),
    Op(&'static str, Box<Self>, Box<Self>),
}

const REGISTERS: [(&str, Register); 4] = [
    ("@rax", Register::Rax),
    ("@r9", Register::R9),
    ("rbx", Register::Rbx),
    ("@cr2", Register::Cr2),
];

const OPERATORS: [(&str, u8); 18] = [
    ("||", 1),
    ("&&", 2),
    ("|", 3),
    ("^", 4),
    ("&", 5),
    ("==", 6),
    ("!=", 6),
    ("<", 7),
    ("<=", 7),
    (">", 7),
    (">=", 7),
    ("<<", 8),
    (">>", 8),
    ("+", 9),
    ("-", 9),
    ("*", 10),
    ("/", 10),
    ("%", 10),
];

/// What a value is, each of them what it makes of those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Int,
    Long,
    Unsigned,
}

/// The number of that kind that has the same lowest bits.
fn cut(value: i128, kind: Kind) -> i128 {
    let bits = if kind == Kind::Int { 32 } else { 64 };
    let modulus = 1_i128 << bits;
    let value = value.rem_euclid(modulus);
    if kind != Kind::Unsigned && value >= modulus / 2 {
        value - modulus
    } else {
        value
    }
}

impl Tree {
    fn value(&self, registers: &[u64; 4]) -> u64 {
        self.number(registers).0.rem_euclid(1 << 64) as u64
    }

    fn number(&self, registers: &[u64; 4]) -> (i128, Kind) {
        let truth = |holds: bool| (i128::from(holds), Kind::Int);
        match self {
            Self::Number(value) if value >> 63 == 0 => ((*value).into(), Kind::Long),
            Self::Number(value) => ((*value).into(), Kind::Unsigned),
            Self::Register(index) => (cut(registers[*index].into(), Kind::Long), Kind::Long),
            Self::Sign(sign, operand) => {
                let (value, kind) = operand.number(registers);
                match sign {
                    '-' => (cut(-value, kind), kind),
                    '~' => (cut(-1 - value, kind), kind),
                    '!' => truth(value == 0),
                    _ => (value, kind),
                }
            }
            Self::Op(sign, left, right) => {
                let (left, right) = (left.number(registers), right.number(registers));
                let kind = match *sign {
                    "<<" | ">>" => left.1,
                    _ => left.1.max(right.1),
                };
                let (a, b) = match *sign {
                    "<<" | ">>" => (left.0, cut(right.0, Kind::Unsigned)),
                    _ => (cut(left.0, kind), cut(right.0, kind)),
                };
                let value = match *sign {
                    "||" => return truth(a != 0 || b != 0),
                    "&&" => return truth(a != 0 && b != 0),
                    "==" => return truth(a == b),
                    "!=" => return truth(a != b),
                    "<" => return truth(a < b),
                    "<=" => return truth(a <= b),
                    ">" => return truth(a > b),
                    ">=" => return truth(a >= b),
                    "|" => a | b,
                    "^" => a ^ b,
                    "&" => a & b,
                    "<<" if b < 64 => (0..b).fold(a, |value, _| cut(2 * value, kind)),
                    ">>" if b < 64 => a.div_euclid(1 << b),
                    "<<" | ">>" => 0,
                    "+" => a + b,
                    "-" => a - b,
                    "*" => a.wrapping_mul(b),
                    "/" => a.checked_div(b).unwrap_or(0),
                    _ => a.checked_rem(b).unwrap_or(0),
                };
                (cut(value, kind), kind)
            }
        }
    }

    /// The compiler refuses to divide by what it knows to be zero.
    fn divides_by_known_zero(&self) -> bool {
        match self {
            Self::Number(_) | Self::Register(_) => false,
            Self::Sign(_, operand) => operand.divides_by_known_zero(),
            Self::Op(sign, left, right) => {
                matches!(*sign, "/" | "%") && !right.has_register() && right.value(&[0; 4]) == 0
                    // `0 && x` is known, whatever x is.
                    || matches!(*sign, "/" | "%") && right.has_logic()
                    || left.divides_by_known_zero()
                    || right.divides_by_known_zero()
            }
        }
    }

    fn has_register(&self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Register(_) => true,
            Self::Sign(_, operand) => operand.has_register(),
            Self::Op(_, left, right) => left.has_register() || right.has_register(),
        }
    }

    fn has_logic(&self) -> bool {
        match self {
            Self::Number(_) | Self::Register(_) => false,
            Self::Sign(_, operand) => operand.has_logic(),
            Self::Op(sign, left, right) => {
                matches!(*sign, "&&" | "||") || left.has_logic() || right.has_logic()
            }
        }
    }

    fn text(&self, floor: u8) -> String {
        let (level, text) = match self {
            Self::Number(value) => (12, format!("{value:x}")),
            Self::Register(index) => (12, REGISTERS[*index].0.to_owned()),
            Self::Sign(sign, operand) => (11, format!("{sign} {}", operand.text(11))),
            Self::Op(sign, left, right) => {
                let level = OPERATORS
                    .iter()
                    .find(|(s, _)| s == sign)
                    .map_or(0, |(_, l)| *l);
                let text = format!("{} {sign} {}", left.text(level), right.text(level + 1));
                (level, text)
            }
        };
        if level < floor {
            format!("({text})")
        } else {
            text
        }
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        0..70_u64,
        any::<u64>(),
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..70_u64).prop_map(u64::wrapping_neg),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        number().prop_map(Tree::Number),
        (0..4_usize).prop_map(Tree::Register),
    ];
    leaf.prop_recursive(7, 60, 2, |inner| {
        prop_oneof![
            4 => (prop::sample::select(OPERATORS.to_vec()), inner.clone(), inner.clone())
                .prop_map(|((sign, _), a, b)| Tree::Op(sign, Box::new(a), Box::new(b))),
            1 => (prop::sample::select(vec!['-', '~', '!', '+']), inner)
                .prop_map(|(sign, a)| Tree::Sign(sign, Box::new(a))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn values_agree_with_an_independent_evaluator(
        tree in tree().prop_filter("refused", |tree| !tree.divides_by_known_zero()),
        registers in prop::array::uniform4(number()),
    ) {
        let mut world = World::default();
        for ((_, register), value) in REGISTERS.iter().zip(registers) {
            world.set_register(*register, value);
        }
        let text = tree.text(0);
        let expected = tree.value(&registers);
        // As a value, through a variable, and as a condition.
        let script = format!(
            "x = {text}; if ({text}) {{ print(1); }} else {{ print(0); }} print(x); return {text};"
        );
        let compiled = good(&script);
        let mut locals = vec![0; compiled.local_bytes];
        let mut out = Vec::new();
        let outcome = world.run(&compiled.bytes, &mut locals, OPERATIONS, &mut out).expect("verified");
        prop_assert_eq!(outcome.value(), Some(expected), "{}", text);
        let printed = format!("{:x}\n{expected:x}\n", u64::from(expected != 0));
        prop_assert_eq!(String::from_utf8_lossy(&out), printed, "{}", text);
    }
}
