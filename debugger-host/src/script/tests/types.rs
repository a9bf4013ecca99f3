//! Types: arithmetic, fractions, arrays, structures.

use super::check;

#[test]
fn typed_arithmetic_is_that_of_c() {
    check(&[
        (
            "int i; i = -1; print(i < 0); print(i / 2 == 0); print(-8 / 2 == -4);",
            "1\n1\n1\n",
        ),
        (
            "int i; i = 7fffffff; i++; print(i); printf(\"%d\", i);",
            "ffffffff80000000\n-2147483648",
        ),
        (
            "unsigned int u; u = 0; u = u - 1; print(u); print(u == ffffffff); print(u - ffffffff);",
            "ffffffff\n1\n0\n",
        ),
        (
            "char c; c = ff; print(c == -1); print(c); unsigned char d1x; d1x = 1ff; print(d1x);",
            "1\nffffffffffffffff\nff\n",
        ),
        (
            "short s; s = -2; print(s >> 1 == -1); unsigned short t; t = s; print(t);",
            "1\nfffe\n",
        ),
        ("bool q; q = 10; print(q); q = 0; print(!q);", "1\n1\n"),
        (
            "long l; l = -6; print(l % 4 == -2); print((unsigned long) l >> 0n60);",
            "1\nf\n",
        ),
        (
            "x = -1; print(x < 0); print(x > 0); print(-1 < 0);",
            "0\n1\n1\n",
        ),
        (
            "print((char) 1ff == -1); print((int) 80000000); print((unsigned char) 1234);",
            "1\nffffffff80000000\n34\n",
        ),
        (
            "print(sizeof (int)); print(sizeof (long long)); x = 1; print(sizeof x);",
            "4\n8\n8\n",
        ),
        (
            "int x; char y; x = y = 1ff; print(x);",
            "ffffffffffffffff\n",
        ),
    ]);
}

#[test]
fn literals_and_registers_are_signed_and_all_else_is_not() {
    check(&[
        (
            "print(-1 > 0); print(-5 / 2 == -2); print(-5 % 3 == -2); print(-1 >> 3f == -1);",
            "0\n1\n1\n1\n",
        ),
        (
            "@rax = -2; print(@rax < 0); print(@rax / 2 == -1); print(@rax + 1 < 0); @rax >>= 1; print(@rax < 0);",
            "1\n1\n1\n1\n",
        ),
        (
            "@rdi = ffffffff81000000; print(@rdi > ffff800000000000); print(@rdi < 0); print(0 > @rdi);",
            "1\n1\n1\n",
        ),
        (
            "@rdi = 7fff00000000; print(@rdi > ffff800000000000); print(@rdi > 7ffe00000000);",
            "0\n1\n",
        ),
        (
            "@rip = -5; print($ip < 0); print(@rip / 2 == -2); print(@eax < 0);",
            "1\n1\n0\n",
        ),
        (
            "x = -6; .y = -6; print(x < 0); print(.y < 0); print(x / 2 == 7ffffffffffffffd); print(x > @rax);",
            "0\n0\n1\n1\n",
        ),
        (
            "eq(8000, -1); print(poi(8000) < 0); print(poi(8000) > -2); print(*8000 >> 3f);",
            "0\n1\n1\n",
        ),
        (
            "print(8000000000000000 > 0); print(-8000000000000000 > 0); print(7fffffffffffffff + 1 < 0);",
            "1\n1\n1\n",
        ),
        (
            "print((1 == 1) - 2 < 0); print(sizeof (1 == 1)); print(sizeof !0); print(sizeof (1 && 1));",
            "1\n4\n4\n4\n",
        ),
        (
            "print(sizeof (int) - 8 > 0); printf(\"%f\", -1 * 1.5); @rax = -1; printf(\"%f\", @rax * 2.);",
            "1\n-1.500000-2.000000",
        ),
        (
            "int i; i = 7fffffff; print(i + 1); unsigned int u; u = 0; print(u - 1 < 0); print(u - 1 == -1);",
            "80000000\n1\n1\n",
        ),
    ]);
}

