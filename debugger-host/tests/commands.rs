//! The program against a made-up debuggee, through the pipe that programs use.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use fake::Debuggee;
use fake::host::{Host, halted};
use std::process::Command;
use std::sync::atomic::Ordering;
use wire_protocol::crc::Crc32;

#[test]
fn connecting_names_the_debuggee_and_its_state() {
    let debuggee = Debuggee::start();
    let (mut host, text) = Host::connect(&debuggee);
    assert_eq!(
        text,
        "connected: Linux version 6.1 (made up); 2 cores; session 0000000000001234; running\n"
    );
    assert!(host.bad("r").contains("`pause` halts it"));
}

#[test]
fn a_break_in_shows_where_the_debuggee_is() {
    let debuggee = Debuggee::start();
    let (mut host, _) = Host::connect(&debuggee);
    debuggee.controls.deaf_for.store(2, Ordering::Relaxed);
    let text = host.good("pause");
    assert_eq!(
        text,
        "break-in on core 0; process 1c (lonely); changed: rcx r11\nvmlinux!do_sys_openat2:\n\
         ffffffff91001000 0f1f440000      nop     dword ptr [rax+rax]\n"
    );
}

#[test]
fn what_is_known_costs_nothing() {
    let (debuggee, mut host) = halted();
    for line in [
        "r",
        "r",
        "r rax",
        "db vfs_read",
        "db vfs_read",
        "events",
        "events",
    ] {
        host.good(line);
    }
    assert_eq!(
        debuggee.take_requests(),
        ["ReadRegisters", "ReadMemory", "ListEvents"]
    );
    host.good("!epthook vfs_read");
    assert!(host.good("events").contains("vmlinux!vfs_read"));
    assert_eq!(debuggee.take_requests(), ["AddEvents"]);
}

#[test]
fn registers_and_memory_are_written_and_read_back() {
    let (_debuggee, mut host) = halted();
    host.good("r @rax = 1122334455667788");
    host.good("r al = 99");
    assert_eq!(host.good("r rax"), "rax=1122334455667799\n");
    host.good("r @rflags = 2");
    host.good("r @zf = 1");
    assert_eq!(host.good("? @rflags"), "42 = 0n66\n");
    assert!(host.bad("r @zf = 2").contains("more than 1"));
    host.good("ed vfs_read 11223344 55667788");
    assert_eq!(host.good("? dd(vfs_read+4)"), "55667788 = 0n1432778632\n");
    assert_eq!(host.good("!dd 2000 l 4"), "00000000`00002000  11223344\n");
    assert!(
        host.bad("db 10")
            .starts_with("c0000005: nothing is mapped at 0000000000000010")
    );
    let text = host.good("db vmlinux!_end-8 l 10");
    assert!(text.contains("00 00 00 00 00 00 00 00-?? ??"), "{text}");
}

#[test]
fn events_are_added_listed_changed_and_refused() {
    let (debuggee, mut host) = halted();
    assert_eq!(
        host.good("!epthook do_sys_openat2 pid 1c core 1"),
        "event 0: epthook vmlinux!do_sys_openat2 (ffffffff91001000), pid 1c, core 1, break; \
         19 regular events and 19 hooks left\n"
    );
    for n in 1..20 {
        host.good(&format!("!cpuid {n:x}"));
    }
    assert!(
        host.bad("!cpuid")
            .starts_with("c0000042: no regular event left: all 20 are in use")
    );
    host.good("events d 0");
    assert!(
        host.good("events")
            .lines()
            .next()
            .is_some_and(|l| l.contains("disabled"))
    );
    assert!(host.bad("events c 99").contains("there is no event 99"));
    assert!(
        host.good("events c all")
            .starts_with("20 events cleared; 20 regular events")
    );
    assert_eq!(host.good("events"), "no events\n");
    debuggee.take_requests();
    debuggee.controls.extra_event.store(true, Ordering::Relaxed);
    host.good("!cpuid 5");
    assert!(host.good("events").contains("cpuid 77"));
    assert_eq!(debuggee.take_requests(), ["AddEvents", "ListEvents"]);
}

