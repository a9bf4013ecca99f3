//! The program that Windows has, under Wine: connecting, breaking in and leaving over every kind of line.
//!
//! One of them, a named pipe that another program serves, is tried by every run; `cargo lab soak windows` tries all.

use crate::lab::Lab;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;
use vm_lab::host::{self, Host};
use vm_lab::machine::Options;
use vm_lab::relay::Relay;
use vm_lab::windows::{self, Wine};

/// Wants every kind of line.
const ALL: &str = "STANDSTILL_WINDOWS";
/// Any number that the machine has no port for.
const COM: u32 = 7;

/// Connects, looks around, goes on, breaks in and leaves; the machine runs on.
fn scenario(lab: &mut Lab, line: &str) {
    let started = Instant::now();
    let text = lab.run(&format!(".debug remote pause {line}"));
    let (connected, halted) = text.split_once('\n').unwrap_or_default();
    assert!(connected.starts_with("connected: Linux 6."), "{text}");
    assert!(halted.starts_with("break-in on core "), "{text}");
    let took = started.elapsed().as_secs_f32();
    assert!(!lab.guest_answers(), "the machine is not halted");
    assert!(lab.run("r").starts_with("rax="));
    assert_eq!(lab.run("~").matches("  halted   ").count(), 2);
    assert_eq!(lab.run("~ 1"), "operating core 1");
    assert!(lab.run("u @rip l 10").contains("vmlinux!"));
    assert!(lab.run("dq vmlinux!_text l 2000").lines().count() == 0x200);
    lab.go();
    assert!(lab.run("pause").starts_with("break-in on core "));
    let text = lab.run(".debug close");
    assert!(text.ends_with(" is closed; the debuggee runs"), "{text}");
    assert!(lab.guest("echo alive").contains("alive"));
    assert!(lab.refused("r").starts_with("not connected; "));
    eprintln!(
        "{line}: halted after {took:.2} s, all in {:.2} s",
        started.elapsed().as_secs_f32()
    );
}

/// What is at the other end of a pipe goes and comes back: the session goes on, and says so in one line.
fn comes_back(lab: &mut Lab, line: &str, join: impl Fn() -> Child) {
    let mut other_end = join();
    lab.run(&format!(".debug remote pause {line}"));
    let rip = lab.run("r rip");
    // A line that was open for a while.
    lab.run("sleep 0n1200");
    other_end.kill().unwrap();
    other_end.wait().unwrap();
    let mut other_end = join();
    let told = [lab.run("!cpuid 7"), lab.run("sleep 0n500")].concat();
    let said: Vec<&str> = told
        .lines()
        .filter(|it| it.starts_with("the line "))
        .collect();
    let [said] = said[..] else {
        panic!("not told once: {told}");
    };
    assert!(said.ends_with(" open again"), "{said}");
    assert_eq!(lab.run("r rip"), rip);
    lab.run("events c all");
    lab.run(".debug close");
    other_end.wait().unwrap();
}

/// Joins a pipe of Wine's with the machine's line, as a hypervisor does.
pub(crate) fn join(wine: &Wine, programs: &Path, role: &str, pipe: &str, line: &str) -> Child {
    let mut join = wine.command(&programs.join("examples/join.exe"));
    join.args([role, pipe, line]).stdin(Stdio::null());
    join.spawn().unwrap()
}

/// What the program says of a line that it only looks at.
#[track_caller]
fn is_examined(wine: &Wine, program: &Path, line: &[&str], begins: &str) {
    let output = wine
        .command(program)
        .arg("doctor")
        .args(line)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}");
    assert!(said.starts_with(begins), "{said}");
    assert_eq!(output.status.success(), begins.starts_with("fine"));
}

#[test]
fn windows_program_connects_breaks_in_and_leaves() {
    let all = std::env::var_os(ALL).is_some();
    let programs = windows::build(&host::own_profile()).unwrap();
    let mut lab = Lab::with(&Options::default());
    lab.kill_host();
    let socket = lab.machine.socket_path().to_owned();
    let (_terminal, device, _) = Relay::terminal(&socket).unwrap();
    let wine = Wine::start(&[(COM, &device)]).unwrap();
    let mut program = wine.command(&programs.join("standstill.exe"));
    program.args(["connect", "--batch", "--symbols"]);
    program.arg(lab.machine.kernel_image());
    lab.use_host(Host::run(&mut program).unwrap());

    let (_tcp, address) = Relay::tcp(&socket).unwrap();
    let address = address.to_string();
    let pipe = r"\\.\pipe\standstill-lab";
    let program = programs.join("standstill.exe");
    is_examined(&wine, &program, &["--pipe", pipe], "change: pipe ");
    is_examined(&wine, &program, &["--tcp", &address], "fine: tcp ");
    // It is not there yet, and is waited for.
    let mut other_end = join(&wine, &programs, "serve", pipe, &address);
    scenario(&mut lab, &format!("namedpipe {pipe}"));
    other_end.wait().unwrap();
    if !all {
        return;
    }
    scenario(&mut lab, &format!("tcp {address}"));
    // Another program opens it when it is there.
    let mut other_end = join(&wine, &programs, "open", pipe, &address);
    scenario(&mut lab, &format!("pipeserver {pipe}"));
    other_end.wait().unwrap();
    comes_back(&mut lab, &format!("namedpipe {pipe}"), || {
        join(&wine, &programs, "serve", pipe, &address)
    });
    comes_back(&mut lab, &format!("pipeserver {pipe}"), || {
        join(&wine, &programs, "open", pipe, &address)
    });
    scenario(&mut lab, &format!("serial 115200 COM{COM}"));
}

#[test]
fn windows_program_debugs_over_a_network() {
    let programs = windows::build(&host::own_profile()).unwrap();
    let mut lab = Lab::with(&Options {
        network: true,
        ..Options::default()
    });
    lab.kill_host();
    let network = lab.machine.network().unwrap().clone();
    let wine = Wine::start(&[]).unwrap();
    let mut program = wine.command(&programs.join("standstill.exe"));
    program.args(["connect", "--batch", "--symbols"]);
    program.arg(lab.machine.kernel_image());
    lab.use_host(Host::run(&mut program).unwrap());
    let (port, key) = (network.listens_port, network.key_file.display());
    scenario(&mut lab, &format!("net 127.0.0.1:{port} @{key}"));
}
