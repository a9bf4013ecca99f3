//! What users of C write: `switch`, `?:`, `union`, `enum`, `const`, `static`, names of types, and
//! `try`, which C lacks.

use super::{check, good, run_on, world};
use crate::script::trial::{OPERATIONS, World};
use wire_protocol::register::Register;

#[test]
fn switch_runs_the_part_of_its_number_and_what_follows() {
    let parts = "case 1: print(11); break; case 2: print(12); case 3: case 4: print(14); break; \
                 default: print(1f);";
    for (number, printed) in [
        (1, "11\n"),
        (2, "12\n14\n"),
        (3, "14\n"),
        (4, "14\n"),
        (5, "1f\n"),
    ] {
        check(&[(&format!("x = {number}; switch (x) {{ {parts} }}"), printed)]);
    }
    check(&[
        ("x = 9; switch (x) { case 1: print(1); } print(2);", "2\n"),
        (
            "x = 9; switch (x) { default: print(3); case 1: print(1); }",
            "3\n1\n",
        ),
        ("x = 9; switch (x) { }", ""),
        (
            "for (i = 0; i < 4; i++) { switch (i) { case 1: continue; case 2: break; default: print(i); } print(10 + i); }",
            "0\n10\n12\n3\n13\n",
        ),
        (
            "int f(int x) { switch (x) { case -1: return 5; case 1: { int y = 6; return y; } } return 7; } \
             print(f(-1)); print(f(1)); print(f(2));",
            "5\n6\n7\n",
        ),
        (
            "char k = 81; switch (k) { case -7f: print(1); break; default: print(2); }",
            "1\n",
        ),
        (
            "x = 1; switch (x) { case 1: switch (x + 1) { case 2: print(22); break; } print(3); break; case 2: print(4); }",
            "22\n3\n",
        ),
    ]);
}

#[test]
fn conditional_values_compute_one_of_two() {
    check(&[
        ("x = 1; print(x ? 5 : 6); print(!x ? 5 : 6);", "5\n6\n"),
        ("x = 2; print(x == 1 ? 5 : x == 2 ? 7 : 9);", "7\n"),
        ("y = 1 ? 2 : 3; print(y);", "2\n"),
        (
            "int f(int v) { print(v); return v; } x = 1; print(x ? f(1) : f(2));",
            "1\n1\n",
        ),
        ("x = 0; print(1 + (x ? 10 : 20) * 2);", "41\n"),
        (
            "char s = -1; x = 1; print(x ? s : 0);",
            "ffffffffffffffff\n",
        ),
        (
            "int s = -1; unsigned int u = 5; x = 1; y = x ? s : u; print(y);",
            "ffffffff\n",
        ),
        (
            "x = 1; double d = x ? 1.5 : 2; printf(\"%f\", d);",
            "1.500000",
        ),
        (
            "char *p = \"ab\"; x = 0; printf(\"%s\", x ? NULL : p);",
            "ab",
        ),
        ("x = 3; x = x > 2 && x < 5 ? x + 1 : 0; print(x);", "4\n"),
    ]);
}

#[test]
fn comparisons_are_values_everywhere() {
    check(&[
        ("x = 5; y = (x > 3); z = x == 5; print(y + z);", "2\n"),
        ("x = 5; print((x < 3) + (x != 3) * 2);", "2\n"),
        (
            "int f(bool b) { return b; } x = 5; print(f(x >= 5));",
            "1\n",
        ),
        ("long t[2] = {1, 2}; x = 5; print(t[x == 5]);", "2\n"),
        ("printf(\"%d %d\", @rax == @rax, 1 > 2);", "1 0"),
    ]);
}

#[test]
fn unions_lie_over_each_other() {
    check(&[
        (
            "union U { unsigned int whole; unsigned char part[4]; } u; u.whole = 11223344; \
             print(u.part[0]); print(u.part[3]); print(sizeof (union U));",
            "44\n11\n4\n",
        ),
        ("union U { int i; long l; } u = {5}; print(u.l);", "5\n"),
        (
            "struct S { int kind; union { int i; long l; } v; } s; s.v.l = 100000002; print(s.v.i); print(sizeof s);",
            "2\n10\n",
        ),
    ]);
}

