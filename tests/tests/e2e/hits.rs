//! No hit is lost, and nobody but the processor sees the hook.

use crate::lab::Lab;
use std::time::Instant;
use vm_lab::machine::KernelLine;

/// Hits of event `id` in the list of events.
#[track_caller]
fn hits(lab: &mut Lab, id: u32) -> u64 {
    let list = lab.run("events");
    list.lines()
        .find(|line| line.trim_start().starts_with(&format!("{id} ")))
        .and_then(|line| line.strip_suffix(" hits")?.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no hits of event {id} in:\n{list}"))
}

/// Two programs call a hooked function, one on each core; each hit is a halt that `g` ends.
fn no_hit_is_lost(kernel_line: KernelLine, calls_per_core: u64) {
    let mut lab = Lab::boot(kernel_line);
    lab.load_probe();
    let all = 2 * calls_per_core;
    // The second count: a kprobe on a function that each call of the hooked one calls once.
    lab.guest("echo __do_sys_getsid > /sys/module/lab_probe/parameters/count || echo security_task_getsid > /sys/module/lab_probe/parameters/count");
    lab.run("pause");
    let added = lab.run("!epthook vmlinux!__x64_sys_getsid");
    assert!(added.starts_with("event 0: "), "{added}");
    lab.run("g");
    lab.guest_background(&format!(
        "lab-calls {calls_per_core} 0 & lab-calls {calls_per_core} 1 & wait; echo all called"
    ));
    let started = Instant::now();
    let mut on_core = [0_u64; 2];
    for hit in 0..all {
        let halt = lab.run(".wait 0n30");
        let core = [0, 1]
            .into_iter()
            .find(|core| halt.contains(&format!("event 0 hit on core {core}")));
        match core {
            Some(core) => on_core[core] += 1,
            None => panic!("hit {hit} of {all}: {halt}"),
        }
        lab.run("g");
    }
    eprintln!(
        "{all} hits in {:.1} s, {on_core:?} on each core",
        started.elapsed().as_secs_f32()
    );
    let said = lab.guest("wait");
    assert_eq!(on_core, [calls_per_core; 2]);
    for core in 0..2 {
        let line = format!("calls {calls_per_core} core {core}");
        assert!(said.contains(&line), "{said}");
    }
    assert_eq!(hits(&mut lab, 0), all);
    let count = lab.guest("cat /sys/module/lab_probe/parameters/count");
    assert!(count.trim().ends_with(&format!(" {all}")), "{count}");
    // Nothing is left over that would still stop.
    lab.run("pause");
    assert!(lab.run("~").contains("halted"));
    lab.run("g");
}

#[test]
fn hits_on_two_cores_at_once_are_all_reported() {
    no_hit_is_lost(KernelLine::Lean, 5000);
}

#[test]
fn hits_on_two_cores_of_the_stock_kernel_are_all_reported() {
    no_hit_is_lost(KernelLine::Stock, 1000);
}
