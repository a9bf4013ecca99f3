//! What users are told when a script is wrong.

use super::{MadeUp, arguments, good, try_compile};
use crate::script::compile;

/// Line, column and words of what is wrong.
fn bad(text: &str) -> (u32, u32, String) {
    match try_compile(text) {
        Ok(_) => panic!("{text}\nis accepted"),
        Err(why) => {
            let help = why
                .help
                .map_or_else(String::new, |help| format!("; {help}"));
            (why.line, why.column, why.what + &help)
        }
    }
}

#[test]
fn errors_say_where_and_what_to_do() {
    for (text, line, column, words) in [
        ("x = ;", 1, 5, "a value is expected"),
        ("x = 1\ny = 2;", 2, 1, "`;` is expected"),
        ("x = 1 +\n  * ;", 2, 5, "a value"),
        ("x = (1;", 1, 7, "`)` is expected"),
        ("if (x = 5) { }", 1, 7, "`==` compares"),
        ("x = 5 ? 1;", 1, 10, "`:` is expected here, not `;`"),
        ("x ? y = 1;", 1, 3, "cannot stand inside"),
        ("x = try poi(1);", 1, 15, "`else` is expected here"),
        ("y = x++;", 1, 6, "a statement of its own"),
        ("{ x = 1;", 1, 1, "not closed"),
        ("x = 1; }", 1, 8, "not `}`"),
        ("x + 1;", 1, 1, "goes nowhere"),
        ("x = 'a';", 1, 5, "write the code of 'a', 61"),
        ("x = \"abc", 1, 5, "no end"),
        ("/* never", 1, 1, "close it with `*/`"),
        ("x = \"\\q\";", 1, 6, "no escape `\\q`"),
        ("x = 12345678901234567;", 1, 5, "does not fit in 64 bits"),
        ("x = fffffffffffffffff;", 1, 5, "does not fit in 64 bits"),
        ("x = 0n12a;", 1, 5, "not a number in base 10"),
        ("x = 1.5.2;", 1, 8, "`;` is expected"),
        (
            "x = 1; switch (x) { print(1); }",
            1,
            21,
            "`case` or `default` is expected",
        ),
        (
            "x = 1; switch (x) { case x: print(1); }",
            1,
            26,
            "must be known before",
        ),
        (
            "x = 1; switch (x) { case 1: case 1: print(1); }",
            1,
            34,
            "already",
        ),
        (
            "x = 1; switch (x) { default: x = 1; default: x = 2; }",
            1,
            37,
            "a `default` already",
        ),
        (
            "x = 1; switch (x) { default: default: x = 1; }",
            1,
            30,
            "a `default` already",
        ),
        ("x = 1; switch (x) { case 1: continue; }", 1, 29, "no loop"),
        ("const long k = 5; k = 6;", 1, 19, "`k` is `const`"),
        ("const long .k = 5; .k++;", 1, 20, "`.k` is `const`"),
        (
            "const long k[2] = {1, 2}; k[0] = 6;",
            1,
            27,
            "`k` is `const`",
        ),
        ("static long .k;", 1, 13, "static anyway"),
        ("enum { P = 1, P }; x = P;", 1, 15, "a constant `P` already"),
        (
            "union U { int i; char s[4]; } u = {1, 2};",
            1,
            35,
            "room for 1",
        ),
        ("else { }", 1, 1, "no `if`"),
        ("break;", 1, 1, "no loop"),
        ("x = §;", 1, 5, "not part of the language"),
        ("#define X", 1, 1, "#include"),
    ] {
        let (at_line, at_column, what) = bad(text);
        assert_eq!((at_line, at_column), (line, column), "{text}: {what}");
        assert!(what.contains(words), "{text}: {what}");
    }
}

