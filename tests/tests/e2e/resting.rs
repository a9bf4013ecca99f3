//! What a halt costs: the emulator counts the instructions that each core executes while nothing is asked for.

use crate::lab::Lab;
use std::time::Duration;
use vm_lab::machine::{Done, KernelLine, Options};

/// A core that is held may execute so many instructions in a second of the machine's time.
const HELD: f64 = 1000.0;
/// A core that looks at the line all the time executes some ten million.
const SERVING: f64 = 100_000.0;
/// Instructions of each core in a second between the two.
fn rates(from: &Done, to: &Done) -> Vec<f64> {
    let seconds = to.seconds - from.seconds;
    assert!(seconds > 1.0, "{seconds} s passed for the machine");
    let pairs = from.instructions.iter().zip(&to.instructions);
    pairs
        .map(|(from, to)| (to - from) as f64 / seconds)
        .collect()
}

fn a_halt_costs_little(cpus: u32) {
    let mut lab = Lab::with(&Options {
        kernel_line: KernelLine::Lean,
        cpus,
        ..Options::default()
    });
    let stopped = lab.run("pause");
    assert!(stopped.starts_with("break-in on core 0"), "{stopped}");
    // Until the host has acknowledged the stop, it may be told again.
    std::thread::sleep(Duration::from_secs(1));
    lab.kill_host();
    let mut begin = lab.machine.save("begin").unwrap();
    lab.machine.restore(&mut begin).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let end = lab.machine.save("end").unwrap();
    let rates = rates(&begin.done().unwrap(), &end.done().unwrap());
    println!("{cpus} cores, instructions in a second of a halt: {rates:.0?}");
    let [serving, held @ ..] = &rates[..] else {
        panic!("no core was counted");
    };
    assert_eq!(held.len() + 1, cpus as usize);
    assert!(*serving < SERVING, "{serving}");
    assert!(held.iter().all(|rate| *rate < HELD), "{held:?}");
}

#[test]
fn two_cores_rest_in_a_halt() {
    a_halt_costs_little(2);
}

#[test]
fn four_cores_rest_in_a_halt() {
    a_halt_costs_little(4);
}
