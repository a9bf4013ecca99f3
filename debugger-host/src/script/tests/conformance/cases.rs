//! The cases: what is written in scripts and means the same in C.

/// Where there is memory, and what is in it.
pub(super) const MEMORY: u64 = 0x8000;
pub(super) const MEMORY_BYTES: [u8; 32] = [
    0x11, 0x22, 0x33, 0x84, 0x55, 0x66, 0x77, 0xf8, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x01,
    0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x12,
];

/// Precedes every case. Nothing in it is zero, so that all of it can be divided by.
pub(super) const PREAMBLE: &str = "
@rax = -0n10; @rbx = 7; @r8 = 8000000000000000; @rip = ffffffff81000010;
x = 5; y = -6; .n = 3; .m = ffff000000000001;
char v_c = -2; unsigned char v_uc = fe; short v_s = -3; unsigned short v_us = fffd;
int v_i = -9; unsigned int v_u = fffffff7; long v_l = -0n11; unsigned long v_ul = 8000000000000003;
bool v_t = 1;
";

/// Separates the functions of a case, which come first, from what it does.
pub(super) const PROLOGUE_END: &str = "/* main */";

/// Operands of every type.
const OPERANDS: [&str; 29] = [
    "5",
    "-3",
    "7fffffffffffffff",
    "8000000000000000",
    "ffffffff81000000",
    "80000000",
    "@rax",
    "@rbx",
    "@r8",
    "@rip",
    "x",
    "y",
    ".n",
    ".m",
    "v_c",
    "v_uc",
    "v_s",
    "v_us",
    "v_i",
    "v_u",
    "v_l",
    "v_ul",
    "v_t",
    "poi(8000)",
    "db(8003)",
    "dd(8004)",
    "sizeof (int)",
    "(@rax != 5)",
    "(unsigned int) @rax",
];

const BINARY: [&str; 16] = [
    "+", "-", "*", "/", "%", "&", "|", "^", "==", "!=", "<", "<=", ">", ">=", "&&", "||",
];

/// What can be assigned to.
const TARGETS: [&str; 14] = [
    "x", ".n", "@rax", "@r8", "v_c", "v_uc", "v_s", "v_us", "v_i", "v_u", "v_l", "v_ul", "v_t",
    ".m",
];

const COMPOUND: [&str; 10] = ["+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="];

/// Of all pairs of operands with an operator between them, one in so many.
const STRIDE: usize = 37;

/// All cases, in the order of the table.
pub(super) fn all() -> Vec<String> {
    let mut cases = Vec::new();
    pairs(&mut cases);
    shifts(&mut cases);
    signs(&mut cases);
    conversions(&mut cases);
    chains(&mut cases);
    assignments(&mut cases);
    cases.extend(STATEMENTS.iter().map(|case| (*case).to_owned()));
    cases
}

/// A case as statements: an expression is printed.
pub(super) fn statement(case: &str) -> String {
    if case.ends_with([';', '}']) {
        case.to_owned()
    } else {
        format!("print({case});")
    }
}

fn pairs(cases: &mut Vec<String>) {
    let mut number = 0;
    for left in OPERANDS {
        for right in OPERANDS {
            for sign in BINARY {
                number += 1;
                if number % STRIDE == 0 {
                    cases.push(format!("{left} {sign} {right}"));
                }
            }
        }
    }
}

/// By less than the left side has bits: C says nothing of others.
fn shifts(cases: &mut Vec<String>) {
    for (index, left) in OPERANDS.iter().enumerate() {
        for (by, sign) in [
            ("1", "<<"),
            ("1f", ">>"),
            ("0", ">>"),
            ("7", "<<"),
            ("v_t", ">>"),
        ] {
            if (index + by.len()) % 2 == 0 || sign == ">>" {
                cases.push(format!("{left} {sign} {by}"));
            }
        }
    }
    for left in [
        "-1",
        "8000000000000000",
        "@rax",
        "@r8",
        "x",
        ".m",
        "v_l",
        "v_ul",
    ] {
        for by in ["20", "3f"] {
            cases.push(format!("{left} >> {by}"));
            cases.push(format!("{left} << {by}"));
        }
    }
}

fn signs(cases: &mut Vec<String>) {
    for operand in OPERANDS {
        for sign in ["-", "~", "!"] {
            cases.push(format!("{sign}{operand}").replace("--", "- -"));
        }
        cases.push(format!("{operand} < 0"));
        cases.push(format!("{operand} / 2"));
        cases.push(format!("sizeof ({operand} + 1)"));
    }
}

