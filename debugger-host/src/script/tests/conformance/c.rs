//! Cases as a C program, compiled and run.

use super::cases::{MEMORY, MEMORY_BYTES, PREAMBLE, PROLOGUE_END, statement};
use super::one_line;
use crate::types::number;
use std::fmt::Write as _;
use std::process::Command;

/// What the language has and C has not. Registers and globals are variables.
const HELP: &str = "
int printf(const char *, ...);
#define print(x) printf(\"%llx\\n\", (unsigned long long) (x))
#define bool _Bool
#define elsif else if
typedef long long number;
typedef unsigned long long word;
static unsigned char memory[];
static word bytes(word at, int count)
{
    word value = 0;
    while (count--)
        value = value << 8 | memory[at - MEMORY + count];
    return value;
}
#define poi(at) bytes(at, 8)
#define dd(at) bytes(at, 4)
#define dw(at) bytes(at, 2)
#define db(at) bytes(at, 1)
static number rax, rbx, r8, rip;
static word x, y, z, g_n, g_m;
";

/// What each of the cases prints.
pub(super) fn results(cases: &[String]) -> Vec<String> {
    let mut text = format!("#define MEMORY {MEMORY}\n{HELP}");
    let bytes: Vec<_> = MEMORY_BYTES.iter().map(u8::to_string).collect();
    let _ = writeln!(
        text,
        "static unsigned char memory[] = {{ {} }};",
        bytes.join(", ")
    );
    let preamble = in_c(PREAMBLE);
    for (index, case) in cases.iter().enumerate() {
        let case = in_c(&statement(case));
        let (functions, body) = case.split_once(PROLOGUE_END).unwrap_or(("", &case));
        let _ = writeln!(
            text,
            "{functions}\nstatic void case_{index}(void) {{ {preamble}\n{body} }}"
        );
    }
    text += "int main(void) {\n";
    for index in 0..cases.len() {
        let _ = writeln!(text, "printf(\"\\1\"); case_{index}();");
    }
    text += "return 0; }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let (source, program) = (folder.path().join("cases.c"), folder.path().join("cases"));
    std::fs::write(&source, text).expect("written");
    let built = Command::new("cc")
        .args(["-std=gnu11", "-w", "-O0", "-fwrapv", "-fsigned-char", "-o"])
        .args([&program, &source])
        .output()
        .expect("cc, which links every Rust program");
    let why = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{why}");
    let ran = Command::new(&program).output().expect("it runs");
    assert!(ran.status.success(), "{:?}", ran.status);
    let out = String::from_utf8(ran.stdout).expect("text");
    let results: Vec<_> = out.split('\u{1}').skip(1).map(one_line).collect();
    assert_eq!(results.len(), cases.len());
    results
}

/// A script in C: numbers get their base and type, registers and globals their C names.
fn in_c(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let second = rest.chars().nth(1).unwrap_or(' ');
        let begins_member = out.ends_with(|c: char| is_word(c) || ")]".contains(c));
        let len = if first == '"' {
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(len);
        let is_call = after.starts_with('(');
        let is_hexadecimal = !is_call && token.chars().all(|c| c.is_ascii_hexdigit());
        match first {
            '@' => {}
            '.' if second.is_ascii_alphabetic() && !begins_member => out += "g_",
            // As in scripts, a word of nothing but hexadecimal digits is a number.
            '0'..='9' | 'a'..='f' if first.is_ascii_digit() || is_hexadecimal => {
                let value = number::parse(token).expect(token);
                let suffix = if value >> 63 == 0 { "LL" } else { "ULL" };
                let _ = write!(out, "0x{value:x}{suffix}");
            }
            _ => out += token,
        }
        rest = after;
    }
    out
}
