//! What single steps of a core find is what the processor's own single step finds, and the program that is stepped sees
//! nothing of it.

use crate::lab::Lab;
use serde_json::Value;
use std::collections::BTreeMap;
use vm_lab::machine::KernelLine;

/// Registers in the order in which the program hashes them.
const HASHED: [&str; 17] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15", "rflags",
];
/// Of the flags, those that instructions compute, and the direction.
const FLAGS: u64 = 0xcd5;

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{text}"))
}

/// The program waits to be let go, and says these words when it begins.
struct Awkward {
    lab: Lab,
    words: BTreeMap<String, u64>,
    /// Where it stood after each instruction under its own kernel's single step, and the hash of its registers.
    reference: Vec<(u64, u64)>,
}

impl Awkward {
    /// Halted at the first of the instructions.
    fn start(mut lab: Lab) -> Self {
        lab.guest("rm -f /tmp/awkward");
        lab.guest_background("lab-awkward > /said");
        lab.guest("until grep -q begin /said; do usleep 20000; done");
        let said = lab.guest("cat /said");
        let words: Vec<&str> = said.split_whitespace().collect();
        let words = words
            .chunks_exact(2)
            .map(|pair| (pair[0].to_owned(), hex(pair[1])))
            .collect::<BTreeMap<_, _>>();
        let reference = lab.guest("cat /awkward");
        let reference = reference
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(rip, hash)| (hex(rip), hex(hash)))
            .collect();
        lab.run("pause");
        lab.run(&format!(
            "bp {:x} pid {:x} once",
            words["begin"], words["process"]
        ));
        lab.run("g");
        lab.guest_background("touch /tmp/awkward");
        let at = lab.run(".wait 0n60");
        assert!(at.starts_with("breakpoint "), "{at}");
        Self {
            lab,
            words,
            reference,
        }
    }

    /// What the program says at its end.
    fn end(mut self) -> (Lab, String) {
        self.lab.run("bc all");
        self.lab.go();
        let said = self.lab.guest("wait; tail -n 1 /said");
        (self.lab, said.trim().to_owned())
    }
}

fn hash(registers: &BTreeMap<String, u64>) -> u64 {
    HASHED.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, name| {
        let value = registers[*name];
        let value = if *name == "rflags" {
            value & FLAGS
        } else {
            value
        };
        (hash ^ value).wrapping_mul(0x100_0000_01b3)
    })
}

/// Where the program stood, of a trace that goes through the kernel as well: an instruction that was interrupted or faulted
/// is come to once more.
fn in_program(trace: &[u64]) -> Vec<u64> {
    let mut places: Vec<u64> = Vec::new();
    let mut was_in_kernel = false;
    for place in trace {
        if place >> 47 != 0 {
            was_in_kernel = true;
            continue;
        }
        if !(was_in_kernel && places.last() == Some(place)) {
            places.push(*place);
        }
        was_in_kernel = false;
    }
    places
}

#[test]
fn steps_find_what_the_processors_own_single_step_finds() {
    let mut lab = Lab::boot(KernelLine::Lean);
    // Without anybody who steps.
    lab.guest("touch /tmp/awkward; lab-awkward > /alone");
    let alone = lab.guest("tail -n 1 /alone").trim().to_owned();
    assert!(alone.starts_with("saw 0 own traps "), "{alone}");

    // With registers, as far as nothing leads into the kernel.
    let mut it = Awkward::start(lab);
    let mut registers = BTreeMap::new();
    for name in HASHED {
        registers.insert(name.to_owned(), it.lab.value(&format!("@{name}")));
    }
    let (pure, behind) = (it.words["pure"], it.words["behind"]);
    // The processor does not trap behind an instruction that loads SS; who steps by other means comes there.
    let expected: Vec<(u64, u64)> = it.reference.clone();
    let mut found = vec![(it.words["begin"], hash(&registers))];
    let mut rip = it.words["begin"];
    while rip != pure {
        let stepped = it.lab.answer("ir 0n64");
        let lines = stepped["lines"].as_array().expect("lines");
        let changes = lines.iter().map(|line| &line["registers"]);
        let changes: Vec<&Value> = changes.chain([&stepped["registers"]]).collect();
        let trace = stepped["trace"].as_array().expect("a trace");
        assert_eq!(trace.len(), changes.len());
        for (place, changed) in trace.iter().zip(changes) {
            for register in changed.as_array().expect("registers") {
                let name = register["name"].as_str().expect("a name").to_owned();
                registers.insert(name, hex(register["value"].as_str().expect("a value")));
            }
            let before = rip;
            rip = hex(place.as_str().expect("an address"));
            assert_eq!(rip >> 47, 0, "interrupts wait, and all pages are there");
            if rip != behind || before == rip {
                found.push((rip, hash(&registers)));
            }
            if rip == pure {
                break;
            }
        }
    }
    let count = found.len();
    let distinct = |places: &[(u64, u64)]| {
        let mut places: Vec<u64> = places.iter().map(|(place, _)| *place).collect();
        places.sort_unstable();
        places.dedup();
        places.len()
    };
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "step {number}");
    }
    assert_eq!(expected[count - 1].0, pure);
    println!(
        "{count} steps at {} places with the registers of the processor's own",
        distinct(&found)
    );
    let (lab, said) = it.end();
    assert_eq!(said, alone);

    // Through the kernel as well.
    let mut it = Awkward::start(lab);
    let end = it.words["end"];
    let mut places = vec![it.words["begin"]];
    let mut instructions = 0;
    while !places.contains(&end) {
        let stepped = it.lab.answer("i 0n20000");
        assert_eq!(stepped["halt"]["cause"]["end"], "count", "{stepped}");
        let trace = stepped["trace"].as_array().expect("a trace");
        instructions += trace.len();
        places.extend(trace.iter().map(|at| hex(at.as_str().expect("an address"))));
        assert!(instructions < 1_000_000);
    }
    let behind = it.words["behind"];
    let mut found = in_program(&places);
    let last = found
        .iter()
        .position(|place| *place == end)
        .expect("it ends");
    found.truncate(last + 1);
    found.retain(|place| *place != behind);
    let expected: Vec<u64> = it.reference.iter().map(|(place, _)| *place).collect();
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "step {number}");
    }
    assert_eq!(found.len(), expected.len());
    assert!(distinct(&it.reference) >= 300);
    println!(
        "{} steps at {} places, {instructions} instructions with those of the kernel",
        found.len(),
        distinct(&it.reference)
    );
    let (_, said) = it.end();
    assert_eq!(said, alone, "the program sees nothing of it");
}