#[test]
fn enums_are_numbers_with_names() {
    check(&[
        (
            "enum State { Idle, Busy = 5, Done }; enum State s = Done; print(s); print(Idle);",
            "6\n0\n",
        ),
        ("enum { A, B } e = B; print(e);", "1\n"),
        (
            "enum { Few = 2 }; long t[Few + 1]; print(sizeof t);",
            "18\n",
        ),
        (
            "enum { Low = -1 }; switch (Low) { case Low: print(1); }",
            "1\n",
        ),
    ]);
}

#[test]
fn constants_are_read_and_not_written() {
    check(&[
        ("const long limit = 5; print(limit);", "5\n"),
        ("volatile int v = 2; v++; print(v);", "3\n"),
        ("const char *s = \"ab\"; s = s + 1; printf(\"%s\", s);", "b"),
        (
            "struct S { const char *p; } s; s.p = \"x\"; printf(\"%s\", s.p);",
            "x",
        ),
        ("print((const long) 5);", "5\n"),
    ]);
}

#[test]
fn static_variables_keep_their_values() {
    check(&[
        (
            "int next() { static int n = 5; n++; return n; } print(next()); print(next()); print(next());",
            "6\n7\n8\n",
        ),
        (
            "int next() { static int t[3] = {1, 2, 3}; t[1] += 1; return t[1]; } next(); print(next());",
            "4\n",
        ),
        (
            "int f(int x) { static long sum; sum += x; return sum; } f(2); print(f(3));",
            "5\n",
        ),
    ]);
    // From one run to the next, with a first value that is taken once.
    let compiled = good("static long n = 10; n += 1; return n;");
    let mut locals = vec![0; compiled.local_bytes];
    for expected in [0x11, 0x12, 0x13] {
        let mut world = World::default();
        let outcome = world.run(&compiled.bytes, &mut locals, OPERATIONS, &mut Vec::new());
        assert_eq!(outcome.expect("verified").value(), Some(expected));
    }
}

#[test]
fn names_of_standard_types_and_values_are_known() {
    check(&[
        ("uint8_t x = ff; x++; print(x);", "0\n"),
        ("int16_t x = 7fff; x++; print(x);", "ffffffffffff8000\n"),
        (
            "print((uint32_t) @rax); print(sizeof (size_t));",
            "55667788\n8\n",
        ),
        (
            "struct S { uint16_t p; int64_t q; }; print(sizeof (struct S));",
            "10\n",
        ),
        ("int f(uint8_t p) { return p; } print(f(101));", "1\n"),
        ("typedef int size_t; print(sizeof (size_t));", "4\n"),
        (
            "print(true); print(false); long *p = NULL; print(p == NULL);",
            "1\n0\n1\n",
        ),
        ("true = 5; print(true);", "5\n"),
        ("while (true) { break; } bool b = true; print(b);", "1\n"),
    ]);
}

#[test]
fn what_cannot_be_read_is_something_else_and_no_fault() {
    check(&[
        ("print(try poi(8000) else 5);", "1716151413121110\n"),
        ("print(try poi(10) else 5);", "5\n"),
        ("print(try poi(poi(10) + 8) else (2 + 3));", "5\n"),
        ("x = 1 + try db(10) else 6; print(x);", "7\n"),
        ("print(try (poi(8000) + poi(10)) else 9);", "9\n"),
        (
            "print(try poi(try poi(10) else 8000) else 9);",
            "1716151413121110\n",
        ),
        (
            "struct S { long v; } *p; p = (struct S *) 10; print(try p->v else -1);",
            "ffffffffffffffff\n",
        ),
        ("x = 0; print(try (5 / x) else 7);", "7\n"),
    ]);
    // What was wrong before is not forgotten.
    let (printed, outcome) = run_on(&mut world(), "x = poi(20); print(try poi(10) else 5);");
    assert_eq!((printed.as_str(), outcome.faults), ("5\n", 1));
    let kind = outcome.first_fault.map(|fault| fault.kind);
    assert_eq!(kind, Some(wire_protocol::script::FaultKind::Read(0x20)));
}

#[test]
fn parts_of_the_newer_registers_have_names() {
    let mut world = world();
    world.set_register(Register::R8, 0x1122_3344_5566_7788);
    let text = "print(@r8l); print(@r8h); print(@r8w); @r8h = aa; @r8l = bb; print(@r8);";
    let (printed, outcome) = run_on(&mut world, text);
    assert_eq!(printed, "88\n77\n7788\n112233445566aabb\n");
    assert_eq!(outcome.faults, 0);
}
