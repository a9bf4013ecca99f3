//! Expressions and statements of all types, 20,000 of them made up at random, against a C compiler: the
//! one that links Rust programs, so that it is there wherever these tests are built.
#![cfg(target_os = "linux")]

use super::{good, run_on};
use crate::script::trial::World;
use std::fmt::Write as _;
use std::process::Command;

/// How many there are, and how many stand in one script.
const CASES: usize = 20_000;
const CASES_PER_SCRIPT: usize = 25;

const TYPES: [&str; 9] = [
    "char",
    "unsigned char",
    "short",
    "unsigned short",
    "int",
    "unsigned int",
    "long",
    "unsigned long",
    "bool",
];

/// A text in both languages: they differ in how numbers are written.
#[derive(Clone)]
struct Both {
    script: String,
    c: String,
}

fn both(text: impl Into<String>) -> Both {
    let script = text.into();
    Both {
        c: script.clone(),
        script,
    }
}

/// The numbers of a text as C writes those that are `long`, which all are in scripts.
fn long(text: &str) -> String {
    let mut all = String::new();
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        all.push(next);
        let is_number = next.is_ascii_digit() && !before.is_ascii_alphanumeric() && before != '.';
        if is_number
            && !rest
                .peek()
                .is_some_and(|it| it.is_ascii_alphanumeric() || *it == '.')
        {
            all.push('L');
        }
        before = next;
    }
    all
}

/// `pattern` with each `#` replaced by a part.
fn with(pattern: &str, parts: &[&Both]) -> Both {
    let filled = |pattern: &str, part: fn(&Both) -> &str| {
        let mut parts = parts.iter();
        let mut text = String::new();
        for (index, piece) in pattern.split('#').enumerate() {
            if index > 0 {
                text += parts.next().map_or("", |it| part(it));
            }
            text += piece;
        }
        text
    };
    Both {
        script: filled(pattern, |both| &both.script),
        c: filled(&long(pattern), |both| &both.c),
    }
}

/// Numbers that are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn of<'t>(&mut self, among: &[&'t str]) -> &'t str {
        among[self.below(among.len())]
    }

    fn number(&mut self) -> u64 {
        match self.below(5) {
            0 => self.next() >> 61,
            1 => 1 << self.below(64),
            2 => (self.next() >> 57).wrapping_neg(),
            3 => self.next() >> 48,
            _ => self.next(),
        }
    }

    /// A variable, a number, or what a function gives.
    fn leaf(&mut self) -> Both {
        match self.below(6) {
            0 => {
                let number = self.number() >> 1;
                Both {
                    script: format!("0{number:x}"),
                    c: format!("0x{number:x}L"),
                }
            }
            1 => both(format!("s.m{}", self.below(TYPES.len()))),
            2 => both(format!("p{}", self.below(TYPES.len()))),
            _ => both(format!("v{}", self.below(TYPES.len()))),
        }
    }

    fn expression(&mut self, depth: usize) -> Both {
        if depth == 0 {
            return self.leaf();
        }
        let mut inner = || self.expression(depth - 1);
        let (a, b) = (inner(), inner());
        match self.below(16) {
            0..4 => {
                let sign = self.of(&["+", "-", "*", "&", "|", "^"]);
                with(&format!("(# {sign} #)"), &[&a, &b])
            }
            4 => with("(# << (# & 7))", &[&a, &b]),
            5 => with("(# >> (# & 7))", &[&a, &b]),
            // Neither by zero, nor the lowest number by -1, of which C says nothing.
            6 => {
                let sign = self.of(&["/", "%"]);
                with(&format!("(# {sign} ((# & 7) + 2))"), &[&a, &b])
            }
            7 => {
                let sign = self.of(&["/", "%"]);
                with(&format!("(# {sign} ((# & 7) - 9))"), &[&a, &b])
            }
            8 | 9 => {
                let sign = self.of(&["<", "<=", ">", ">=", "==", "!="]);
                with(&format!("(# {sign} #)"), &[&a, &b])
            }
            10 => {
                let sign = self.of(&["&&", "||"]);
                with(&format!("(# {sign} #)"), &[&a, &b])
            }
            11 => {
                let c = self.expression(depth - 1);
                with("(# ? # : #)", &[&a, &b, &c])
            }
            12 => {
                let sign = self.of(&["-", "~", "!"]);
                with(&format!("({sign} #)"), &[&a])
            }
            13 => with(&format!("(({}) #)", self.of(&TYPES)), &[&a]),
            14 => with(&format!("f{}(#)", self.below(TYPES.len())), &[&a]),
            _ => {
                let sign = self.of(&["<", "<=", ">", ">=", "==", "!="]);
                let (left, right) = (self.fraction(&a), self.fraction(&b));
                with(&format!("(# {sign} #)"), &[&left, &right])
            }
        }
    }

    /// A number with a fraction, of a few whole ones.
    fn fraction(&mut self, of: &Both) -> Both {
        let kind = self.of(&["float", "double"]);
        let sign = self.of(&["+", "-", "*", "/"]);
        with(&format!("(({kind}) ((int) #) {sign} 2.5)"), &[of])
    }

    /// Statements that print a number.
    fn case(&mut self) -> Both {
        let depth = 1 + self.below(4);
        let target = format!("t{}", self.below(TYPES.len()));
        let (a, b) = (self.expression(depth), self.expression(2));
        match self.below(8) {
            0..3 => with("print(#);", &[&a]),
            3 => with(&format!("{target} = #; print({target});"), &[&a]),
            4 => {
                let sign = self.of(&["+", "-", "*", "&", "|", "^"]);
                with(
                    &format!("{target} = #; {target} {sign}= #; {target}++; print({target});"),
                    &[&b, &a],
                )
            }
            5 => with(
                &format!("if (#) {{ {target} = #; }} else {{ {target} = 3; }} print({target});"),
                &[&a, &b],
            ),
            6 => with(
                &format!(
                    "{target} = 0; switch (# & 3) {{ case 0: {target} = #; break; case 1: {target} = 5; \
                     case 2: {target} += 2; break; default: {target} -= 9; }} print({target});"
                ),
                &[&a, &b],
            ),
            _ => with(
                &format!(
                    "{target} = 1; for (n = 0; n < 3; n++) {{ {target} += # + n; \
                     if ({target} < #) {{ continue; }} {target} <<= 1; }} print({target});"
                ),
                &[&b, &a],
            ),
        }
    }
}