#[test]
fn a_hit_is_shown_by_the_command_that_waits() {
    let (debuggee, mut host) = halted();
    host.good("!epthook do_sys_openat2");
    debuggee
        .controls
        .hit_after_go
        .store(true, Ordering::Relaxed);
    let hit = "event 0 hit on core 1: epthook vmlinux!do_sys_openat2; process 1c, thread 1d (lonely); changed: rcx r11\n\
         vmlinux!do_sys_openat2:\n";
    for _ in 0..20 {
        // It comes right behind the answer, and is told all the same by what waits for it.
        assert_eq!(host.good("g"), "");
        let text = host.good(".wait 5");
        assert!(text.starts_with(hit), "{text}");
    }
    assert_eq!(host.good("g"), "");
    std::thread::sleep(std::time::Duration::from_millis(100));
    let text = host.good("? $core");
    assert!(
        text.starts_with(hit) && text.ends_with("\n1 = 0n1\n"),
        "{text}"
    );
    assert_eq!(host.good("? $core"), "1 = 0n1\n");
    assert!(host.good("events").contains("; 21 hits"));
    // The halt was shown once; waiting again shows nothing new.
    assert_eq!(host.good(".wait"), "");
    debuggee
        .controls
        .hit_after_go
        .store(false, Ordering::Relaxed);
    host.good("g");
    assert!(host.bad(".wait 1").contains("did not halt within 1 s"));
}

#[test]
fn a_new_host_finds_the_debuggee_halted_with_its_events() {
    let (debuggee, mut host) = halted();
    host.good("!epthook vfs_read");
    drop(host);
    let (mut host, text) = Host::connect(&debuggee);
    assert!(
        text.contains("; halted\nbreak-in on core 0; process 1c (lonely); changed: rcx r11\n"),
        "{text}"
    );
    assert!(text.contains("epthook vmlinux!vfs_read"), "{text}");
    assert!(text.contains("regular-event"), "{text}");
    assert_eq!(host.good("~ 1"), "operating core 1\n");
}

#[test]
fn a_lost_line_is_opened_again_without_a_word() {
    let (debuggee, mut host) = halted();
    debuggee.controls.hang_up.store(true, Ordering::Relaxed);
    std::thread::sleep(std::time::Duration::from_millis(50));
    host.good("r");
    host.good("!epthook vfs_read");
    assert!(host.good(".status").contains("(open)"));
}

#[test]
fn digests_cover_memory_and_registers() {
    let (_debuggee, mut host) = halted();
    let memory = host.good("!digest");
    assert_eq!(memory.trim().len(), 16);
    let registers = host.good("!digest registers");
    host.good("eb vfs_read 1");
    host.good("r rbx = 5");
    assert_ne!(host.good("!digest"), memory);
    assert_ne!(host.good("!digest registers"), registers);
}

#[test]
fn translations_go_both_ways() {
    let (_debuggee, mut host) = halted();
    assert_eq!(
        host.good("!va2pa vfs_read"),
        "virtual ffffffff91002000 is physical 2000 (2 MiB page)\n"
    );
    assert!(
        host.good("!pa2va 2000")
            .contains("vmlinux!vfs_read (ffffffff91002000) (kernel image)")
    );
}

#[test]
fn many_hooks_of_a_script_travel_in_one_message() {
    let (debuggee, mut host) = halted();
    let hooks: String = (0..10)
        .map(|n| format!("!epthook vfs_read+{:x}\n", 2 * n))
        .collect();
    let script = debuggee.file("hooks.ds", &hooks);
    host.good("events");
    debuggee.take_requests();
    let text = host.good(&format!(".script {}", script.display()));
    // The function is read once, to see where its instructions start.
    assert_eq!(debuggee.take_requests(), ["ReadMemory", "AddEvents"]);
    assert_eq!(text.lines().count(), 20, "{text}");
    assert!(
        text.starts_with("0: kd> !epthook vfs_read+0\nevent 0: epthook vmlinux!vfs_read ("),
        "{text}"
    );
    assert!(
        text.ends_with("10 regular events and 10 hooks left\n"),
        "{text}"
    );
}

#[test]
fn a_script_ends_at_its_first_failure_unless_told_to_go_on() {
    let (debuggee, host) = halted();
    drop(host);
    let script = debuggee.file("bad.ds", "r rax\nfrobnicate\nr rbx\n");
    let run = |keep_going: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
        command.args(["connect", "--socket"]).arg(&debuggee.socket);
        command.arg("--script").arg(&script);
        if keep_going {
            command.arg("--keep-going");
        }
        let output = command.output().expect("the program starts");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = run(false);
    assert!(
        text.contains("0: kd> r rax\nrax=") && !text.contains("rbx"),
        "{text}"
    );
    assert!(run(true).contains("0: kd> r rbx\nrbx="));
}

