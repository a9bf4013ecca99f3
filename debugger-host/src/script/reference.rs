//! The reference of the script language, printed by `standstill script reference`.

/// Functions: how they are called, what they do. Groups are separated by empty names.
const FUNCTIONS: [(&str, &str); 72] = [
    ("poi(a) dq(a)", "8 bytes at a virtual address"),
    ("dd(a) dw(a) db(a)", "4, 2, 1 bytes"),
    ("low(a) hi(a)", "low and high 16 bits of the 4 bytes there"),
    (
        "poi_pa(a) dq_pa(a) dd_pa(a) dw_pa(a) db_pa(a) low_pa(a) hi_pa(a)",
        "the same, physical",
    ),
    (
        "eq(a, v) ed(a, v) ew(a, v) eb(a, v)",
        "write 8, 4, 2, 1 bytes; 1 if that could be done",
    ),
    (
        "eq_pa(a, v) ed_pa(a, v) ew_pa(a, v) eb_pa(a, v)",
        "the same, physical",
    ),
    ("memcpy(to, from, n)", "copy bytes"),
    ("memcpy_pa(to, from, n)", "the same, physical"),
    (
        "memcmp(a, b, n)",
        "compare bytes: below, equal to or above 0",
    ),
    ("strlen(s)", "bytes of a string"),
    ("strcmp(a, b)", "compare strings"),
    ("strncmp(a, b, n)", "compare at most n bytes of them"),
    ("wcslen(s)", "characters of a UTF-16 string"),
    ("wcscmp(a, b)", "compare UTF-16 strings"),
    ("wcsncmp(a, b, n)", "compare at most n characters of them"),
    ("check_address(a)", "1 if it can be read"),
    ("virtual_to_physical(a)", "physical address, or 0"),
    ("physical_to_virtual(a)", "virtual address, or 0"),
    (
        "disassemble_len(a) disassemble_len64(a)",
        "bytes of the 64-bit instruction there",
    ),
    (
        "disassemble_len32(a)",
        "bytes of the 32-bit instruction there",
    ),
    ("", ""),
    ("reference(v) ref(v)", "address of a variable, as &v"),
    ("not(x)", "~x"),
    ("neg(x)", "-x"),
    ("", ""),
    ("print(x)", "a line with x in hexadecimal"),
    (
        "printf(format, …)",
        "%d %i %u %o %x %c %p %s %ws %ls %f, with h, l, ll, width and precision",
    ),
    ("formats(x)", "x in every notation"),
    ("test_statement(x)", "a line that a test can find"),
    ("flush()", "drop messages that were not delivered"),
    ("", ""),
    ("pause()", "halt all cores when the script has ended"),
    ("event_enable(id)", "enable an event"),
    ("event_disable(id)", "disable it"),
    ("event_clear(id)", "clear it"),
    (
        "event_sc(x)",
        "1: what triggered this hit does not take place",
    ),
    (
        "event_inject(type, vector)",
        "inject an interrupt or exception when the guest goes on",
    ),
    (
        "event_inject_error_code(type, vector, code)",
        "the same with an error code",
    ),
    (
        "event_trace_step()",
        "step, then run this event again ($context 0); a call is one",
    ),
    ("event_trace_step_in()", "the same, into calls"),
    (
        "event_trace_step_out()",
        "the same, until the routine returned",
    ),
    (
        "event_trace_instrumentation_step()",
        "as event_trace_step, handlers too",
    ),
    (
        "event_trace_instrumentation_step_in()",
        "as event_trace_step_in, handlers too",
    ),
    ("", ""),
    ("spinlock_lock(&v)", "wait until v is 0, then make it 1"),
    ("spinlock_unlock(&v)", "make it 0"),
    (
        "spinlock_lock_custom_wait(&v, longest)",
        "lock with a longest back-off",
    ),
    ("interlocked_increment(&v)", "add 1; the new value"),
    ("interlocked_decrement(&v)", "subtract 1; the new value"),
    ("interlocked_exchange(&v, x)", "store x; the old value"),
    ("interlocked_exchange_add(&v, x)", "add x; the old value"),
    (
        "interlocked_compare_exchange(&v, new, expected)",
        "store new if v is expected; the old value",
    ),
    ("", ""),
    ("rdtsc()", "time-stamp counter"),
    ("rdtscp()", "the same, after all earlier instructions"),
    ("microsleep(us)", "wait so many microseconds"),
    ("", ""),
    (
        "lbr_check()",
        "1 if this core records branches (`!lbr`); else all these give 0",
    ),
    ("lbr_print() lbr_dump()", "print what was recorded"),
    ("lbr_save()", "keep it for `!lbrdump`"),
    ("lbr_restore()", "go on after a debug exception ended it"),
    (
        "lbr_restore_by_filter(m)",
        "the same; bits of m, from 0 on: what `!lbr filter` names",
    ),
    ("", ""),
    ("$pid $tid $core", "process, thread and core numbers"),
    (
        "$proc $thread",
        "addresses of the system's process and thread objects",
    ),
    ("$pname", "address of the image name, 16 bytes"),
    ("$peb $teb", "addresses of the user blocks"),
    ("$ip", "instruction pointer"),
    ("$buffer", "the event's safe buffer, or 0"),
    ("$context", "what the event type says it is"),
    (
        "$event_id $event_tag $event_stage",
        "the event; 0 before and 1 after what triggered it",
    ),
    (
        "$date $time $arg0 $arg1",
        "for %s: date, time, name of the command file; then its arguments",
    ),
];

