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
        "switch" | "case" | "default" => "write `if`, `elsif` and `else`".into(),
        "goto" => "write `while` with `break` and `continue`".into(),
        "const" | "volatile" | "register" | "restrict" | "inline" | "extern" | "auto" => {
            format!("leave out `{word}`, as in `long x = 5;`")
        }
        "static" => {
            "leave out `static` and the first value: `long x;` begins as 0 and keeps its value"
                .into()
        }
        "enum" => "write the numbers themselves, or variables, `long ready = 1;`".into(),
        "union" => "write a `struct`, or cast a pointer".into(),
        "NULL" | "nullptr" | "false" | "FALSE" => "write `0`".into(),
        "true" | "TRUE" => "write `1`".into(),
        "try" | "catch" => "what cannot be read is 0; `check_address(a)` asks before".into(),
        _ => format!("write `{}`", of_library(word)?),
    })
}

/// The type of the language for one that libraries of C make.
fn of_library(word: &str) -> Option<&'static str> {
    Some(match word {
        "uint64_t" | "uintptr_t" | "size_t" | "u64" | "__u64" | "UINT64" | "ULONG64"
        | "ULONGLONG" | "QWORD" | "SIZE_T" | "ULONG_PTR" => "unsigned long",
        "int64_t" | "intptr_t" | "ssize_t" | "ptrdiff_t" | "loff_t" | "s64" | "__s64" | "INT64"
        | "LONG64" | "LONGLONG" => "long",
        "uint32_t" | "u32" | "__u32" | "UINT32" | "ULONG" | "DWORD" | "UINT" => "unsigned int",
        "int32_t" | "s32" | "__s32" | "pid_t" | "INT32" | "LONG" | "INT" => "int",
        "uint16_t" | "u16" | "__u16" | "UINT16" | "USHORT" | "WORD" | "wchar_t" | "WCHAR" => {
            "unsigned short"
        }
        "int16_t" | "s16" | "__s16" | "INT16" | "SHORT" => "short",
        "uint8_t" | "u8" | "__u8" | "UINT8" | "UCHAR" | "BYTE" => "unsigned char",
        "int8_t" | "s8" | "__s8" | "INT8" | "CHAR" => "char",
        "_Bool" | "BOOL" | "BOOLEAN" => "bool",
        "PVOID" | "LPVOID" | "HANDLE" => "void *",
        _ => return None,
    })
}