#[test]
fn names_that_are_not_there_are_pointed_out() {
    for (text, words) in [
        ("print(count);", "neither a variable nor a symbol"),
        (
            "print(do_sys_openat);",
            "is the symbol `do_sys_openat2` meant?",
        ),
        ("print(nt!do_sys_openat);", "is `do_sys_openat2` meant?"),
        ("print(@rxx);", "is `rax` meant?"),
        ("print($pdi);", "is `pid` meant?"),
        ("prnitf(\"x\");", "is `printf` meant?"),
        ("x = pio(@rsp);", "is `poi` meant?"),
        ("x = poi;", "call it"),
        (
            "struct S { int length; } s; s.lenght = 1;",
            "is `length` meant?",
        ),
        (
            "struct S *p; p->x = 1;",
            "members of `struct S` are not known",
        ),
        ("x = 1; int f() { return x; }", "variable of the main part"),
        ("print($arg7);", "3 arguments"),
        ("print($arg3);", "`$arg3`, `x y`"),
    ] {
        let (_, _, what) = bad(text);
        assert!(what.contains(words), "{text}: {what}");
    }
}

#[test]
fn types_that_do_not_fit_are_refused() {
    for (text, words) in [
        ("a = 5;", "`a` is a number"),
        ("5 = x;", "nothing can be assigned"),
        ("$pid = 5;", "cannot be written to"),
        ("x = &@rax;", "a register has no address"),
        ("x = &5;", "has no address"),
        ("x = 1; y = x[0];", "an array or a pointer"),
        ("x = 1; x.y = 2;", "a struct is needed"),
        ("int x; x->y = 2;", "a pointer to a struct"),
        ("int a[4]; a[4] = 1;", "only 0 to 3"),
        ("int a[4]; a = 1;", "cannot be assigned as a whole"),
        ("int a[x];", "neither a variable"),
        ("int a[@rax];", "known before the script runs"),
        ("int a[0];", "0 elements"),
        ("int a[2] = {1, 2, 3};", "room for 2"),
        ("char s[2] = \"long\";", "does not fit"),
        ("double d; d = d % 2;", "no such operator"),
        ("double d; d = ~d;", "whole number"),
        ("struct S { int x; } s; print(s);", "as a whole is no value"),
        ("struct S { struct S s; };", "size is not known"),
        ("struct S { int x; int x; };", "member `x` already"),
        ("struct S { int x; }; struct S { int y; };", "already"),
        ("int x; int x;", "already in this block"),
        ("void v;", "cannot be `void`"),
        (
            "int f(int x) { return x; } y = f(1, 2);",
            "takes 1 argument, not 2",
        ),
        ("void f() { } y = f();", "gives no value"),
        ("void f() { return 1; }", "returns no value"),
        ("int f() { return; }", "returns `int`"),
        ("int poi() { return 1; }", "function of the language"),
        ("int f() { } int f() { }", "already, in line 1"),
        ("y = printf(\"x\");", "gives no value"),
        ("x = poi();", "takes 1 argument, not 0"),
        ("x = 1 / 0;", "division by zero"),
        ("printf(x);", "must be a string"),
        ("printf(\"%d\");", "1 conversions, and 0 values"),
        ("printf(\"%D\", 1);", "write `%d`"),
        ("printf(\"%d\", 1.5);", "`%f`"),
        ("int i; interlocked_increment(&i);", "works on 8 bytes"),
        ("char c[20000]; c[0] = 1;", "more than"),
        (
            "char a1[3000]; char b1[3000]; a1[0] = b1[0];",
            "need 6000 bytes",
        ),
        ("int .g; long .g;", "`.g` is `int` above and `long` here"),
        ("int (*p)[3];", "not part of the language"),
        ("p = 1; int *q; q = p + q + q;", "two addresses"),
        ("float signed f;", "no sign"),
        ("long char c;", "not a type"),
    ] {
        let (_, _, what) = bad(text);
        assert!(what.contains(words), "{text}: {what}");
    }
}

#[test]
fn an_error_in_an_included_file_names_that_file() {
    let mut environment = MadeUp::default()
        .with_file("lib/one.ds", "#include \"two.ds\"\n")
        .with_file("lib/two.ds", "y = 1;\nz = ;\n");
    let text = "x = 1;\n#include \"lib/one.ds\"\n";
    let why = compile(text, "test.ds", &arguments(), &mut environment).expect_err("wrong");
    assert_eq!(
        why.to_string(),
        "lib/two.ds:2:5: a value is expected here, not `;`"
    );
    assert_eq!(why.mark(), "  z = ;\n      ^");
}

