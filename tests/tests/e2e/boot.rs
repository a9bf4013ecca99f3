//! The driver in the ramdisk: the machine waits for a host before anything of its real system runs.

use crate::lab::Lab;
use vm_lab::machine::Options;

/// The file that a process is about to run, in a halt at the kernel's entry of `execve`.
#[track_caller]
fn program(lab: &mut Lab) -> String {
    let text = lab.run("? printf(\"%s\\n\", poi(@rdi+70));");
    text.trim_end().to_owned()
}

#[test]
fn driver_in_the_ramdisk_stops_before_the_first_process_of_the_real_root() {
    let mut lab = Lab::with(&Options {
        load_driver: false,
        starts_driver: true,
        params: vec![("halt".into(), "1".into())],
        kernel_words: vec!["lab_root=1".into()],
        ..Options::default()
    });
    assert!(lab.run(".status").contains("state       halted"));
    let who = lab.run("? printf(\"%s\\n\", $pname);");
    assert_eq!(who, "insmod", "the ramdisk loads the driver");
    assert!(!lab.guest_answers(), "nothing runs yet");
    lab.run("!epthook __x64_sys_execve pid 1");
    lab.run("!syscall 3b pid 1 script { .execs += 1; }");
    lab.run("g");
    let mut programs = Vec::new();
    while programs.last().is_none_or(|name| name != "/sbin/init") {
        let hit = lab.run(".wait 0n60");
        assert!(hit.contains("epthook vmlinux!__x64_sys_execve"), "{hit}");
        programs.push(program(&mut lab));
        assert!(programs.len() < 4, "{programs:?}");
        if programs.last().is_some_and(|name| name != "/sbin/init") {
            lab.run("g");
        }
    }
    eprintln!("what process 1 became: {programs:?}");
    assert_eq!(lab.value(".execs"), programs.len() as u64);
    assert!(!lab.guest_answers(), "and it has not begun");
    lab.run("events c all");
    lab.run("g");
    lab.machine.wait_for_start().unwrap();
    let first = lab.guest("tr '\\0' ' ' < /proc/1/cmdline; grep ' / tmpfs ' /proc/mounts");
    assert!(
        first.contains("/sbin/init") && first.contains("root / tmpfs "),
        "{first}"
    );
    lab.run("pause");
    lab.go();
}