fn conversions(cases: &mut Vec<String>) {
    let types = [
        "char",
        "unsigned char",
        "short",
        "unsigned short",
        "int",
        "unsigned int",
    ];
    for (index, operand) in OPERANDS.iter().enumerate() {
        for (offset, of) in types.iter().enumerate() {
            if (index + offset) % 3 == 0 {
                cases.push(format!("({of}) {operand}"));
                cases.push(format!("({of}) {operand} - 100 > v_u"));
            }
        }
    }
}

/// Operators in a row, so that each finds its own operands.
fn chains(cases: &mut Vec<String>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..160 {
        let mut text = String::new();
        for index in 0..3 + random(4) {
            if index > 0 {
                let sign = BINARY[random(BINARY.len())];
                text += &format!(" {sign} ");
                // The left side of these may be anything, and nothing may be zero.
                if matches!(sign, "/" | "%") {
                    text += ["3", "@rbx", "v_us"][random(3)];
                    continue;
                }
            }
            let operand = OPERANDS[random(OPERANDS.len())];
            text += &match random(6) {
                0 => format!("({operand} << {})", 1 + random(7)),
                1 => format!("({operand} >> {})", 1 + random(7)),
                2 => format!("~{operand}"),
                _ => operand.to_owned(),
            };
        }
        cases.push(text);
    }
}

fn assignments(cases: &mut Vec<String>) {
    for (index, target) in TARGETS.iter().enumerate() {
        for (offset, sign) in COMPOUND.iter().enumerate() {
            let value = match *sign {
                "<<=" | ">>=" => ["3", "v_t"][index % 2],
                _ => ["3", "-7", "v_i", "v_u", "x"][(index + offset) % 5],
            };
            cases.push(format!("{target} {sign} {value}; print({target});"));
        }
        cases.push(format!(
            "{target}++; print({target}); --{target}; print({target});"
        ));
        cases.push(format!(
            "{target} = y; print({target}); print({target} == y);"
        ));
    }
}