#[test]
fn of_a_long_line_the_part_with_the_error_is_shown() {
    let text = format!("{}z = ; {}", "x = 1; ".repeat(30), "y = 1; ".repeat(30));
    let why = try_compile(&text).expect_err("wrong");
    let mark = why.mark();
    let (line, caret) = mark.split_once('\n').expect("two lines");
    let column = caret.chars().count() - 1;
    assert_eq!(line.chars().nth(column), Some(';'));
    assert!(line.starts_with("  …") && line.contains("z = ;"), "{mark}");
    assert!(line.chars().count() < 110, "{mark}");
}

#[test]
fn files_that_include_themselves_are_refused() {
    let mut environment = MadeUp::default().with_file("one.ds", "#include \"one.ds\"");
    let why = compile("#include \"one.ds\"", "test.ds", &[], &mut environment);
    assert!(why.expect_err("wrong").what.contains("includes itself"));
    let why = compile("#include \"none.ds\"", "test.ds", &[], &mut environment);
    assert!(why.expect_err("wrong").what.contains("no such file"));
}

#[test]
fn what_may_not_be_meant_is_a_warning() {
    for (text, words) in [
        ("print(add);", "the number add here, not the symbol"),
        ("id = 5;", "the register `@id`"),
        ("char c; c = 1ff;", "does not fit in `char`"),
        ("int i; i = 1.5;", "the fraction is lost"),
        ("int *p; char *q; p = q;", "a pointer to `char` becomes"),
    ] {
        let warnings = good(text).warnings;
        let found = warnings.iter().any(|w| w.what.contains(words));
        assert!(found, "{text}: {warnings:?}");
    }
    assert_eq!(good("char c; c = ff; c = -1; int i; i = 5;").warnings, []);
}

/// Column and words of the warnings.
fn warnings(text: &str) -> Vec<(u32, String)> {
    let found = good(text).warnings.into_iter();
    let words = |help: Option<String>| help.map_or_else(String::new, |help| format!("; {help}"));
    found
        .map(|w| (w.column, format!("{}{}", w.what, words(w.help))))
        .collect()
}

#[test]
fn a_comparison_whose_outcome_is_known_by_type_is_a_warning() {
    for (text, column, words) in [
        (
            "x = 1; print(x < 0);",
            16,
            "never holds: its left side is between 0 and ffffffffffffffff; if it can be negative, write `(long)` before it",
        ),
        ("print(.n >= 0);", 10, "always holds"),
        ("print(poi(@rsp) < 0);", 17, "never holds"),
        (
            "print(0 <= dd(@rsp));",
            9,
            "always holds: its right side is between 0 and ffffffff; if it can be negative, write `(int)`",
        ),
        ("print(@eax < 0);", 12, "write `(int)` before it"),
        (
            "print(@zf == 2);",
            11,
            "never holds: its left side is between 0 and 1",
        ),
        (
            "char c; print(c == ff);",
            17,
            "never holds: its left side is between -80 and 7f",
        ),
        ("unsigned char c; print(c != -1);", 26, "always holds"),
        ("unsigned short c; print(c > ffff);", 27, "never holds"),
        ("int i; print(i < 80000000);", 16, "always holds"),
        ("unsigned int u; print(u == -1);", 25, "never holds"),
        ("bool b1x; print(b1x > 1);", 21, "never holds"),
        ("int *p; print(p < 0);", 17, "never holds"),
        ("x = 1; print(x > -1);", 16, "never holds"),
        ("print((@rax == 1) == 2);", 19, "never holds"),
        ("while (i >= 0) { i--; }", 10, "always holds"),
        (
            "unsigned long l; if (l < 0) { print(1); }",
            24,
            "never holds",
        ),
    ] {
        let found = warnings(text);
        let good = found
            .iter()
            .any(|(at, what)| *at == column && what.contains(words));
        assert!(good, "{text}: {found:?}");
    }
    for text in [
        "x = 1; print(x > 0); print(x == -1); print(x != ffff);",
        "@rax = -1; print(@rax < 0); print(@rax == -1); print(@rax > ffff800000000000);",
        "char c; c = 1; print(c < 0); print(c == 7f); int i; i = 5; print(i == -1); print(i < x1); x1 = 0;",
        "print(1 == 1); print(-1 > 0); print(sizeof (int) > 3); while (1) { break; }",
        "print(dd(@rsp) == ffffffff); print(@eax > 80000000); print(@al == ff);",
        "print(memcmp(@rsp, @rsp, 8) < 0);",
    ] {
        let found = warnings(text);
        let about =
            |(_, what): &&(u32, String)| what.contains("holds") || what.contains("signed here");
        assert_eq!(found.iter().find(about), None, "{text}");
    }
}

