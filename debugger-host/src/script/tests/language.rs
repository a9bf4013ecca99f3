//! Each construct of the language, compiled and run.

use super::{check, good, run_on, world};
use crate::script::trial::{OPERATIONS, World};
use wire_protocol::bytecode::Program;
use wire_protocol::bytecode::decode::decode;
use wire_protocol::bytecode::op::Op;
use wire_protocol::register::Register;
use wire_protocol::script::{End, FaultKind};

#[test]
fn numbers_are_hexadecimal_unless_told() {
    check(&[
        ("print(10);", "10\n"),
        ("print(0n10);", "a\n"),
        ("print(0t17);", "f\n"),
        ("print(0y101);", "5\n"),
        ("print(0x1f);", "1f\n"),
        ("print(fffff800`3ad6f010);", "fffff8003ad6f010\n"),
        ("print(dead + beef);", "19d9c\n"),
        (
            "printf(\"%f %f %f\", 11.5, .5, 11.);",
            "11.500000 0.500000 11.000000",
        ),
    ]);
}

#[test]
fn names_mean_variables_registers_and_symbols() {
    check(&[
        ("x1 = 5; n1 = x1 + 1; print(n1);", "6\n"),
        ("print(rax == @rax);", "1\n"),
        (
            "print(@eax); print(@ax); print(@ah); print(@al);",
            "55667788\n7788\n77\n88\n",
        ),
        (
            "print(@zf); print(@cf); print(@if); print(zf);",
            "1\n0\n1\n1\n",
        ),
        (
            "print($pid); print($context); print($ip);",
            "1a0\nc0de\n4000\n",
        ),
        ("print(nt!do_sys_openat2 + 10);", "ffffffff8134a360\n"),
        ("print(do_sys_openat2);", "ffffffff8134a350\n"),
        ("print(vmlinux!jiffies.part.0);", "1234\n"),
        (
            "print($arg1); print($arg2); printf(\"%s\", $arg0);",
            "10\nffffffff8134a358\ntest.ds",
        ),
        ("long a; a = 3; print(a + b);", "e\n"),
        ("if (seen == 0) { seen = 1; print(seen); }", "1\n"),
    ]);
}

#[test]
fn registers_are_written_as_the_processor_does() {
    for (text, rax) in [
        ("@rax = 5;", 5),
        ("@eax = ffffffff`00000001;", 1),
        ("@ax = 12345;", 0x1122_3344_5566_2345),
        ("@al = 1ff;", 0x1122_3344_5566_77ff),
        ("@ah = @al;", 0x1122_3344_5566_8888),
        ("@al += 80;", 0x1122_3344_5566_7708),
        ("x = @ah = 1;", 0x1122_3344_5566_0188),
        ("@rax = x = 7;", 7),
        ("@rax <<= 8; @rax++;", 0x2233_4455_6677_8801),
    ] {
        let mut world = world();
        run_on(&mut world, text);
        assert_eq!(world.register(Register::Rax), rax, "{text}");
    }
    let mut world = world();
    run_on(&mut world, "@zf = 0; @cf = 1; @iopl = 3;");
    assert_eq!(world.register(Register::Rflags), 0x3207);
}

#[test]
fn memory_is_read_and_written() {
    check(&[
        (
            "print(poi(@rsp)); print(dd(@rsp)); print(dw(8001)); print(db(8002));",
            "1716151413121110\n13121110\n1211\n12\n",
        ),
        ("print(hi(@rsp)); print(low(@rsp));", "1312\n1110\n"),
        (
            "print(dq_pa(8000)); print(dd_pa(8004)); print(hi_pa(8000));",
            "1716151413121110\n17161514\n1312\n",
        ),
        ("p = 8008; *p = 5; print(poi(p)); print(*p + 1);", "5\n6\n"),
        (
            "print(eq(8010, 1234)); print(ed(8010, 5)); print(eb(8010, 6)); print(poi(8010));",
            "1\n1\n1\n6\n",
        ),
        (
            "print(eq(1, 2)); print(check_address(8000)); print(check_address(1));",
            "0\n1\n0\n",
        ),
        (
            "int *p; p = 8000; print(p[1]); p[1] = -1; print(*(p + 1) == -1); print(poi(8000));",
            "17161514\n1\nffffffff13121110\n",
        ),
        ("print(poi(poi(8040) & 0 | 8000) & ff);", "10\n"),
        (
            "*(char *) 8000 = ff; print(db(8000)); *(8008) += 2; print(poi(8008));",
            "ff\n1f1e1d1c1b1a191a\n",
        ),
        (
            "print(virtual_to_physical(8000)); print(physical_to_virtual(1));",
            "8000\n0\n",
        ),
    ]);
}