/// Functions that convert their arguments, and a structure with a member of each type.
fn before() -> String {
    let mut text = String::from("struct S { char odd;");
    for (index, of) in TYPES.iter().enumerate() {
        let _ = write!(text, " {of} m{index};");
    }
    text += "};\n";
    for (index, of) in TYPES.iter().enumerate() {
        let returns = TYPES[(index + 5) % TYPES.len()];
        let _ = writeln!(text, "{returns} f{index}({of} x) {{ return x + 1; }}");
    }
    text
}

/// Variables with values; those that are called `p` have an address.
fn variables(random: &mut Random) -> Both {
    let mut all = both("struct S s; long n;");
    for (index, of) in TYPES.iter().enumerate() {
        for place in ["v", "p", "t", "s.m"] {
            let name = format!("{place}{index}");
            let number = random.number();
            let declared = if place == "s.m" {
                String::new()
            } else {
                format!("{of} {name}; ")
            };
            let value = |literal: String| {
                let address = match place {
                    "p" => format!(" *(&{name}) = {name};"),
                    _ => String::new(),
                };
                format!(" {declared}{name} = ({of}) {literal};{address}")
            };
            all.script += &value(format!("0{number:x}"));
            all.c += &value(format!("0x{number:x}UL"));
        }
    }
    all
}

/// What a C program prints.
fn compiled_and_run(text: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let (source, program) = (directory.path().join("a.c"), directory.path().join("a"));
    std::fs::write(&source, text).expect("writes");
    let status = Command::new("cc")
        .args(["-w", "-O0", "-fwrapv", "-fsigned-char", "-o"])
        .args([&program, &source])
        .status();
    assert!(status.expect("the compiler that links this").success());
    let output = Command::new(&program).output().expect("runs");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("numbers")
}

#[test]
fn random_programs_do_what_a_c_compiler_makes_of_them() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut c = String::from(
        "#include <stdio.h>\n#include <stdbool.h>\n\
         #define print(x) printf(\"%lx\\n\", (unsigned long) (x))\n",
    );
    c += &long(&before());
    let mut scripts = Vec::new();
    for number in 0..CASES / CASES_PER_SCRIPT {
        let variables = variables(&mut random);
        let mut script = format!("{}{}\n", before(), variables.script);
        let _ = writeln!(c, "void part{number}(void) {{ {}", variables.c);
        for _ in 0..CASES_PER_SCRIPT {
            let case = random.case();
            script += &case.script;
            script.push('\n');
            c += &case.c;
            c.push('\n');
        }
        c += "}\n";
        scripts.push(script);
    }
    c += "int main(void) {";
    for number in 0..scripts.len() {
        let _ = write!(c, " part{number}();");
    }
    c += " }\n";
    let expected = compiled_and_run(&c);
    let mut expected = expected.lines();
    for script in &scripts {
        let (printed, outcome) = run_on(&mut World::default(), script);
        assert_eq!(outcome.faults, 0, "{outcome:?} {:?}", good(script).lines);
        let printed: Vec<_> = printed.lines().collect();
        assert_eq!(printed.len(), CASES_PER_SCRIPT);
        let cases = script.lines().rev().take(CASES_PER_SCRIPT);
        let cases: Vec<_> = cases.collect();
        for (line, case) in printed.iter().zip(cases.iter().rev()) {
            assert_eq!(Some(*line), expected.next(), "{case}\nin\n{script}");
        }
    }
    assert_eq!(expected.next(), None);
}
