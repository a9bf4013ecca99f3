//! How small programs are: regular events have little room.

use super::{good, try_compile};

fn len(text: &str) -> usize {
    good(text).bytes.len()
}

#[test]
fn the_printf_example_takes_no_more_than_40_bytes() {
    assert_eq!(len(r#"printf("%llx %llx\n", @rip, poi(@rsp));"#), 26);
}

#[test]
fn common_scripts_are_small() {
    for (text, limit) in [
        (".hits++;", 15),
        ("if (poi(@rsp) == ffffffff8134a350) { pause(); }", 32),
        (
            "if ($pid == 1a0 && @rax == 2) { spinlock_lock(&.lock); .tid = $tid; spinlock_unlock(&.lock); }",
            50,
        ),
        ("@rcx = @rcx & ~80000000;", 18),
        ("for (i = 0; i < 10; i++) { .sum += i; }", 46),
        ("interlocked_increment(&.hits);", 14),
        ("@zf = 0;", 16),
        ("@ah = @al;", 18),
    ] {
        assert!(len(text) <= limit, "{text}: {} bytes", len(text));
    }
}

#[test]
fn what_is_known_is_computed_by_the_compiler() {
    let one = len("print(1);");
    for text in [
        "print(1 + 2 * 3 - 6);",
        "print(sizeof (int) == 4);",
        "print(nt!do_sys_openat2 == ffffffff8134a350);",
        "print(!0 && 1 || 0);",
        "print((char) 101);",
        "if (0) { printf(\"never\"); } else { print(1); }",
        "while (0) { print(2); } print(1);",
    ] {
        assert_eq!(len(text), one, "{text}");
    }
}

#[test]
fn code_behind_a_return_is_left_out() {
    assert_eq!(len("print(1); return; print(2);"), len("print(1); return;"));
    assert!(try_compile("while (1) { if ($pid) { break; } continue; } return; print(2);").is_ok());
}

#[test]
fn a_string_is_stored_once() {
    let one = len("n = strlen(\"some text\");");
    let two = len("n = strlen(\"some text\"); n = strlen(\"text\");");
    assert!(two - one < 10);
}
