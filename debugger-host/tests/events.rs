//! Commands that add and manage events, against a made-up debuggee.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use fake::host::halted;

#[test]
fn every_kind_of_event_is_added_and_listed_as_it_was_typed() {
    let (_debuggee, mut host) = halted();
    for (line, text) in [
        (
            "!epthook2 vfs_read",
            "epthook2 vmlinux!vfs_read (ffffffff91002000), break",
        ),
        (
            "!monitor pa rw 1000 1fff",
            "monitor rw pa 1000 l 1000, break",
        ),
        (
            "!monitor x vfs_read l 1 sc on pid 1c",
            "monitor x vmlinux!vfs_read (ffffffff91002000) l 1, pid 1c, sc on, break",
        ),
        ("!syscall 55 stage all", "syscall 55, stage all, break"),
        ("!syscall entry 55 sc on", "syscall entry 55, sc on, break"),
        ("!syscall entry pid 1c", "syscall entry, pid 1c, break"),
        ("!syscall2", "syscall2, break"),
        ("!sysret imm no", "sysret, imm no, break"),
        (
            "!msread c0000082 buffer 100",
            "msrread c0000082, buffer 100, break",
        ),
        ("!iout 80 core 1", "ioout 80, core 1, break"),
        ("!exception e", "exception e, break"),
        ("!interrupt 30", "interrupt 30, break"),
        ("!crwrite 0 mask 10000", "crwrite 0 mask 10000, break"),
        ("!mode ku pid 1c", "mode ku, pid 1c, break"),
        ("!trace instrument-step", "trace instrument-step, break"),
        (
            "!tsc condition { 48 31 c0 c3 } code { 90 }",
            "tsc, condition of code (4 bytes), code (2 bytes)",
        ),
        (
            "!vmcall asm code {\n mov rax, vfs_read // where\n ret\n}",
            "vmcall, code (",
        ),
    ] {
        let added = host.good(line);
        assert!(added.contains(text), "{line}: {added}");
        assert!(host.good("events").contains(text), "{line}");
    }
}

#[test]
fn values_out_of_range_are_refused_on_the_host() {
    let (debuggee, mut host) = halted();
    for (line, text) in [
        ("!exception 20", "the vector is 20, not between 0 and 1f"),
        ("!interrupt 1f", "the vector is 1f, not between 20 and ff"),
        ("!ioin 10000", "the port is 10000, not between 0 and ffff"),
        (
            "!monitor r 2000 1000",
            "the last address is 1000, not between 2000 and",
        ),
        ("!monitor r 2000 l 0", "the length is 0, not between 1 and"),
        ("!crwrite 4 mask 0", "the mask is 0"),
        ("!tsc buffer 0", "the buffer is 0"),
        (
            "!tsc output { nowhere }",
            "there is no output `nowhere`; `output create nowhere file",
        ),
        (
            "!tsc asm code { nop; frob }",
            "code: assembler, line 1, column 7: unknown instruction `frob`",
        ),
        ("prealloc regular-event zz", "the count: `zz` is no number"),
        ("prealloc regular-evnt 1", "is not one of regular-event"),
    ] {
        assert!(host.bad(line).contains(text), "{line}: {}", host.bad(line));
    }
    assert!(debuggee.take_requests().is_empty());
}

#[test]
fn outputs_are_made_opened_listed_and_closed() {
    let (debuggee, mut host) = halted();
    let path = debuggee.file("out.txt", "");
    assert!(host.good("output").contains("no outputs"));
    host.good(&format!("output create Out1 file {}", path.display()));
    assert!(host.bad("output create Out1 tcp x:1").contains("already"));
    assert!(host.bad("output close Out1").contains("`output open Out1`"));
    host.good("output open Out1");
    assert!(host.good("output").contains("open; 0 messages"));
    assert!(host.good("!tsc output {Out1}").contains(", output {Out1}"));
    host.good("output close Out1");
    assert!(
        host.bad("output frob Out1")
            .contains("create, open or close")
    );
    assert!(
        host.bad("output create x module y")
            .contains("file, tcp or namedpipe")
    );
}

#[test]
fn counts_of_prealloc_are_hexadecimal_like_its_argument() {
    let (_debuggee, mut host) = halted();
    assert!(
        host.good("prealloc big-event 20")
            .starts_with("big-event: 20 (0n32) ready now; 34 (0n52) free;")
    );
    assert!(host.good("test pool").contains("thread-interception"));
    for n in 0..17 {
        let text = host.good(&format!("!cpuid {n:x}"));
        assert_eq!(text.contains("warning: "), n > 15, "{text}");
    }
    assert!(
        host.good("!cpuid 20")
            .contains("warning: 2 of regular-event left, `prealloc regular-event 10`")
    );
    assert_eq!(host.good("flush"), "0 messages dropped\n");
}
