//! Whatever the text: an answer, and if it is a program, one that the driver accepts.

use super::try_compile;
use proptest::prelude::*;

/// Pieces of the language, so that random text gets far.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "x",
        "y",
        ".g",
        "@rax",
        "@al",
        "@zf",
        "$pid",
        "$arg1",
        "1",
        "ff",
        "0n10",
        "1.5",
        "\"s\"",
        "L\"s\"",
        "+",
        "-",
        "*",
        "/",
        "%",
        "&",
        "|",
        "^",
        "~",
        "!",
        "<<",
        ">>",
        "<",
        "<=",
        "==",
        "!=",
        "&&",
        "||",
        "=",
        "+=",
        "<<=",
        "++",
        "--",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ";",
        ";",
        ";",
        ".",
        "->",
        "if",
        "(",
        "else",
        "elsif",
        "for",
        "while",
        "do",
        "break",
        "continue",
        "return",
        "struct",
        "S",
        "typedef",
        "sizeof",
        "int",
        "char",
        "long",
        "void",
        "double",
        "float",
        "unsigned",
        "f",
        "poi",
        "printf",
        "print",
        "\"%d\"",
        "memcpy",
        "nt!do_sys_openat2",
        "#",
        "include",
        "m",
        "(int)",
        "*p",
        "&x",
        "x = ",
        ")",
        "}",
        "f()",
        "int f() {",
        "if (x) {",
        "struct S { int m; } s;",
        "int a[4];",
        "x[1]",
        "s.m",
        "\n",
        "interlocked_increment(&x);",
        "y = 1;",
        "while (x) {",
        "for (x = 0; x < 4; x++) {",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_text_never_panics(text in ".{0,80}") {
        let _ = try_compile(&text);
    }

    #[test]
    fn random_words_never_panic(words in prop::collection::vec(piece(), 0..40)) {
        let _ = try_compile(&words.join(" "));
        let _ = try_compile(&words.concat());
    }

    #[test]
    fn random_characters_never_panic(text in "[-+*/%~!&|^<>=()\\[\\]{},;.@$#\"\\\\a-fxLn0-9 \n]{0,80}") {
        let _ = try_compile(&text);
    }
}

#[test]
fn deep_and_long_text_never_overflows_the_stack() {
    for (open, close) in [
        ("(", ")"),
        ("-", ""),
        ("!", ""),
        ("*", ""),
        ("x[", "]"),
        ("poi(", ")"),
        ("(int)", ""),
        ("1+", ""),
        ("1-(", ")"),
        ("sizeof ", ""),
        ("x && (", ")"),
    ] {
        for count in [50, 63, 127, 20_000] {
            let text = format!("x = {}1{};", open.repeat(count), close.repeat(count));
            let _ = try_compile(&text);
        }
    }
    for (first, next, last) in [
        ("int", "*", "*"),
        ("int", "", "[1]"),
        ("struct { int m; }", "*", ""),
    ] {
        let mut text = format!("typedef {first} t_0;\n");
        for i in 0..5000 {
            text += &format!("typedef t_{i} {next}t_{}{last};\n", i + 1);
            text += &format!("struct s_{i} {{ t_{i} m; }};\n");
        }
        let _ = try_compile(&text);
    }
    let mut text = String::from("struct s_0 { int m; };");
    for i in 0..5000 {
        text += &format!(
            "struct s_{} {{ struct s_{i} m; struct s_{i} *p; }};\n",
            i + 1
        );
    }
    let _ = try_compile(&text);
    for operator in ["+", "&&", "||", "==", "-"] {
        let chain = format!("x {operator} ").repeat(126);
        let _ = try_compile(&format!(
            "{}x = {chain}x;{}",
            "{".repeat(60),
            "}".repeat(60)
        ));
        let _ = try_compile(&format!(
            "{}y = {chain}x;{}",
            "if (x) {".repeat(60),
            "}".repeat(60)
        ));
        let _ = try_compile(&format!("x = 1; if ({chain}x) {{ x = 2; }}"));
    }
    for (open, close) in [
        ("{", "}"),
        ("if (1) {", "}"),
        ("while (x) {", "}"),
        ("if (x) ", "y = 1;"),
        ("do {", "} while (x);"),
        ("for (;;) ", "x = 1;"),
        ("if (x) {} else ", "x = 1;"),
        ("struct S {", "} s;"),
        ("int a[2] = {", "};"),
        ("x = ", "1;"),
        ("print(x);\n", ""),
    ] {
        for count in [50, 63, 127, 20_000] {
            let _ = try_compile(&format!("{}{}", open.repeat(count), close.repeat(count)));
        }
    }
}