const STATEMENTS: &[&str] = &[
    "if (-1 > 0) { print(1); } else { print(2); }",
    "if (@rax < 0) { print(1); } else { print(2); }",
    "if (x < 0) { print(1); } elsif (x > -1) { print(2); } else { print(3); }",
    "if (@rip > ffff800000000000) { print(1); } else { print(2); }",
    "if ((unsigned long) @rip > 7fffffffffff) { print(1); } else { print(2); }",
    "if (@rip > 7fffffffffff) { print(1); } else { print(2); }",
    "if (@rax && x) print(1); else print(2);",
    "if (!(@rax + 0n10)) print(1); else print(2);",
    "if (x == 5) if (y == 5) print(1); else print(2);",
    "for (long i = 0; i < 5; i++) { print(i * i); }",
    "for (z = 0; z < 5; z++) { if (z == 2) continue; if (z == 4) break; print(z); }",
    "for (int i = 3; i >= 0; i--) { print(i); }",
    "for (long i = -2, j = 2; i < j; i++, j--) { print(i); print(j); }",
    "for (char q = 7e; q > 0; q++) { print(q); }",
    "for (unsigned char q = fe; q > 0; q++) { print(q); }",
    "z = 3; while (z) { print(z); z--; }",
    "long w = 3; while (w > -2) { print(w); w -= 2; }",
    "z = 0; do { z++; if (z == 2) { continue; } print(z); } while (z < 4);",
    "long w = 0; do { w--; } while (w > -4 && w != -3); print(w);",
    "z = 1; while (1) { z *= 3; if (z > 100) { break; } } print(z);",
    "for (z = 0; z < 3; z++) { for (x = 0; x < 3; x++) { if (x == z) break; print(x + z * 10); } }",
    "x = y = .n = 9; print(x); print(y); print(.n);",
    "char q; z = q = 1ff; print(z); print(q);",
    "unsigned short q; @rax = q = -1; print(@rax);",
    "int q; x = q = ffffffff80000001; print(x); print(q);",
    "bool q; x = q = 100; print(x); print(q);",
    "char q = 80; print(q); q = q + q; print(q);",
    "unsigned int q = 0; q = q - 1; print(q); print(q + 1); print(q > -1);",
    "int q = 7fffffff; q++; print(q); print(q - 1); q = 7fffffff; print(q + 1);",
    "int q = 7fffffff; int r = 1; print(q + r); print(q + 1); print(q * 2); print(q * q);",
    "unsigned int q = 80000000; int r = -1; print(q + r); print(q * 2); print(q > r); print(q < r);",
    "unsigned int q = 1; long r = -2; print(q + r); print(q > r); print(q * r);",
    "unsigned short q = ffff; print(q * q); print(q + 1); print(~q); print(-q);",
    "unsigned char q = 80; print(q << 1); print(~q); print(q - 81 < 0); print(q >> 3);",
    "short q = 8000; print(q); print(q >> 1); print(q / 2); print(q % 7);",
    "long q = 8000000000000000; print(q); print(q >> 3f); print(q < 0); print(q - 1 > 0);",
    "print(-7 / 2); print(-7 % 2); print(7 / -2); print(7 % -2); print(-8 >> 1);",
    "print((unsigned long) -7 / 2); print(-7 / (unsigned long) 2); print(-7 % 3); print(-1 >> 3f);",
    "print((char) 80); print((unsigned char) -1); print((short) 18000); print((int) ffffffff);",
    "print((bool) 100); print((bool) 0); print((long) (int) 80000000); print((unsigned int) -1);",
    "print((unsigned long) (char) ff); print((unsigned int) (char) ff); print((char) (int) 181);",
    "print(1 < 2 < 3); print(3 > 2 > 1); print(1 == 1 == 1); print(5 & 4 == 4); print(1 | 2 ^ 3 & 6);",
    "print(1 + 2 * 3 - 4 / 2 % 3); print(1 << 2 + 1); print(10 - 4 - 2); print(100 / 10 / 2);",
    "print(2 * (3 + 4)); print(-(3 + 4) * 2); print(!x == 0); print(~x & f); print(- -5); print(!!y);",
    "print((x == 5) + (y != 5) * 2); print((1 == 1) - 2); print((1 == 1) - 2 < 0); print(-(1 == 1));",
    "print((x > 1) << 4); print(~(x > 1)); print((x > 1) / -1); print(((x > 1) - 3) >> 1);",
    "print(sizeof (char)); print(sizeof (short)); print(sizeof (int)); print(sizeof (long)); print(sizeof (void *));",
    "print(sizeof x); print(sizeof v_c); print(sizeof (v_c + v_c)); print(sizeof (v_u + v_l)); print(sizeof !x);",
    "print(sizeof (x == y)); print(sizeof (x && y)); print(sizeof -v_s); print(sizeof (v_i + v_u)); print(sizeof (1 + v_i));",
    "print(sizeof (int) - 8 > 0); print(sizeof (int) > -1); print(-1 < sizeof (int));",
    "int q[4] = {1, -2, 3}; print(q[0] + q[1] + q[2] + q[3]); print(sizeof q);",
    "int q[2][3] = {{1, 2, 3}, {4, 5, 6}}; z = 1; print(q[z][2] * q[0][z]); print(sizeof q[0]);",
    "char q[4] = {7f, 80, ff, 1}; print(q[0]); print(q[1]); print(q[2] < 0); print(q[3] + q[2]);",
    "long q[3]; for (z = 0; z < 3; z++) { q[z] = z * z - 2; } print(q[0]); print(q[1]); print(q[2]);",
    "unsigned short q[2] = {ffff, 2}; q[0]++; q[1] -= 3; print(q[0]); print(q[1]);",
    "char q[] = \"abc\"; print(sizeof q); print(q[1]); q[1] = q[1] - 20; print(q[1]);",
    "int q[4] = {4, 3, 2, 1}; int *p; p = q; print(*p); print(p[2]); p++; print(*p); print(p - q); print(*(p + 2));",
    "int q[4] = {4, 3, 2, 1}; int *p; p = &q[3]; print(*p); p--; print(*p);",
    "long q = -5; long *p; p = &q; *p += 7; print(q); *p *= -3; print(q); print(*p < 0);",
    "int q = 5; int *p = &q; int **r = &p; **r = -9; print(q); print(*p == **r);",
    "char q[2] = {1, 2}; char *p = q; *p = 81; p[1]++; print(q[0]); print(q[1]);",
    "int q[3] = {1, 2, 3}; print(&q[2] > &q[0]); print(&q[2] - &q[0]); print(q == &q[0]);",
    "struct P_1 { char k1; int k2; long k3; }; struct P_1 q; q.k1 = 80; q.k2 = -1; q.k3 = q.k1 * q.k2; print(q.k1); print(q.k2); print(q.k3); print(sizeof q);",
    "struct P_2 { short s; unsigned char t; }; struct P_2 q[2] = {{1, ff}, {-1, 80}}; z = 1; print(q[z].s); print(q[0].t); q[z].t += 81; print(q[z].t); print(sizeof q);",
    "struct P_3 { int v[3]; struct P_3 *next; }; struct P_3 q; struct P_3 r; q.next = &r; r.v[1] = -7; print(q.next->v[1]); q.next->v[1] /= 2; print(r.v[1]);",
    "struct P_4 { int u; int w; }; struct P_4 q = {3, -4}; struct P_4 r; r = q; q.u = 9; print(r.u + r.w); print(r.w < 0);",
    "struct P_5 { struct P_6 { char k; short l; } in; char m; } q; q.in.l = 8001; q.m = 7; print(q.in.l); print(sizeof q); print(q.m << 5);",
    "typedef unsigned char u_8; u_8 q = 180; print(q); q -= 81; print(q); print((u_8) -1);",
    "typedef struct { int u; char w[3]; } T_1; T_1 q; T_1 *p = &q; p->w[2] = fe; p->u = p->w[2]; print(q.u); print(sizeof (T_1));",
    "long f_1(long n) { if (n < 2) { return 1; } return n * f_1(n - 1); } /* main */ print(f_1(0n10)); print(f_1(-3));",
    "char f_2(int n) { return n; } /* main */ print(f_2(1ff)); print(f_2(7f) + 1); print(f_2(80) < 0);",
    "unsigned char f_3(char n) { return n * 2; } /* main */ print(f_3(c0)); print(f_3(-1));",
    "int f_4(unsigned int n) { return n / 2; } /* main */ print(f_4(-2)); print(f_4(-2) > 0);",
    "void f_5(long *p, long v) { *p = v - *p; } /* main */ long q = 8; f_5(&q, 3); print(q); f_5(&q, 0); print(q);",
    "long f_6(int *v, int n) { long s = 0; for (int i = 0; i < n; i++) { s += v[i]; } return s; } /* main */ int q[4] = {1, -5, 3, -7}; print(f_6(q, 4)); print(f_6(&q[1], 2));",
    "int f_7(int n) { int v[3]; v[n] = n; if (n) { f_7(n - 1); } return v[n] - 3; } /* main */ print(f_7(2));",
    "int f_8(int n); int f_9(int n) { if (n == 0) return 0; return f_8(n - 1); } int f_8(int n) { if (n == 0) return 1; return f_9(n - 1); } /* main */ print(f_8(7)); print(f_8(8));",
    "unsigned long f_10(unsigned long v, unsigned long n) { unsigned long r = 1; while (n) { if (n & 1) { r *= v; } v *= v; n >>= 1; } return r; } /* main */ print(f_10(3, 29)); print(f_10(-3, 5));",
    "long f_11(long p, long q) { while (q) { long r = p % q; p = q; q = r; } return p; } /* main */ print(f_11(0n1071, 0n462)); print(f_11(-0n1071, 0n462));",
    "int f_12(int p) { .n += p; return .n; } /* main */ z = f_12(4) && f_12(-7) && f_12(100); print(z); print(.n); z = f_12(1) || f_12(5); print(z); print(.n);",
    "unsigned int f_13(unsigned int q) { q ^= q << 0n13; q ^= q >> 0n17; q ^= q << 5; return q; } /* main */ z = 1; for (int i = 0; i < 5; i++) { z = f_13(z); print(z); }",
    "int q = 5; { int q = 6; print(q); q = 7; } print(q);",
    "unsigned int q = edb88320; print(q >> 1 ^ q); print((q & 1) == 0); print(q * q); print(-q);",
    "long q = 0; for (int i = -3; i < 4; i++) { q = q * 10 + i; } print(q);",
    "z = f0f0; print((z & ff) << 8 | z >> 8); print(z ^ ffff); print(~z & ffff);",
    "print(poi(8000) < 0); print(poi(8000) > -1); print(poi(8000) / 2); print(poi(8008) - poi(8000) < 0);",
    "print(db(8003) - 100 < 0); print(dw(8002) * -1); print(dd(8004) << 4); print(-db(8007) >> 1);",
    "double q; q = 7; q = q / 2; printf(\"%f\", q); print((long) q); print(q > 3); print((int) (q * -3));",
    "double q; q = @rax; printf(\"%f\", q); q = v_u; printf(\" %f\", q); q = v_ul; printf(\" %f\", q);",
    "float q; q = v_i; q *= v_c; printf(\"%f\", q); print((char) q); print(q == (float) 0n18);",
    "double q; q = -1; q *= x; printf(\"%f\", q); print((long) q); print(q < 0); print(!q);",
    "printf(\"%d %u %x %o\", (int) v_c, (unsigned int) v_c, (int) v_c, (int) 1ff);",
    "printf(\"%ld %lu %lx\", (long) y, (unsigned long) y, (long) @rax);",
    "printf(\"[%8d] [%-8d] [%08d] [%+d] [%.4d]\", (int) -2a, (int) -2a, (int) -2a, (int) 2a, (int) 7);",
    "printf(\"[%8x] [%-8x] [%08x] [%#x] [%.6x]\", (int) beef0, (int) beef0, (int) beef0, (int) beef0, (int) beef0);",
    "printf(\"%hd %hu %hhd %c %s %%\", (int) 1ffff, (int) 1ffff, (int) 1ff, (int) 41, \"text\");",
    "printf(\"[%6s] [%-6s] [%.2s]\", \"abc\", \"abc\", \"abc\");",
    "double q; q = -2; q /= 3; printf(\"%f %.2f %9.3f %+.1f\", q, q, q, -q);",
];
