//! The line's rate: up to what it carries, down again when it stops, and found where it was not looked for.
//!
//! The host has a pseudo-terminal open as a serial port; between it and the debuggee's UART is a cable which shows each end
//! what a real receiver at its rate would see.

use crate::hosts::said_until;
use crate::lab::{Lab, assert_log_is_clean};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use vm_lab::host::{self, Host};
use vm_lab::line::Cable;
use vm_lab::machine::Options;
use vm_lab::relay::Relay;

struct Serial<'l> {
    lab: &'l mut Lab,
    program: PathBuf,
    device: PathBuf,
    terminal: OwnedFd,
}

impl Serial<'_> {
    /// Bytes at higher rates are damaged from now on.
    fn let_through(&mut self, highest_hz: u32) {
        let terminal = self.terminal.try_clone().unwrap();
        self.lab.machine.set_cable(Cable {
            terminal,
            highest_hz,
        });
    }

    /// A host program that is not connected yet.
    fn start_host(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["connect", "--batch", "--symbols"]);
        command.arg(self.lab.machine.kernel_image());
        self.lab.use_host(Host::run(&mut command).unwrap());
    }

    #[track_caller]
    fn connect(&mut self, how: &str, baud: u32) -> String {
        let device = self.device.display();
        let text = self
            .lab
            .run(&format!(".debug remote {how} serial {baud} {device}"));
        assert!(text.contains("connected: Linux 6."), "{text}");
        text
    }

    /// Waits until `.status` says this of the line, and tells how long that took and what was said meanwhile.
    #[track_caller]
    fn await_rate(&mut self, said: &str) -> String {
        let started = Instant::now();
        let mut told = String::new();
        loop {
            let status = self.lab.run(".status");
            told.push_str(&status);
            let line = status.lines().find(|line| line.starts_with("line "));
            let line = line.unwrap_or_default();
            if line.ends_with(said) {
                eprintln!("after {:.2} s: {line}", started.elapsed().as_secs_f32());
                return told;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{line}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a host program with these arguments says of the line, which must be in time; then it is killed.
    #[track_caller]
    fn words_about_line(&self, arguments: &[&str]) -> String {
        let started = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(["connect", "--serial"]).arg(&self.device);
        command.args(arguments);
        let said = said_until(&mut command, "what comes is no message ");
        eprintln!("after {:.2} s: {said}", started.elapsed().as_secs_f32());
        said
    }
}

fn serial<'l>(lab: &'l mut Lab, socket: &Path) -> (Relay, Serial<'l>) {
    let (relay, device, terminal) = Relay::terminal(socket).unwrap();
    let program = host::build().unwrap();
    let serial = Serial {
        lab,
        program,
        device,
        terminal,
    };
    (relay, serial)
}

#[test]
fn line_goes_as_fast_as_it_can_and_a_wrong_rate_is_named() {
    let mut lab = Lab::with(&Options {
        params: vec![("baud".to_owned(), "9600".to_owned())],
        ..Options::default()
    });
    lab.kill_host();
    let socket = lab.machine.socket_path().to_owned();
    let (_relay, mut serial) = serial(&mut lab, &socket);
    serial.let_through(57_600);

    // Upwards, while the guest runs.
    serial.start_host();
    serial.connect("", 9600);
    let at_most = "at 9600 baud (open; now at 57600 baud; 115200 did not get through)";
    serial.await_rate(at_most);
    let halted = serial.lab.run("pause");
    assert!(halted.starts_with("break-in on core "), "{halted}");
    let code = serial.lab.run("dq vmlinux!_text l 1000");
    let rip = serial.lab.run("r rip");

    // The host is killed, and the next one finds the debuggee halted, at whatever rate it is, and goes up again.
    serial.lab.kill_host();
    serial.start_host();
    let text = serial.connect("", 9600);
    assert!(
        text.ends_with("; halted") || text.contains("; halted\n"),
        "{text}"
    );
    serial.await_rate(at_most);
    assert_eq!(serial.lab.run("r rip"), rip);

    // It carries less from now on.
    serial.let_through(19_200);
    let started = Instant::now();
    let again = serial.lab.run("dq (vmlinux!_text + 0) l 1000");
    eprintln!("after {:.2} s: the answer", started.elapsed().as_secs_f32());
    let told =
        again.clone() + "\n" + &serial.await_rate("now at 19200 baud; 38400 did not get through)");
    assert!(again.contains(&code), "{again}");
    let lowered = "the line does not carry 57600 baud any more, and goes on at 9600\n";
    assert!(told.contains(lowered), "{told}");
    assert_eq!(serial.lab.run("r rip"), rip);
    serial.lab.run(".debug close");

    // Another rate than the driver's.
    serial.let_through(115_200);
    let started = Instant::now();
    let mut told = serial.connect("", 115_200);
    told += &serial.lab.run(".status");
    let named = "the debuggee's end of the line is at 9600 baud, not 115200, and is talked to at its own; \
                 say --baud 9600, or load the driver with baud=115200";
    assert!(told.contains(named), "{told}");
    eprintln!("after {:.2} s: {named}", started.elapsed().as_secs_f32());
    serial.await_rate("at 115200 baud (open)");
    serial.lab.run(".debug close");
    serial.lab.kill_host();

    // Nothing gets through at any rate, and a rate that is not to be changed.
    serial.let_through(0);
    let said = serial.words_about_line(&["--baud", "38400"]);
    assert!(
        said.starts_with("what comes is no message at 38400 baud, nor at 7 other speeds; "),
        "{said}"
    );
    serial.let_through(115_200);
    let said = serial.words_about_line(&["--baud", "38400", "--baud-fixed"]);
    assert!(
        said.starts_with("what comes is no message at 38400 baud; with --baud-fixed no other "),
        "{said}"
    );
    assert!(lab.guest("echo alive").contains("alive"));
    assert_log_is_clean(&lab.machine.kernel_log().unwrap());
}
