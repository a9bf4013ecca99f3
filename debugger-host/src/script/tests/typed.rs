//! Declared types against an evaluator of their own that knows the rules of C: random
//! expressions over variables, globals, members and what pointers point at.

use super::good;
use crate::script::trial::{OPERATIONS, World};
use proptest::prelude::*;
use wire_protocol::register::Register;

/// A type: name, bytes, whether it is signed.
type Of = (&'static str, u32, bool);

const TYPES: [Of; 9] = [
    ("char", 1, true),
    ("unsigned char", 1, false),
    ("short", 2, true),
    ("unsigned short", 2, false),
    ("int", 4, true),
    ("unsigned int", 4, false),
    ("long", 8, true),
    ("unsigned long", 8, false),
    ("bool", 1, false),
];

const INT: Of = TYPES[4];

/// Ways to get at a variable of each type.
const ACCESS: [&str; 5] = ["v", "s.m", "q->m", ".g", "list[1].m"];

#[derive(Clone, Debug)]
enum Tree {
    /// Type and way.
    Variable(usize, usize),
    Sign(char, Box<Self>),
    Cast(usize, Box<Self>),
    Op(&'static str, Box<Self>, Box<Self>),
}

/// The value that fits in a type.
fn cut(value: i128, (_, bytes, signed): Of) -> i128 {
    let modulus = 1_i128 << (8 * bytes);
    let value = value.rem_euclid(modulus);
    if signed && value >= modulus / 2 {
        value - modulus
    } else {
        value
    }
}

fn converted(value: i128, of: Of) -> i128 {
    if of.0 == "bool" {
        i128::from(value != 0)
    } else {
        cut(value, of)
    }
}

fn promoted(of: Of) -> Of {
    if of.1 < 4 { INT } else { of }
}

fn common(a: Of, b: Of) -> Of {
    let (a, b) = (promoted(a), promoted(b));
    match a.1.cmp(&b.1) {
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Equal if a.2 => b,
        std::cmp::Ordering::Equal => a,
    }
}

/// All bits of a value.
const BITS: Of = TYPES[7];

impl Tree {
    fn value(&self, values: &[u64; 9]) -> (i128, Of) {
        match self {
            Self::Variable(of, _) => (converted(i128::from(values[*of]), TYPES[*of]), TYPES[*of]),
            Self::Cast(of, operand) => (converted(operand.value(values).0, TYPES[*of]), TYPES[*of]),
            Self::Sign(sign, operand) => {
                let (value, of) = operand.value(values);
                match sign {
                    '!' => (i128::from(value == 0), INT),
                    '-' => (cut(-value, promoted(of)), promoted(of)),
                    _ => (cut(-1 - value, promoted(of)), promoted(of)),
                }
            }
            Self::Op(sign, left, right) => {
                let ((a, left), (b, right)) = (left.value(values), right.value(values));
                if matches!(*sign, "<<" | ">>") {
                    let of = promoted(left);
                    let by = cut(b, BITS);
                    let value = match *sign {
                        _ if by >= 64 => 0,
                        "<<" => a << by.min(63),
                        _ => a >> by,
                    };
                    return (cut(value, of), of);
                }
                let of = common(left, right);
                let (a, b) = (cut(a, of), cut(b, of));
                let truth = |holds: bool| (i128::from(holds), INT);
                let value = match *sign {
                    "+" => a + b,
                    "-" => a - b,
                    "*" => a.wrapping_mul(b),
                    "/" => a.checked_div(b).unwrap_or(0),
                    "%" => a.checked_rem(b).unwrap_or(0),
                    "&" => a & b,
                    "|" => a | b,
                    "^" => a ^ b,
                    "<" => return truth(a < b),
                    ">=" => return truth(a >= b),
                    "==" => return truth(a == b),
                    "&&" => return truth(a != 0 && b != 0),
                    _ => return truth(a != 0 || b != 0),
                };
                (cut(value, of), of)
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Variable(of, way) => format!("{}{of}", ACCESS[*way]),
            Self::Sign(sign, operand) => format!("({sign} {})", operand.text()),
            Self::Cast(of, operand) => format!("({}) {}", TYPES[*of].0, operand.text()),
            Self::Op(sign, left, right) => format!("({} {sign} {})", left.text(), right.text()),
        }
    }
}

/// Declares every variable in every way and gives it the value of a register.
fn declarations() -> String {
    let mut text = String::from("struct S { char c;");
    for (index, (name, ..)) in TYPES.iter().enumerate() {
        text += &format!("{name} m{index};");
    }
    text += "}; struct S s; struct S t; struct S list[2]; struct S *q; q = &t;";
    for (index, (name, ..)) in TYPES.iter().enumerate() {
        text += &format!("{name} v{index}; {name} .g{index};");
        for way in ACCESS {
            text += &format!("{way}{index} = @{};", REGISTERS[index].0);
        }
    }
    text
}

const REGISTERS: [(&str, Register); 9] = [
    ("rax", Register::Rax),
    ("rbx", Register::Rbx),
    ("rcx", Register::Rcx),
    ("rdx", Register::Rdx),
    ("r8", Register::R8),
    ("r9", Register::R9),
    ("r10", Register::R10),
    ("r11", Register::R11),
    ("r12", Register::R12),
];

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = (0..TYPES.len(), 0..ACCESS.len()).prop_map(|(of, way)| Tree::Variable(of, way));
    let signs = vec![
        "+", "-", "*", "/", "%", "&", "|", "^", "<", ">=", "==", "&&", "||", "<<", ">>",
    ];
    leaf.prop_recursive(5, 24, 2, move |inner| {
        prop_oneof![
            5 => (prop::sample::select(signs.clone()), inner.clone(), inner.clone())
                .prop_map(|(sign, a, b)| Tree::Op(sign, Box::new(a), Box::new(b))),
            1 => (prop::sample::select(vec!['-', '~', '!']), inner.clone())
                .prop_map(|(sign, a)| Tree::Sign(sign, Box::new(a))),
            1 => (0..TYPES.len(), inner).prop_map(|(of, a)| Tree::Cast(of, Box::new(a))),
        ]
    })
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        any::<u64>(),
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..200_u64).prop_map(u64::wrapping_neg),
        0..0x1_0000_u64,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn declared_types_follow_the_rules_of_c(
        tree in tree(),
        target in (0..TYPES.len(), 0..ACCESS.len()),
        values in prop::array::uniform9(number()),
    ) {
        let mut world = World::default();
        for ((_, register), value) in REGISTERS.iter().zip(values) {
            world.set_register(*register, value);
        }
        let text = tree.text();
        let (expected, of) = tree.value(&values);
        // As it is, compared with zero, and stored in something of another type.
        let (to, way) = target;
        let place = format!("{}{to}", ACCESS[way]);
        let script = format!(
            "{} print({text}); if ({text}) {{ print(1); }} else {{ print(0); }} \
             {place} = {text}; print({place}); x = {place}; print(x); return x == {place};",
            declarations(),
        );
        let compiled = good(&script);
        let mut locals = vec![0; compiled.local_bytes];
        let mut out = Vec::new();
        let outcome = world
            .run(&compiled.bytes, &mut locals, OPERATIONS, &mut out)
            .expect("verified");
        let word = |value: i128| cut(value, BITS);
        let stored = word(converted(expected, TYPES[to]));
        let printed = format!(
            "{:x}\n{}\n{stored:x}\n{stored:x}\n",
            word(cut(expected, of)),
            i128::from(expected != 0),
        );
        prop_assert_eq!(String::from_utf8_lossy(&out), printed, "{} to {}", text, place);
        prop_assert_eq!(outcome.value(), Some(1), "{}", text);
    }
}
