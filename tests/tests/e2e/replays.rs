//! A recording plays the host to a real debuggee, which answers as the recorded one did.

use crate::lab::Lab;
use std::path::Path;
use std::process::{Command, Output};
use vm_lab::machine::{Machine, Options};

/// Which command differs, and how, once there is an event that was not there then.
const DIFFERENCE: &str =
    "(in the command `!epthook vmlinux!__x64_sys_getsid`) in its results ([0] then, [";

/// A short session with something of every kind: questions, changes, refusals, scripts, and halts that were asked for and
/// that the guest brought about.
const COMMANDS: [&str; 34] = [
    "pause",
    "~",
    "r",
    "r all",
    "u @rip l 4",
    "dq vmlinux!_text l 40",
    "db 0 l 10",
    "!va2pa vmlinux!_text",
    "!digest 100000 l 100000",
    "lm",
    "!epthook vmlinux!__x64_sys_getsid",
    "!epthook vmlinux!__x64_sys_getsid+1",
    "!cpuid 7 condition { @rcx == 0 } script { printf(\"%llx\\n\", @rax); }",
    "!monitor w 0 l ffffffffffff",
    "!crwrite 4 pid 1",
    "!lbr",
    "events",
    "pools",
    "prealloc epthook 3",
    "? .count = 5;",
    "? printf(\"%d\\n\", .count / 0);",
    "r @rbx = @rbx",
    "eb @rsp @@rsp",
    "g",
    ".wait 0n30",
    "r rip",
    "event_sc on",
    "events d 1",
    "events c 0",
    "events e 1",
    "events",
    "events c all",
    "g",
    "flush",
];

fn play(lab: &Lab, file: &Path) -> Output {
    let mut command = Command::new(Machine::host_program().unwrap());
    command.args(["replay", "--as-host", "--socket"]);
    command.arg(lab.machine.socket_path()).arg(file);
    command.output().unwrap()
}

#[test]
fn a_recording_plays_the_host_to_a_driver_that_was_loaded_anew() {
    let options = Options {
        load_driver: false,
        ..Options::default()
    };
    let mut lab = Lab::with(&options);
    lab.load_driver(&[]);
    // A guest that calls what is hooked, again and again.
    lab.guest_background("while true; do lab-calls 1 1; usleep 100000; done");
    let file = lab.machine.socket_path().with_file_name("recording");
    lab.use_host(lab.machine.record_host(&file).unwrap());
    for command in COMMANDS {
        eprintln!("{command}: {}", lab.reply(command).output.trim_end());
    }
    lab.run(".debug close");
    lab.kill_host();

    // The driver that was recorded is gone, and with it its halts and events.
    lab.unload_driver();
    lab.load_driver(&[]);
    let output = play(&lab, &file);
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    eprintln!("{said}{complaint}");
    assert!(output.status.success() && said.contains(" answers as it was recorded: "));

    // A debuggee that is not as it was then is told from that one.
    lab.connect();
    lab.run("pause");
    lab.run("!epthook vmlinux!panic");
    lab.run("g");
    lab.kill_host();
    let output = play(&lab, &file);
    let complaint = String::from_utf8(output.stderr).unwrap();
    eprintln!("{complaint}");
    assert!(!output.status.success());
    assert!(complaint.contains(DIFFERENCE));
}