#[test]
fn a_missing_script_is_one_clear_line() {
    let debuggee = Debuggee::start();
    let output = Command::new(env!("CARGO_BIN_EXE_standstill"))
        .args(["connect", "--script", "/nowhere/x.ds", "--socket"])
        .arg(&debuggee.socket)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("cannot read the script /nowhere/x.ds"),
        "{text}"
    );
}

#[test]
fn modules_and_their_symbols_are_read_from_the_debuggee() {
    let (debuggee, mut host) = halted();
    let text = host.good("lm");
    assert!(
        text.contains("ffffffff91000000 ffffffff91010000 vmlinux"),
        "{text}"
    );
    assert!(
        text.contains("ffffffffc0000000 ffffffffc0001000 toy\n"),
        "{text}"
    );
    assert_eq!(host.good("x toy!*"), "ffffffffc0000040 toy!toy_play\n");
    assert_eq!(
        host.good("ln toy!toy_play+4"),
        "(ffffffffc0000044) toy!toy_play+4\n"
    );
    debuggee.take_requests();
    assert_eq!(
        host.good("? toy_play"),
        "ffffffffc0000040 = 0n18446744072635809856 (toy!toy_play)\n"
    );
    assert!(debuggee.take_requests().is_empty());
    assert!(
        host.bad("x nothing!*")
            .contains("no module `nothing` is loaded")
    );
}

#[test]
fn memory_that_did_not_change_since_the_last_halt_is_only_confirmed() {
    let (debuggee, mut host) = halted();
    let before = host.good("db vfs_read l 200");
    host.good("g");
    host.good("pause");
    assert_eq!(host.good("db vfs_read l 200"), before);
    assert_eq!(debuggee.controls.confirmed.load(Ordering::Relaxed), 1);
    host.good("eb vfs_read 7");
    assert_ne!(host.good("db vfs_read l 200"), before);
    assert_eq!(debuggee.controls.confirmed.load(Ordering::Relaxed), 1);
}

#[test]
fn memory_that_was_patched_to_the_same_crc_is_shown_as_it_is() {
    // These five bytes, the polynomial's, leave the CRC-32 of whatever they are added to as it is.
    let mut patched = [0; 0x200];
    patched[..5].copy_from_slice(&[0x41, 0x06, 0x71, 0xdb, 0x01]);
    let [crc, of_patched] = [[0; 0x200], patched].map(|bytes| {
        let mut crc = Crc32::new();
        crc.update(&bytes);
        crc.finish()
    });
    assert_eq!(crc, of_patched);
    let (debuggee, mut host) = halted();
    assert!(
        host.good("db vfs_read l 200")
            .contains("00 00 00 00 00 00 00 00")
    );
    host.good("eb vfs_read 41 6 71 db 1");
    let shown = host.good("db vfs_read l 200");
    assert!(shown.contains("41 06 71 db 01 00 00 00"), "{shown}");
    assert_eq!(debuggee.controls.confirmed.load(Ordering::Relaxed), 0);
}

#[test]
fn a_new_session_can_be_begun_on_the_same_line() {
    let (_debuggee, mut host) = halted();
    assert!(host.good(".reconnect").contains("; halted\n"));
    host.good("r");
    host.good("g");
    assert!(host.good(".reconnect").ends_with("; running\n"));
}

#[test]
fn names_that_are_numbers_are_numbers_with_a_warning() {
    let debuggee = Debuggee::start();
    let map = debuggee.file("Map", "ffffffff81000000 T _text\nffffffff81001000 T dead\n");
    let (mut host, _) = Host::connect_with(&debuggee, &map);
    let text = host.good("? dead + 1");
    assert!(
        text.starts_with("warning: `dead` is taken as the number dead"),
        "{text}"
    );
    assert!(text.ends_with("deae = 0n57006\n"), "{text}");
}

#[test]
fn the_digest_tells_that_only_the_new_events_are_there() {
    let (debuggee, mut host) = halted();
    host.good("!cpuid 1");
    assert!(host.good("events").contains("cpuid 1"));
    assert_eq!(debuggee.take_requests(), ["AddEvents"]);
    drop(host);
    let (mut host, _) = Host::connect(&debuggee);
    host.good("g");
    host.good(".reconnect");
    host.good("pause");
    debuggee.take_requests();
    host.good("!cpuid 2");
    let text = host.good("events");
    assert!(
        text.contains("cpuid 1") && text.contains("cpuid 2"),
        "{text}"
    );
    assert_eq!(debuggee.take_requests(), ["AddEvents", "ListEvents"]);
}
