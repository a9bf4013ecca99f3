//! Whole scripts, as users write them, and what they print.

use super::{MadeUp, arguments, printed, world};
use crate::script::trial::OPERATIONS;
use crate::script::types::Type;
use crate::script::{compile, compile_condition, compile_expression};
use wire_protocol::bytecode::{Comparison, Verified};

#[test]
fn primes_are_sieved() {
    let text = "
// Sieve of Eratosthenes.
char composite[100];
count = 0;
for (i = 2; i < 100; i++) {
    if (!composite[i]) {
        count++;
        for (j = i * i; j < 100; j += i) {
            composite[j] = 1;
        }
    }
}
printf(\"%d primes below %d\\n\", count, 100);
";
    assert_eq!(printed(text), "54 primes below 256\n");
}

#[test]
fn a_list_in_memory_is_walked() {
    let text = "
struct entry { struct entry *next; long value; };
struct entry list[4];
for (i = 0; i < 4; i++) {
    list[i].value = i + 1;
    list[i].next = 0;
    if (i) { list[i - 1].next = &list[i]; }
}
long total(struct entry *e) {
    if (e == 0) { return 0; }
    return e->value + total(e->next);
}
print(total(list));
for (struct entry *e = list; e; e = e->next) { printf(\"%d \", e->value); }
";
    assert_eq!(printed(text), "a\n1 2 3 4 ");
}

#[test]
fn words_are_sorted() {
    let text = "
unsigned int v[8] = {7, 3, ffffffff, 0, 9, 1, 3, 2};
void swap(unsigned int *x, unsigned int *y) {
    unsigned int t = *x;
    *x = *y;
    *y = t;
}
void sort(unsigned int *v, int n) {
    for (int i = 0; i < n; i++) {
        for (int j = 0; j + 1 < n - i; j++) {
            if (v[j] > v[j + 1]) { swap(&v[j], &v[j + 1]); }
        }
    }
}
sort(v, 8);
for (i = 0; i < 8; i++) { printf(\"%x,\", v[i]); }
";
    assert_eq!(printed(text), "0,1,2,3,3,7,9,ffffffff,");
}

#[test]
fn a_hash_is_computed() {
    let text = "
unsigned int crc(char *p, int n) {
    unsigned int sum = ffffffff;
    for (int i = 0; i < n; i++) {
        sum ^= (unsigned char) p[i];
        for (int k = 0; k < 8; k++) {
            if (sum & 1) { sum = sum >> 1 ^ edb88320; } else { sum >>= 1; }
        }
    }
    return ~sum;
}
print(crc(\"123456789\", 9));
";
    assert_eq!(printed(text), "cbf43926\n");
}

#[test]
fn a_conditional_break_is_written_as_users_do() {
    let text = "
if (wcscmp(L\"w\\xf6rld\", 8086) == 0) {
    printf(\"open by %x at %llx\\n\", $pid, @rip);
    pause();
}
";
    assert_eq!(
        printed(text),
        "open by 1a0 at 4000\n[pause: all cores would halt]\n"
    );
}

#[test]
fn an_included_file_brings_types_and_functions() {
    let library = "typedef unsigned char u8;\nint twice(int x) { return 2 * x; }\n";
    let mut environment = MadeUp::default().with_file("lib/twice.ds", library);
    let text = "#include \"lib/twice.ds\"\nu8 x = 90; print(twice(x));";
    let compiled = compile(text, "test.ds", &arguments(), &mut environment).expect("good");
    let mut locals = vec![0; compiled.local_bytes];
    let mut out = Vec::new();
    let run = world().run(&compiled.bytes, &mut locals, OPERATIONS, &mut out);
    assert!(run.is_ok_and(|outcome| outcome.faults == 0));
    assert_eq!(out, b"120\n");
}

#[test]
fn an_expression_alone_gives_its_value_and_type() {
    let value = |text: &str| {
        let compiled = compile_expression(text, "", &[], &mut MadeUp::default()).expect(text);
        let run = world().run(&compiled.bytes, &mut [], OPERATIONS, &mut Vec::new());
        (run.expect("verified").value(), compiled.result)
    };
    assert_eq!(
        value("poi(@rsp) + 1"),
        (Some(0x1716_1514_1312_1111), Type::Untyped)
    );
    assert_eq!(value("1.5 * 2"), (Some(3_f64.to_bits()), Type::Double));
    assert_eq!(value(".hits"), (Some(0), Type::Untyped));
    assert_eq!(value("nt!do_sys_openat2+8;").0, Some(0xffff_ffff_8134_a358));
    assert!(compile_expression("x = 5", "", &[], &mut MadeUp::default()).is_err());
}

#[test]
fn a_condition_is_an_expression_or_statements() {
    for (text, holds) in [
        ("$pid == 1a0", true),
        ("@rax == 5", false),
        ("0.5", true),
        ("x = 3; return x == 3;", true),
        ("if ($pid) { return 0; } return 1;", false),
        ("return 2", true),
    ] {
        let compiled = compile_condition(text, "", &[], &mut MadeUp::default()).expect(text);
        let mut locals = vec![0; compiled.local_bytes];
        let run = world().run(&compiled.bytes, &mut locals, OPERATIONS, &mut Vec::new());
        let value = run.expect("verified").value();
        assert_eq!(value.map(|value| value != 0), Some(holds), "{text}");
    }
}

#[test]
fn a_condition_that_compares_a_register_is_not_run() {
    for (text, value, holds) in [
        ("@rax < 0", -2_i64 as u64, true),
        ("@rax < 0", 2, false),
        ("@rax >= -5", -6_i64 as u64, false),
        ("@rdi > ffff800000000000", 0xffff_ffff_8100_0000, true),
        ("@rdi > ffff800000000000", 0x7fff_0000_0000, false),
        ("@rdx > 100", 0x101, true),
        ("@rdx > 100", u64::MAX, false),
    ] {
        let compiled = compile_condition(text, "", &[], &mut MadeUp::default()).expect(text);
        let verified = Verified::new(&compiled.bytes).expect("verified");
        let comparison = Comparison::of(verified.program()).expect(text);
        assert_eq!(comparison.holds(value), holds, "{text}");
        assert_eq!(compiled.warnings, [], "{text}");
    }
}