#[test]
fn what_is_not_there_reads_as_zero_and_is_noted() {
    let (out, outcome) = run_on(&mut world(), "x = poi(1);\nprint(x);\n*2 = 1; y = 5 / x;");
    assert_eq!(out, "0\n");
    assert_eq!(outcome.faults, 3);
    assert_eq!(
        outcome.first_fault.map(|f| f.kind),
        Some(FaultKind::Read(1))
    );
}

#[test]
fn statements_branch_and_repeat() {
    check(&[
        (
            "x = 3; if (x == 1) { print(1); } elsif (x == 3) { print(3); } else { print(0); }",
            "3\n",
        ),
        (
            "x = 9; if (x == 1) { print(1); } else if (x == 3) { print(3); } else { print(0); }",
            "0\n",
        ),
        ("for (i = 0, j = 10; i < j; i++, j--) { } print(i);", "8\n"),
        (
            "for (int i = 0; i < 3; i++) { if (i == 1) continue; print(i); }",
            "0\n2\n",
        ),
        (
            "i = 0; while (1) { i++; if (i > 4) { break; } } print(i);",
            "5\n",
        ),
        (
            "i = 0; do { i++; if (i == 2) { continue; } } while (i < 5); print(i);",
            "5\n",
        ),
        ("i = 5; do { i--; } while (0); print(i);", "4\n"),
        ("for (;;) { break; } print(1);", "1\n"),
        (
            "for (i = 0; i < 2; i++) { for (j = 0; j < 2; j++) { if (j) break; print(i); } }",
            "0\n1\n",
        ),
        ("if (1) { return; } print(1);", ""),
        (
            "x = y = z = 5; x += 2; y -= 1; z *= 3; print(x); print(y); print(z);",
            "7\n4\nf\n",
        ),
        (
            "x = f0; x /= 10; x %= 4; x |= 8; x ^= 1; x &= fb; x <<= 4; x >>= 1; print(x);",
            "50\n",
        ),
        ("int x = 5; { int x = 6; print(x); } print(x);", "6\n5\n"),
        ("++x; --y; print(x); print(y == -1);", "1\n1\n"),
    ]);
}

#[test]
fn comparison_and_logic_are_ordinary_expressions() {
    check(&[
        ("x = (3 > 2) + (2 >= 3); print(x);", "1\n"),
        (
            "x = 5; print(x == 5 && x != 6 || 0); print(x & 4 == 4);",
            "1\n1\n",
        ),
        (
            "int f(int v) { .count++; return v; } x = f(0) && f(1); x = f(1) || f(0); print(.count);",
            "2\n",
        ),
        (
            "x = 0; if (!x && !(x > 1)) { print(1); } if (!(x || 0)) { print(2); }",
            "1\n2\n",
        ),
        (
            "x = 7; print(x && 8); print(!!x); print(!x || x);",
            "1\n1\n1\n",
        ),
        ("print(1 + (5 && (0 || 3)));", "2\n"),
    ]);
}

#[test]
fn functions_call_themselves_and_each_other() {
    check(&[
        (
            "int fact(int n) { if (n < 2) { return 1; } return n * fact(n - 1); } print(fact(6));",
            "2d0\n",
        ),
        (
            "int even(int n); int odd(int n) { if (n == 0) return 0; return even(n - 1); } \
          int even(int n) { if (n == 0) return 1; return odd(n - 1); } print(even(0n10));",
            "1\n",
        ),
        (
            "void set(long *p, long v) { *p = v; } long x; set(&x, 7); print(x);",
            "7\n",
        ),
        (
            "long sum(int *v, int n) { long s; s = 0; for (i = 0; i < n; i++) { s += v[i]; } return s; } \
          int v[3] = {1, -2, 3}; printf(\"%d\", sum(v, 3));",
            "2",
        ),
        (
            "char cut(int x) { return x; } print(cut(1ff));",
            "ffffffffffffffff\n",
        ),
        (
            "int first(int v[]) { return v[0]; } int q[2] = {4, 5}; print(first(q));",
            "4\n",
        ),
        ("void nothing() { } nothing(); print(1);", "1\n"),
        (
            "int f(int n) { int v[4]; v[n] = n; if (n) { f(n - 1); } return v[n]; } print(f(3));",
            "3\n",
        ),
        (
            "struct S { int x; }; int get(struct S *s) { return s->x; } struct S s; s.x = 8; print(get(&s));",
            "8\n",
        ),
    ]);
}