#[test]
fn fractions_are_computed_as_double_or_float() {
    check(&[
        (
            "double d; d = 1.5; d = d * 2 + 0.25; printf(\"%f\", d);",
            "3.250000",
        ),
        (
            "float f; f = 0.1; double d; d = f; printf(\"%.10f\", d); print(f < d + 1);",
            "0.10000000151\n",
        ),
        (
            "double d; d = -7; int i; i = (int) (d / 2); printf(\"%d\", i);",
            "-3",
        ),
        (
            "float f; f = 3; f /= 2; printf(\"%f\", f); print((long) (f * 4.));",
            "1.5000006\n",
        ),
        (
            "float v[2] = {1.5, 2}; printf(\"%f\", v[0] + v[1]); print(dd(&v[1]));",
            "3.50000040000000\n",
        ),
        (
            "double half(double d) { return d / 2; } printf(\"%f\", half(5));",
            "2.500000",
        ),
        (
            "double d; d = 0.5; if (d) { print(1); } print(!d); print(d && 0.0);",
            "1\n0\n0\n",
        ),
        ("print(1.5);", "1.500000\n"),
    ]);
}

#[test]
fn arrays_have_dimensions_and_initial_values() {
    check(&[
        (
            "int v[3] = {1, 2}; print(v[0] + v[1] + v[2]); print(sizeof v);",
            "3\nc\n",
        ),
        (
            "int m[2][3] = {{1, 2, 3}, {4, 5, 6}}; i = 1; print(m[i][2] + m[0][i]);",
            "8\n",
        ),
        (
            "long v[8]; for (i = 0; i < 8; i++) { v[i] = i * i; } print(v[7]); print(v[0]);",
            "31\n0\n",
        ),
        (
            "char s[] = \"abc\"; s[1] = 42; printf(\"%s %d\", s, sizeof s);",
            "aBc 4",
        ),
        (
            "unsigned short w[] = L\"hi\"; printf(\"%ws\", w); print(sizeof w);",
            "hi6\n",
        ),
        (
            "int v[4] = {1, 2, 3, 4}; int *p; p = v; p++; print(*p); print(p[2]); print(p - v);",
            "2\n4\n1\n",
        ),
        ("x = 3; long v[3] = {x, x + 1, x + 2}; print(v[2]);", "5\n"),
        ("int v[0n20] = {1}; print(v[0]); print(v[0n19]);", "1\n0\n"),
        (
            "int v[2][2]; v[1][0] = 7; int *p; p = &v[0][0]; print(p[2]); v[1][0] += 2; print(p[2]);",
            "7\n9\n",
        ),
    ]);
}

#[test]
fn structs_nest_and_have_pointers() {
    check(&[
        (
            "struct S { char c; int i; long l; } s; print(sizeof s); s.i = 5; s.c = 1; print(s.i + s.c);",
            "10\n6\n",
        ),
        (
            "struct P { int x; int y; }; struct L { struct P a; struct P b; } l; l.b.y = 3; print(l.b.y); \
          struct L *q; q = &l; q->a.x = 4; print(q->a.x + q->b.y);",
            "3\n7\n",
        ),
        (
            "struct N { struct N *next; int v; }; struct N a1x; struct N b1x; a1x.next = &b1x; \
          b1x.v = 9; a1x.next->v++; print(b1x.v);",
            "a\n",
        ),
        (
            "typedef struct { short s; int v[4]; } T; T t = {1, {2, 3}}; T *p; p = &t; print(p->v[1]); print(sizeof (T));",
            "3\n14\n",
        ),
        (
            "typedef unsigned int u32; u32 x = -1; print(x);",
            "ffffffff\n",
        ),
        (
            "struct S { int x; int y; }; struct S p = {1, 2}; struct S q; q = p; p.x = 9; print(q.x); print(q.y);",
            "1\n2\n",
        ),
        (
            "struct R { int a; short b; }; struct R *r; r = (struct R *) 8000; print(r->a); print(((struct R *) 8008)->b);",
            "13121110\n1d1c\n",
        ),
        (
            "struct S { int v[2]; } s[2]; s[1].v[0] = 5; i = 1; print(s[i].v[i - 1]);",
            "5\n",
        ),
    ]);
}
