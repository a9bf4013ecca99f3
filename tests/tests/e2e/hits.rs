//! No hit is lost, and nobody but the processor sees the hook.

use crate::lab::Lab;
use std::time::Instant;
use vm_lab::machine::KernelLine;

/// Hits of event 0 in the list of events.
#[track_caller]
fn hits(lab: &mut Lab) -> u64 {
    let list = lab.run("events");
    list.lines()
        .find(|line| line.trim_start().starts_with("0 "))
        .and_then(|line| line.strip_suffix(" hits")?.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no hits of event 0 in:\n{list}"))
}

/// Two programs call a hooked function, one on each core; each hit is a halt that `g` ends.
fn no_hit_is_lost(kernel_line: KernelLine, calls_per_core: u64) {
    let mut lab = Lab::boot(kernel_line);
    lab.load_probe();
    let all = 2 * calls_per_core;
    // The second count is the kernel's own, of calls of the same function.
    let count = "/sys/module/lab_probe/parameters/count";
    lab.guest(&format!("echo __x64_sys_getsid > {count}"));
    lab.run("pause");
    let added = lab.run("!epthook vmlinux!__x64_sys_getsid");
    assert!(added.starts_with("event 0: "), "{added}");
    lab.run("g");
    lab.guest_background(&format!(
        "lab-calls {calls_per_core} 0 & lab-calls {calls_per_core} 1 & wait; echo all called"
    ));
    let started = Instant::now();
    let mut on_core = [0_u64; 2];
    let mut news = String::new();
    for hit in 0..all {
        // A halt that comes at once is told with the answer to `g`.
        if news.is_empty() {
            news = lab.run(".wait 0n30");
        }
        let core = (0..2).find(|core| news.contains(&format!("event 0 hit on core {core}")));
        match core {
            Some(core) => on_core[core] += 1,
            None => panic!("hit {hit} of {all}: {news}"),
        }
        news = lab.run("g");
    }
    let seconds = started.elapsed().as_secs_f32();
    eprintln!("{all} hits in {seconds:.1} s, on each core {on_core:?}");
    assert_eq!(news, "", "more hits than calls");
    assert_eq!(on_core, [calls_per_core; 2]);
    let said = lab.guest("wait");
    for core in 0..2 {
        let line = format!("calls {calls_per_core} core {core}");
        assert!(said.contains(&line), "{said}");
    }
    assert_eq!(hits(&mut lab), all);
    let counted = lab.guest(&format!("cat {count}"));
    assert_eq!(counted.trim(), format!("__x64_sys_getsid {all}"));
    lab.guest(&format!("echo - > {count}"));
    // Once cleared, the function is called without a stop.
    lab.run("pause");
    lab.run("events c all");
    lab.run("g");
    assert!(lab.guest("lab-calls 100 1").contains("calls 100 core 1"));
}

#[test]
fn hits_on_two_cores_at_once_are_all_reported() {
    no_hit_is_lost(KernelLine::Lean, 5000);
}

#[test]
fn hits_on_two_cores_of_the_stock_kernel_are_all_reported() {
    no_hit_is_lost(KernelLine::Stock, 1000);
}

/// Bytes of a line of `db`.
fn dumped(line: &str) -> Vec<u8> {
    line.replace('-', " ")
        .split_whitespace()
        .skip(1)
        .map_while(|word| u8::from_str_radix(word, 16).ok())
        .take(16)
        .collect()
}

/// Where `/proc/kcore` has the byte at `address`.
#[track_caller]
fn offset_in_core_file(lab: &mut Lab, address: u64) -> u64 {
    let text = lab.guest("hexdump -v -n 4096 -e '1/1 \"%02x\"' /proc/kcore");
    let digits = text.trim().as_bytes();
    let word = |at: usize, len: usize| {
        digits[2 * at..2 * (at + len)]
            .chunks(2)
            .rev()
            .fold(0_u64, |value, pair| {
                let pair = std::str::from_utf8(pair).unwrap_or_default();
                value << 8 | u64::from_str_radix(pair, 16).unwrap_or_default()
            })
    };
    // An ELF header of 64 bytes, then program headers of 56: offset at 8, address at 16, length at 40.
    (0..word(56, 2) as usize)
        .map(|index| 64 + index * 56)
        .find_map(|header| {
            let within = address.checked_sub(word(header + 16, 8))?;
            (within < word(header + 40, 8)).then(|| word(header + 8, 8) + within)
        })
        .unwrap_or_else(|| panic!("{address:x} is not in /proc/kcore"))
}

fn hooked_page_reads_as_before(kernel_line: KernelLine) {
    let mut lab = Lab::halted(kernel_line);
    let line = lab.run("db vmlinux!__x64_sys_getsid l 10");
    let before = dumped(&line);
    assert_eq!(before.len(), 16, "{line}");
    let address = lab.run("? vmlinux!__x64_sys_getsid");
    let digits = address.split(' ').next().unwrap_or_default();
    let address = u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{address}"));
    let physical = lab.run("!va2pa vmlinux!__x64_sys_getsid");
    let physical = physical.split(' ').nth(4).unwrap_or_default().to_owned();
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    assert_eq!(dumped(&lab.run("db vmlinux!__x64_sys_getsid l 10")), before);
    assert_eq!(dumped(&lab.run(&format!("!db {physical} l 10"))), before);
    lab.run("g");
    let offset = offset_in_core_file(&mut lab, address);
    let read = lab.guest(&format!(
        "dd if=/proc/kcore bs=1 skip={offset} count=16 2>/dev/null | hexdump -v -e '1/1 \"%02x \"'"
    ));
    assert_eq!(dumped(&format!("kcore {read}")), before);
    // It was hooked all the time.
    lab.guest_background("lab-calls 1 1");
    assert!(lab.run(".wait 0n30").contains("event 0 hit on core 1"));
    assert_eq!(dumped(&lab.run("db @rip l 10")), before);
    lab.go();
}

#[test]
fn hooked_page_shows_its_original_bytes_to_guest_and_debugger() {
    hooked_page_reads_as_before(KernelLine::Lean);
}

#[test]
fn hooked_page_of_the_stock_kernel_shows_its_original_bytes() {
    hooked_page_reads_as_before(KernelLine::Stock);
}