#[test]
fn functions_of_the_language_do_what_they_say() {
    check(&[
        (
            "print(strlen(\"four\")); print(wcslen(L\"four!\"));",
            "4\n5\n",
        ),
        (
            "print(strcmp(\"a\", \"b\") < 0); print(strncmp(\"abc\", \"abd\", 2)); print(memcmp(8000, 8000, 8));",
            "1\n0\n0\n",
        ),
        (
            "print(wcscmp(L\"wörld\", 8086)); print(strcmp(8080 + 0, \"abc\") > 0);",
            "0\n1\n",
        ),
        (
            "char b1x[8]; memcpy(b1x, \"hi\", 3); printf(\"%s\", b1x);",
            "hi",
        ),
        (
            "print(not(0)); print(neg(1)); x = 5; print(reference(x) == &x);",
            "ffffffffffffffff\nffffffffffffffff\n1\n",
        ),
        (
            "x = 5; print(interlocked_increment(&x)); print(interlocked_exchange(&x, 9)); print(x);",
            "6\n6\n9\n",
        ),
        (
            "x = 1; print(interlocked_exchange_add(&x, 4)); print(interlocked_compare_exchange(&x, 7, 5)); print(x);",
            "1\n5\n7\n",
        ),
        (
            "spinlock_lock(&.lock); print(.lock != 0); spinlock_unlock(&.lock); print(.lock);",
            "1\n0\n",
        ),
        (
            "print(disassemble_len(\"\\x48\\x89\\xe5\")); print(disassemble_len32(\"\\x90\"));",
            "3\n1\n",
        ),
        ("x = rdtsc(); print(rdtscp() >= x);", "1\n"),
        (
            "event_sc(1); event_disable(2); event_inject_error_code(3, e, 4); pause();",
            "[event_sc: what triggered the event would not take place]\n\
             [event_disable: event 2 would be disabled]\n\
             [event_inject: type 3, vector e, error code 4 would be injected]\n\
             [pause: all cores would halt]\n",
        ),
    ]);
}

#[test]
fn printf_prints_every_conversion() {
    check(&[
        (
            "printf(\"%d %i %u\\n\", -1, 0n10, ffffffff);",
            "-1 10 4294967295\n",
        ),
        (
            "printf(\"%x %llx %hx %o\", @rax, @rax, @rax, 8);",
            "55667788 1122334455667788 7788 10",
        ),
        ("printf(\"%c%c%%\", 41, 0n66);", "AB%"),
        (
            "printf(\"%s|%ws|%ls\", 8080, 8086, L\"ü\\t\");",
            "hello|wörld|ü\t",
        ),
        (
            "printf(\"%p %016llx\", 10, 10);",
            "0000000000000010 0000000000000010",
        ),
        ("printf(\"a\" \"b\\x43\\\"\\\\\");", "abC\"\\"),
        (
            "formats(41);",
            "hex      41\ndecimal  65\noctal    101\nbinary   1000001\nchars    .......A\nfloat    9.1e-44\ndouble   3.2e-322\n",
        ),
    ]);
}

#[test]
fn locals_and_globals_keep_their_values() {
    let compiled = good(".all += 1; mine += 2; printf(\"%d %d;\", .all, mine);");
    let mut world = World::default();
    let mut cores = [vec![0; compiled.local_bytes], vec![0; compiled.local_bytes]];
    let mut out = Vec::new();
    for core in [0, 0, 1] {
        let run = world.run(&compiled.bytes, &mut cores[core], OPERATIONS, &mut out);
        assert_eq!(run.map(|outcome| outcome.faults), Ok(0));
    }
    assert_eq!(String::from_utf8_lossy(&out), "1 2;2 4;3 2;");
}

/// Operations of a program's main part.
fn operations(text: &str) -> Vec<Op> {
    let bytes = good(text).bytes;
    let program = Program::parse(&bytes).expect("a program");
    let (mut at, mut all) = (0, Vec::new());
    while let Some(instruction) = decode(program.code(), at) {
        all.push(instruction.op);
        at = instruction.next;
    }
    all
}

