//! Bad input: one clear line each, and nothing has changed.

use crate::lab::Lab;
use vm_lab::machine::KernelLine;

/// First byte of the driver's code, from the list of modules.
#[track_caller]
fn driver_code(lab: &mut Lab) -> String {
    let modules = lab.run("lm m standstill");
    let mut words = modules.lines().flat_map(str::split_whitespace);
    words
        .find(|word| word.starts_with("ffffffff"))
        .unwrap_or_else(|| panic!("no address in: {modules}"))
        .to_owned()
}

/// Physical address of memory that the driver keeps for itself.
#[track_caller]
fn arena_page(lab: &mut Lab) -> u64 {
    (8..128_u64)
        .map(|chunk| chunk << 21)
        .find(|page| {
            let reply = lab.reply(&format!("!db {page:x} l 1"));
            !reply.ok && reply.output.contains("debugger itself")
        })
        .unwrap_or_else(|| panic!("all RAM can be read"))
}

#[test]
fn bad_input_gets_one_clear_line_and_changes_nothing() {
    let mut lab = Lab::halted(KernelLine::Lean);
    script_ends_at_the_line_that_fails_and_names_it(&mut lab);
    code_of_the_driver_cannot_be_written(&mut lab);
    code_that_was_patched_to_the_same_crc_is_shown_patched(&mut lab);
    what_is_missing_of_a_pool_is_what_helps(&mut lab);
    one_line_each(&mut lab);
}

/// An event that needs hundreds of objects: nothing is in use, and as many as the refusal says help.
fn what_is_missing_of_a_pool_is_what_helps(lab: &mut Lab) {
    const COMMAND: &str = "!monitor rw ffff888000000000 l 200000";
    let line = lab.refused(COMMAND);
    assert!(
        line.starts_with("c0000023: too few monitored pages: "),
        "{line}"
    );
    let help = line.split('`').nth(1).unwrap_or_default().to_owned();
    assert!(help.starts_with("prealloc monitor "), "{line}");
    lab.run(&help);
    let added = lab.run(COMMAND);
    assert!(added.contains(" and 0 monitored pages left"), "{added}");
    lab.run("events c all");
}

fn one_line_each(lab: &mut Lab) {
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    let driver = driver_code(lab);
    let arena = arena_page(lab);
    let mapped = lab.run("!pa2va 100000");
    let direct = mapped.split(' ').nth(4).unwrap_or_default().to_owned();
    let state = |lab: &mut Lab| {
        [
            lab.run("pools"),
            lab.run("events"),
            lab.run("!digest"),
            lab.run("!digest registers"),
        ]
    };
    let before = state(lab);
    let unmapped = "ffffc7ffdead0000";
    let cases: &[(String, &str)] = &[
        ("nonsense".into(), "nonsense"),
        ("!epthok vfs_read".into(), "!epthook"),
        ("db 12xy".into(), "12xy"),
        ("db".into(), "ADDRESS"),
        ("r rax = ".into(), "value"),
        (
            "!epthook no_such_symbol_anywhere".into(),
            "no_such_symbol_anywhere",
        ),
        ("prealloc regular-event zz".into(), "zz"),
        ("prealloc such-a-class 1".into(), "such-a-class"),
        (format!("db {unmapped}"), "c0000005: "),
        (format!("eb {unmapped} 1"), "c0000005: "),
        (format!("u {unmapped}"), "c0000005: "),
        (format!("!va2pa {unmapped}"), "c0000005: "),
        (format!("!epthook {unmapped}"), "c0000005: "),
        ("!db fffffffffff000 l 10".into(), "c0000056: "),
        (format!("!epthook {driver}"), "debugger itself"),
        (format!("!db {arena:x} l 10"), "debugger itself"),
        (format!("!eb {arena:x} 1"), "debugger itself"),
        (
            format!("!epthook ({direct} - 100000 + {arena:x})"),
            "debugger itself",
        ),
        ("!digest 0 l 10".into(), "c0000111: "),
        ("!digest 10 l 1000".into(), "c0000111: "),
        ("r tr = 1".into(), "can only be read"),
        ("r cr4 = ffffffffffffffff".into(), "cr4"),
        ("r nosuch".into(), "nosuch"),
        ("!cpuid 100000000".into(), "leaf"),
        ("!cpuid 1 core 7".into(), "no core 7"),
        ("!epthook vfs_read pid 7fff0".into(), "c0000040: "),
        ("~ 9".into(), "no core 9"),
        ("events c 63".into(), "no event 63"),
        ("events q 0".into(), "clear"),
        (".script /nowhere/at-all.ds".into(), "/nowhere/at-all.ds"),
    ];
    let mut wrong = Vec::new();
    for (command, clue) in cases {
        let reply = lab.reply(command);
        let line = reply.output.trim_end();
        let lines = line.lines().count();
        if reply.ok || lines != 1 || !line.contains(clue) {
            wrong.push(format!(
                "`{command}`: expected one line with {clue:?}, got {line:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(state(lab), before);
    lab.go();
    for command in ["r", "db @rip", "~ 1", "events c 63"] {
        let line = lab.refused(command);
        assert!(line.contains("running"), "`{command}`: {line}");
    }
}

/// What the host holds of kernel code is asked for by digest, which code that knows the original
/// cannot be made to fit. These five bytes, the polynomial's, leave the CRC-32 of what they are added
/// to as it is.
fn code_that_was_patched_to_the_same_crc_is_shown_patched(lab: &mut Lab) {
    const SAME_CRC: [u8; 5] = [0x41, 0x06, 0x71, 0xdb, 0x01];
    const COMMAND: &str = "db vmlinux!__x64_sys_getsid l 80";
    let bytes = |dump: &str| -> Vec<u8> {
        let columns = dump.get(19..).unwrap_or_default().replace('-', " ");
        let words = columns.split_whitespace().take(SAME_CRC.len());
        words
            .map(|word| u8::from_str_radix(word, 16).expect("a byte"))
            .collect()
    };
    let before = lab.run(COMMAND);
    let original = bytes(&before);
    let patched: Vec<u8> = original.iter().zip(SAME_CRC).map(|(a, b)| a ^ b).collect();
    let write = |lab: &mut Lab, bytes: &[u8]| {
        let words: Vec<String> = bytes.iter().map(|byte| format!("{byte:x}")).collect();
        lab.run(&format!("eb vmlinux!__x64_sys_getsid {}", words.join(" ")));
    };
    write(lab, &patched);
    assert_eq!(bytes(&lab.run(COMMAND)), patched);
    write(lab, &original);
    assert_eq!(lab.run(COMMAND), before);
}

fn code_of_the_driver_cannot_be_written(lab: &mut Lab) {
    let driver = driver_code(lab);
    // The byte that is there: should it be written after all, nothing breaks.
    let line = lab.refused(&format!("eb {driver} db({driver})"));
    assert!(line.contains("debugger itself"), "{line}");
}

fn script_ends_at_the_line_that_fails_and_names_it(lab: &mut Lab) {
    let file = lab.file("bad", "r rip\n!cpuid 1\nnonsense\n!cpuid 2\n");
    let reply = lab.reply(&format!(".script {}", file.display()));
    assert!(!reply.ok);
    assert!(reply.output.contains("line 3"), "{}", reply.output);
    assert_eq!(lab.run("events").lines().count(), 1);
    lab.run("events c all");
}
