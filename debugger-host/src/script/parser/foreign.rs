//! Words of C and its libraries that the language does not have, and what to write instead.

use crate::script::problem::{Position, Problem};
use crate::script::tree::{Expression, ExpressionKind};

/// That a word of C is not one of the language.
pub(super) fn foreign(at: Position, word: &str) -> Problem {
    Problem::new(at, format!("`{word}` is not part of the language")).advised(advice(word))
}

/// The same if the expression is such a word.
pub(super) fn foreign_name(expression: &Expression) -> Option<Problem> {
    match &expression.kind {
        ExpressionKind::Name(word) if advice(word).is_some() => Some(foreign(expression.at, word)),
        _ => None,
    }
}

/// What to do instead of using that word, if it is one of those.
#[must_use]
pub fn advice(word: &str) -> Option<String> {
    Some(match word {
        "case" | "default" => "it stands in a `switch`, `switch (x) { case 1: … }`".into(),
        "goto" => "write `while` with `break` and `continue`".into(),
        "register" | "restrict" | "inline" | "extern" | "auto" => {
            format!("leave out `{word}`, as in `long x = 5;`")
        }
        "static" | "const" | "volatile" => format!("a type follows it, `{word} long x = 5;`"),
        "enum" | "union" => format!("a name or `{{` follows it, `{word} E {{ … }};`"),
        "nullptr" => "write `NULL`".into(),
        "FALSE" | "TRUE" => format!("write `{}`", word.to_ascii_lowercase()),
        "catch" => "write `try poi(x) else 0`".into(),
        _ => format!("write `{}`", of_library(word)?),
    })
}

/// The type of the language for one that libraries of C make.
fn of_library(word: &str) -> Option<&'static str> {
    Some(match word {
        "u64" | "__u64" | "UINT64" | "ULONG64" | "ULONGLONG" | "QWORD" | "SIZE_T" | "ULONG_PTR" => {
            "unsigned long"
        }
        "loff_t" | "s64" | "__s64" | "INT64" | "LONG64" | "LONGLONG" => "long",
        "u32" | "__u32" | "UINT32" | "ULONG" | "DWORD" | "UINT" => "unsigned int",
        "s32" | "__s32" | "pid_t" | "INT32" | "LONG" | "INT" => "int",
        "u16" | "__u16" | "UINT16" | "USHORT" | "WORD" | "wchar_t" | "WCHAR" => "unsigned short",
        "s16" | "__s16" | "INT16" | "SHORT" => "short",
        "u8" | "__u8" | "UINT8" | "UCHAR" | "BYTE" => "unsigned char",
        "s8" | "__s8" | "INT8" | "CHAR" => "char",
        "BOOL" | "BOOLEAN" => "bool",
        "PVOID" | "LPVOID" | "HANDLE" => "void *",
        _ => return None,
    })
}