#[test]
fn globals_are_changed_as_a_whole() {
    for text in [
        ".n += 1;",
        ".n -= x; x = 0;",
        ".n++; ++.n; .n--; --.n;",
        ".n *= 3; .n |= 80; .n &= ff; .n ^= 1; .n <<= 2; .n >>= 1; .n /= 3; .n %= 7;",
        "int .i; .i += 1; .i--; .i /= 3;",
        "char .c9; .c9 += @rax; unsigned short .s9; .s9 <<= 3;",
        "long .h[4]; for (i = 0; i < 4; i++) { .h[i]++; .h[1] -= 2; }",
        "int .h[4]; i = 1; .h[i] += 5; ++.h[2];",
        "struct S { char k; int n; } ; struct S .s[3]; i = 2; .s[i].n += 1; .s[0].k++;",
        "int *.p; .p++; .p += 2; .p += 0;",
        "long *p; p = &.n; *p += 1;",
    ] {
        let ops = operations(text);
        assert!(ops.contains(&Op::Update), "{text}: {ops:?}");
        let apart = ops
            .iter()
            .find(|op| matches!(op, Op::StoreGlobal | Op::Store8 | Op::Store16 | Op::Store32));
        assert_eq!(apart, None, "{text}: {ops:?}");
        assert_eq!(
            good(text)
                .warnings
                .iter()
                .find(|w| w.what.contains("may be lost")),
            None
        );
    }
    check(&[
        (
            ".n = 5; .n += 3; .n *= 2; .n -= 1; print(.n); .n++; --.n; .n <<= 4; .n |= 1; .n ^= 3; print(.n);",
            "f\nf2\n",
        ),
        (
            "int .i; .i = -9; .i /= 2; print(.i); .i >>= 1; print(.i); .i += 7fffffff; print(.i); .i++; .i++; .i++; print(.i);",
            "fffffffffffffffc\nfffffffffffffffe\n7ffffffd\nffffffff80000000\n",
        ),
        (
            "struct S { char k; int n; }; struct S .s[2]; i = 1; .s[i].n = 7; .s[i].k += 81; .s[i].n -= 9; print(.s[1].k); print(.s[1].n); print(.s[0].n);",
            "ffffffffffffff81\nfffffffffffffffe\n0\n",
        ),
        (
            "int .v[3]; int *.p; .p = .v; .p++; .p += 1; *.p = 4; *.p += 1; .p += 0; print(.v[2]); print(.p - .v);",
            "5\n2\n",
        ),
    ]);
    let (_, outcome) = run_on(&mut world(), "z = 0; .n = 5; .n /= z; print(.n);");
    assert_eq!(
        outcome.first_fault.map(|f| f.kind),
        Some(FaultKind::DivisionByZero)
    );
}

#[test]
fn globals_that_cannot_be_changed_as_a_whole_are_pointed_out() {
    for text in [
        "double .d9; .d9 += 1;",
        "float .f9[3]; i = 1; .f9[i] *= 2;",
        "bool .b9; .b9 += 1;",
    ] {
        let warnings = good(text).warnings;
        let lost = warnings.iter().find(|w| w.what.contains("may be lost"));
        let column = text.rfind(".").map(|at| at as u32 + 1);
        assert_eq!(lost.map(|w| w.column), column, "{text}: {warnings:?}");
    }
    assert_eq!(good("double d1x; d1x = 0; d1x += 1;").warnings, []);
}

#[test]
fn a_run_over_its_budget_ends_at_a_line() {
    let text = "x = 0;\nwhile (x < 10) {\n  y = y + 1;\n}\n";
    let (_, outcome) = run_on(&mut world(), text);
    let End::OverBudget { at } = outcome.end else {
        panic!("{outcome:?}");
    };
    let line = good(text).lines.at(at).expect("known");
    assert!(
        ["test.ds:2", "test.ds:3"].contains(&line.to_string().as_str()),
        "{line}"
    );
    let text = "int f(int x) {\n  return f(x + 1);\n}\nf(0);";
    let (_, outcome) = run_on(&mut world(), text);
    let End::StackOverflow { at } = outcome.end else {
        panic!("{outcome:?}");
    };
    let line = good(text).lines.at(at).map(|line| line.to_string());
    assert_eq!(line.as_deref(), Some("test.ds:2"));
}