/// What precedes the list of functions.
const LANGUAGE: &str = "\
Statements end with `;`, blocks stand in `{ }`, comments are those of C. Case matters.

numbers     hexadecimal; 0n10 decimal, 0t7 octal, 0y1 binary; 11.5 has a fraction
names       x is of this event and this core, .x is shared by all; both begin as 0 and stay
            @rax @eax @al @r8h @zf registers and flags, also written to; nt!name an address
            a word of hexadecimal digits only is a number, unless declared: long add;
            warnings: a variable with a symbol's name of more than one letter, &name of a symbol,
            which is a variable, and a variable that is read before anything is assigned to it
types       none: 64 bits, unsigned. char short int long float double bool, signed, unsigned,
            pointers, arrays, struct, union, enum, typedef, casts, int8_t to uint64_t, size_t: as in C.
            const keeps a variable from being written to; static keeps it, in a function too, from
            one call and run to the next, and its first value is taken once
signs       A number up to 7fffffffffffffff is signed and has 64 bits, above it it is unsigned.
            Signed are registers, $ip, what is computed from them, and a comparison, an int.
            Unsigned are undeclared and global variables, what is read from memory, symbols,
            sizeof, and what functions give, but for memcmp and its like. Where one operand is
            unsigned and not shorter, both are: -5 / 2 is -2, @rax < 0 finds an error number,
            @rdi > ffff800000000000 a kernel address, x < 0 never holds, (long) x < 0 may.
            A part as @eax is between 0 and ffffffff; (int) @eax has the sign of those bits.
            A comparison that always or never holds is a warning. To find addresses of the
            kernel with a smaller number, write (unsigned long) @rip > 7fffffffffff.
registers   @eax = 1 clears the upper half of @rax, as on the processor; @ax, @ah, @al = 1 do not.
            true, false and NULL are 1, 0 and 0, unless the script has variables of these names.
operators   those of C with its precedence, ?: too; = += ++ and their like are statements, a = b = 5 too.
            try x else y is x, or y if something in x could not be read or done, which is no fault then
            On .globals += -= ++ -- and their like lose nothing that other cores do meanwhile.
            A shift by 64 or more gives 0; >> fills in the sign of what is signed. What is
            shorter than 64 bits is shifted as if it had them, and then cut.
statements  if elsif else, switch with case and default, for, while, do while, break, continue, return
functions   int f(int x) { return x + 1; }, also recursive
strings     \"text\" and L\"UTF-16\", with \\n \\r \\t \\0 \\\\ \\\" \\xHH
files       #include \"file\"

What cannot be read is 0, a division by zero is 0; both are counted and shown. To memcmp, strcmp
and their like what cannot be read is less than all that can, and never equal.
";

/// The whole reference.
#[must_use]
pub fn text() -> String {
    let mut text = format!("{LANGUAGE}\n");
    for (name, meaning) in FUNCTIONS {
        if name.len() > 40 {
            text += &format!("{name}\n{:40} {meaning}\n", "");
        } else {
            text += format!("{name:40} {meaning}").trim_end();
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::check::functions;
    use std::collections::BTreeSet;
    use wire_protocol::bytecode::routine::Pseudo;

    #[test]
    fn every_function_and_pseudo_register_is_in_the_reference_and_no_other() {
        let mut named = BTreeSet::new();
        for (names, _) in FUNCTIONS {
            let calls = names.split(')').filter_map(|call| call.split_once('('));
            named.extend(calls.map(|(name, _)| name.trim().to_owned()));
            let pseudo = names.split(' ').filter_map(|name| name.strip_prefix('$'));
            named.extend(pseudo.map(|name| format!("${name}")));
        }
        let mut known: BTreeSet<String> = functions().map(str::to_owned).collect();
        known.extend(
            Pseudo::ALL
                .iter()
                .map(|pseudo| format!("${}", pseudo.name())),
        );
        known.extend(["$arg0".to_owned(), "$arg1".to_owned()]);
        assert_eq!(named, known);
    }

    #[test]
    fn lines_fit_a_terminal() {
        for line in text().lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }
}