#[test]
fn a_signed_register_compared_with_half_of_the_addresses_is_a_warning() {
    for (text, column, name) in [
        ("print(@rip > 7fffffffffff);", 12, "@rip"),
        ("print($ip >= 80000000);", 11, "$ip"),
        ("print(7fffffffffffffff < @rdi);", 24, "@rdi"),
        ("print(@rsp + 8 <= 7fffffffffff);", 16, "@rsp"),
    ] {
        let found = warnings(text);
        let words = format!("to compare addresses write `(unsigned long) {name}`");
        let good = found
            .iter()
            .any(|(at, what)| *at == column && what.contains(&words));
        assert!(good, "{text}: {found:?}");
    }
    for text in [
        "print((unsigned long) @rip > 7fffffffffff);",
        "print(@rip == 7fffffffffff); print(@rax < 7fffffff); print(@rip > 8000000000000000);",
        "print(poi(@rsp) > 7fffffffffff); x = @rip; print(x > 7fffffffffff);",
    ] {
        assert_eq!(warnings(text), [], "{text}");
    }
}

#[test]
fn variables_that_may_not_be_meant_are_warnings() {
    for (text, column, words) in [
        (
            "p = &do_sys_openat2;",
            6,
            "`&do_sys_openat2` makes a variable of this name, not the symbol at ffffffff8134a350; write `nt!do_sys_openat2`",
        ),
        (
            "spinlock_lock(reference(do_sys_openat2));",
            25,
            "makes a variable of this name",
        ),
        (
            "do_sys_openat2 = 5;",
            1,
            "`do_sys_openat2` is a variable here, not the symbol at",
        ),
        (
            "x = 1; do_sys_openat2 += x;",
            8,
            "give the variable another name",
        ),
        (
            "long do_sys_openat2 = 5;",
            6,
            "`do_sys_openat2` hides the symbol at ffffffff8134a350; choose another name",
        ),
        (
            "p = &g;",
            6,
            "`&g` makes a variable of this name, not the symbol at 2222",
        ),
        (
            "print(x); x = 1;",
            7,
            "`x` is read before anything is assigned to it; it is 0 at first, then what the last run on this core left; if that is meant, declare it, `long x;`",
        ),
        ("if (seen == 0) { seen = 1; }", 5, "`seen` is read before"),
        ("while (i < 5) { i++; }", 8, "`i` is read before"),
        ("x = y + 1; y = x;", 5, "`y` is read before"),
        (
            "int f(int p) { q = p + r; r = q; return r; } f(1);",
            24,
            "it is 0 here",
        ),
    ] {
        let found = warnings(text);
        let good = found
            .iter()
            .any(|(at, what)| *at == column && what.contains(words));
        assert!(good, "{text}: {found:?}");
    }
    for text in [
        "x = 1; print(x); p = nt!do_sys_openat2; print(do_sys_openat2); print(p);",
        "count++; hits += 1; mine = mine + 1; print(count);",
        "long seen; if (seen == 0) { seen = 1; }",
        "for (i = 0; i < 5; i++) { print(i); } i = 5; while (i) { i--; }",
        "memcpy(&x, @rsp, 8); print(x); do { y = 1; } while (y != 1);",
        "if (@rax) { x = 1; } print(x);",
        "g = 5; p = &g; print(*p); { long g = 6; print(g); }",
    ] {
        assert_eq!(warnings(text), [], "{text}");
    }
}

