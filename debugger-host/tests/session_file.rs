//! Session files, through the pipe that programs use: what is set comes back, and what cannot be set is said.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use debugger_host::saved::{Saved, SavedEvent};
use fake::Debuggee;
use fake::host::{Host, halted};

#[test]
fn what_is_set_is_written_with_names_and_without_what_means_something_else_later() {
    let (debuggee, mut host) = halted();
    for line in [
        "!epthook vfs_read+(2*2) force core @rax-@rax",
        "!epthook @rip",
        "!epthook2 ffffffff91002000",
        "!monitor w vfs_read l 8 pid 1c",
        "!monitor rx pa 1000 1fff",
        "!cpuid 5 condition { @rax == 5 } script { .n += 1; } imm no",
        "!cpuid @rip-@rip",
        "!ioin 3f8 stage all code {90 c3}",
        "!msrwrite lstar asm code {nop; nop}",
        "!crwrite 4 mask 20 sc on",
        "!exception de",
        "!mode u core 1",
        "bp vfs_read+4 force tid 2*2 passes 3 once",
        "ba w8 do_sys_openat2",
        "events d 4",
        "prealloc epthook 3",
        "prealloc epthook 2",
    ] {
        host.good(line);
    }
    let path = debuggee.socket.with_file_name("a.session");
    let path = path.to_str().unwrap();
    host.good(&format!(".session save {path}"));
    let saved = Saved::read(path.as_ref()).unwrap();
    let commands: Vec<&str> = saved.events.iter().map(|event| &*event.command).collect();
    assert_eq!(
        commands,
        [
            "!epthook vfs_read+(2*2) core 0 force",
            "!epthook vmlinux!do_sys_openat2",
            "!epthook2 vmlinux!vfs_read",
            "!monitor w vfs_read l 8 pid 1c",
            "!monitor pa rx 1000 l 1000",
            "!cpuid 5 imm no condition { @rax == 5 } script { .n += 1; }",
            "!cpuid 0",
            "!ioin 3f8 stage all code {90 c3}",
            "!msrwrite lstar asm code {nop; nop}",
            "!crwrite 4 mask 20 sc on",
            "!exception de",
            "!mode u core 1",
            "bp vfs_read+4 tid 4 passes 3 once force",
            "ba w8 do_sys_openat2",
        ]
    );
    assert_eq!(saved.pools, ["prealloc epthook 5"]);
    let disabled: Vec<u32> = saved
        .events
        .iter()
        .filter(|it| !it.is_enabled)
        .map(|it| it.id)
        .collect();
    assert_eq!(disabled, [4]);
    let lists = |host: &mut Host| host.good("events") + &host.good("bl");
    let listed = lists(&mut host);
    host.good("events c all");
    host.good("bc all");
    let loaded = host.good(&format!(".session load {path}"));
    assert_eq!(loaded, format!("14 events set again from {path}\n"));
    // But for their numbers they are the same.
    let without_ids =
        |text: &str| -> Vec<String> { text.lines().map(|line| line[3..].to_owned()).collect() };
    assert_eq!(without_ids(&lists(&mut host)), without_ids(&listed));
}

#[test]
fn another_program_that_dies_leaves_what_it_set_to_the_next_one() {
    let (debuggee, mut host) = halted();
    host.good("!epthook vfs_read script { .n += 1; }");
    host.good("g");
    host.good("pause");
    drop(host);
    let (mut host, text) = Host::connect(&debuggee);
    assert!(!text.contains(".session load"), "nothing is lost: {text}");
    let path = debuggee.socket.with_file_name("a.session");
    let said = host.good(&format!(".session save {}", path.display()));
    assert!(said.starts_with("1 event saved in "), "{said}");
    let saved = Saved::read(&path).unwrap();
    assert_eq!(
        saved.events[0].command,
        "!epthook vfs_read script { .n += 1; }"
    );
    assert!(
        host.good(".session load")
            .contains("0 events set again from ")
    );
}

#[test]
fn of_another_kernel_names_are_set_and_numbers_are_not() {
    let (debuggee, mut host) = halted();
    let event = |id, command: &str, is_by_address| SavedEvent {
        id,
        is_enabled: true,
        is_by_address,
        command: command.to_owned(),
    };
    let saved = Saved {
        kernel: "Linux version 5.10 (another one)".into(),
        events: vec![
            event(0, "!epthook vfs_read", false),
            event(1, "!epthook vfs_gone", false),
            event(2, "!epthook ffffffff81001000", true),
            event(3, "!cpuid 5 script {\n .n = gone;\n}", false),
            event(4, "events c all", false),
        ],
        ..Saved::default()
    };
    let path = debuggee.socket.with_file_name("a.session");
    saved.write(&path).unwrap();
    let path = path.to_str().unwrap();
    let said = host.good(&format!(".session load {path}"));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], format!("1 event set again from {path}"));
    assert!(
        lines[1].contains("of another kernel") && lines[1].contains("5.10"),
        "{said}"
    );
    assert!(
        lines[2].starts_with("not set: `!epthook vfs_gone`: no symbol `vfs_gone`"),
        "{said}"
    );
    assert!(
        lines[3].contains("its address is a number, and the kernel is another one"),
        "{said}"
    );
    assert!(
        lines[4].starts_with("not set: `!cpuid 5 script { …`: "),
        "{said}"
    );
    assert!(lines[5].starts_with("not set: `events c all`: "), "{said}");
    assert_eq!(lines.len(), 6, "{said}");
    assert_eq!(host.good("events").lines().count(), 1);
}

#[test]
fn events_of_a_driver_that_went_are_offered_once_until_they_are_set() {
    let (debuggee, mut host) = halted();
    let saved = Saved {
        target: format!("socket {}", debuggee.socket.display()),
        driver: 77,
        events: vec![SavedEvent {
            id: 0,
            is_enabled: false,
            is_by_address: false,
            command: "!epthook vfs_read".into(),
        }],
        ..Saved::default()
    };
    drop(host);
    let place = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("standstill/sessions");
    std::fs::create_dir_all(&place).unwrap();
    let name = xxhash_rust::xxh64::xxh64(saved.target.as_bytes(), 0);
    saved.write(&place.join(format!("{name:016x}"))).unwrap();
    let (mut next, text) = Host::connect(&debuggee);
    let offer = "1 event of the session before had been set; `.session load` sets it again\n";
    assert!(text.ends_with(offer), "{text}");
    host = next;
    // Going on without them loses nothing.
    host.good("g");
    host.good("pause");
    drop(host);
    (next, _) = Host::connect(&debuggee);
    assert!(
        next.good(".session load")
            .starts_with("1 event set again from ")
    );
    assert!(next.good("events").contains("disabled"));
}

#[test]
fn nobody_there_and_nothing_kept_are_said() {
    let debuggee = Debuggee::start();
    let (mut host, _) = Host::connect(&debuggee);
    let told = host.bad(".session load");
    assert!(
        told.starts_with("nothing is kept of an earlier session with socket "),
        "{told}"
    );
    host.good(".debug close");
    assert!(host.bad(".session load x").starts_with("not connected"));
    assert!(host.bad(".session save").starts_with("not connected"));
}