#[test]
fn words_of_c_that_are_missing_come_with_what_to_write() {
    for (text, column, words) in [
        ("x = (u8) 5;", 6, "write `unsigned char`"),
        ("x = (u32) @rax;", 6, "write `unsigned int`"),
        ("x = sizeof (DWORD);", 13, "write `unsigned int`"),
        ("x = nullptr;", 5, "write `NULL`"),
        ("if (@rax == TRUE) { }", 13, "write `true`"),
        (
            "struct S { register char *p; };",
            12,
            "leave out `register`",
        ),
        ("struct S { u16 p; };", 12, "write `unsigned short`"),
        ("int f(u8 p) { return p; }", 7, "write `unsigned char`"),
        ("goto out;", 1, "write `while` with `break`"),
        (".h[3] = 1;", 3, "declare it first, `long .h[40];`"),
        (".h[@rax]++;", 3, "declare it first, `long .h[40];`"),
        ("x = 1; y = x[0];", 13, "declare it first, `long x[40];`"),
        ("print(nt!nothing);", 7, "the file that `--symbols` names"),
    ] {
        let (_, at, what) = bad(text);
        assert_eq!(at, column, "{text}: {what}");
        assert!(what.contains(words), "{text}: {what}");
    }
    // They are names like any other to scripts that make them.
    good("typedef unsigned long uint64_t; uint64_t x = 5; print((uint64_t) x);");
    good("true = 1; static = 2; print(true + static);");
}

#[test]
fn steps_are_statements_of_variables() {
    for text in [
        "x = ++0x0;",
        "x = ++~y; y = 1;",
        "x = --5;",
        "x = 1 - --y; y = 1;",
        "++0x0;",
        "++~y; y = 1;",
        "5++;",
        "x = 1; (x + 1)++;",
    ] {
        let (_, _, what) = bad(text);
        let words = [
            "cannot stand inside an expression",
            "nothing can be assigned",
        ];
        assert!(words.iter().any(|it| what.contains(it)), "{text}: {what}");
    }
    good("x = - -5; y = + +x; print(-(-y));");
}

#[test]
fn an_address_that_is_compared_with_a_text_is_a_warning() {
    for (text, column, words) in [
        (
            "print(@rsi == \"abc\");",
            12,
            "this compares addresses, not what is written there; write `strcmp(",
        ),
        ("if (\"abc\" != poi(@rsp)) { print(1); }", 11, "strcmp"),
        ("print($pname == L\"abc\");", 14, "write `wcscmp("),
    ] {
        let found = warnings(text);
        let good = found
            .iter()
            .any(|(at, what)| *at == column && what.contains(words));
        assert!(good, "{text}: {found:?}");
    }
    assert_eq!(warnings("print(strcmp(@rsi, \"abc\") == 0);"), []);
}

#[test]
fn what_no_event_could_hold_is_refused_before_it_is_sent() {
    let lines = |line: &str, count: usize| line.repeat(count);
    for (text, words) in [
        (
            lines("x = poi(@rsp) + 123456789;\n", 9000),
            "longer than 14000 bytes",
        ),
        (
            lines("if (@rax) { x = 1; }\n", 9000),
            "longer than 14000 bytes",
        ),
        (
            (0..300)
                .map(|i| format!("void f_{i:x}() {{ }}\n"))
                .collect(),
            "no more than ff functions",
        ),
        (
            (0..40)
                .map(|i| format!("n = strlen(\"{}{i}\");\n", "x".repeat(2000 + i)))
                .collect(),
            "more than 10000 bytes",
        ),
        (
            format!("int f(int p0{}) {{ return 0; }}", ", int *p".repeat(40)),
            "at most 32 parameters",
        ),
    ] {
        let (_, _, what) = bad(&text);
        assert!(what.contains(words), "{what}");
    }
}
