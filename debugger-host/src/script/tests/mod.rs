//! Tests of the compiler, from text to a verified program.

mod conformance;
mod errors;
mod evaluator;
mod language;
mod of_c;
mod oracle;
mod programs;
mod random;
mod sizes;
mod typed;
mod types;

use super::problem::Explained;
use super::trial::{OPERATIONS, World};
use super::{Compiled, Environment, compile};
use std::collections::HashMap;
use std::io;
use wire_protocol::bytecode::Verified;
use wire_protocol::bytecode::routine::Pseudo;
use wire_protocol::register::Register;
use wire_protocol::script::Outcome;

/// A debuggee that is made up.
#[derive(Default)]
pub(super) struct MadeUp {
    globals: HashMap<String, (u16, u32)>,
    end: u16,
    files: HashMap<String, String>,
}

impl MadeUp {
    fn with_file(mut self, name: &str, text: &str) -> Self {
        self.files.insert(name.into(), text.into());
        self
    }
}

impl Environment for MadeUp {
    fn symbol(&mut self, name: &str) -> Option<u64> {
        match name {
            "nt!do_sys_openat2" | "do_sys_openat2" => Some(0xffff_ffff_8134_a350),
            "vmlinux!jiffies.part.0" => Some(0x1234),
            "add" => Some(0x7777),
            "g" => Some(0x2222),
            _ => None,
        }
    }

    fn similar(&mut self, name: &str) -> Option<String> {
        name.contains("openat").then(|| "do_sys_openat2".into())
    }

    fn global(&mut self, name: &str, len_bytes: u32) -> Result<u16, String> {
        let next = self.end;
        let entry = self.globals.entry(name.into()).or_insert((next, len_bytes));
        if entry.1 != len_bytes {
            return Err(format!("it has {:x} bytes", entry.1));
        }
        if entry.0 == next {
            self.end += u16::try_from(len_bytes).map_err(|_| "too large")?;
        }
        Ok(entry.0)
    }

    fn file(&self, path: &str) -> io::Result<String> {
        let text = self.files.get(path).cloned();
        text.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
}

fn arguments() -> Vec<String> {
    ["test.ds", "10", "nt!do_sys_openat2+8", "x y"]
        .map(String::from)
        .into()
}

/// Compiles, and has the driver's verifier accept the program.
pub(super) fn try_compile(text: &str) -> Result<Compiled, Explained> {
    let compiled = compile(text, "test.ds", &arguments(), &mut MadeUp::default())?;
    verified(text, &compiled);
    Ok(compiled)
}

fn verified(text: &str, compiled: &Compiled) {
    if let Err(why) = Verified::new(&compiled.bytes) {
        panic!(
            "{text}\nis refused: {why:?}, {:?}",
            compiled.lines.at(why.at)
        );
    }
}

pub(super) fn good(text: &str) -> Compiled {
    try_compile(text).unwrap_or_else(|why| panic!("{text}\n{why}\n{}", why.mark()))
}

/// Runs a script on a made-up core; what it printed, and how it ended.
pub(super) fn run_on(world: &mut World, text: &str) -> (String, Outcome) {
    let compiled = good(text);
    let mut locals = vec![0; compiled.local_bytes];
    let mut out = Vec::new();
    let outcome = world.run(&compiled.bytes, &mut locals, OPERATIONS, &mut out);
    let out = String::from_utf8(out).expect("text");
    (out, outcome.expect("verified"))
}

/// A core with something in its registers and memory.
pub(super) fn world() -> World {
    let mut world = World::default();
    world.set_register(Register::Rax, 0x1122_3344_5566_7788);
    world.set_register(Register::Rsp, 0x8000);
    world.set_register(Register::Rip, 0x4000);
    world.set_register(Register::Rflags, 0x246);
    world.set_pseudo(Pseudo::Pid, 0x1a0);
    world.set_pseudo(Pseudo::Context, 0xc0de);
    let mut memory: Vec<u8> = (0x10..0x90).collect();
    memory.extend(b"hello\0");
    memory.extend("wörld\0".encode_utf16().flat_map(u16::to_le_bytes));
    memory.resize(0x200, 0);
    world.put_memory(0x8000, memory).unwrap();
    world
}

/// What a script prints, with nothing gone wrong.
pub(super) fn printed(text: &str) -> String {
    let (out, outcome) = run_on(&mut world(), text);
    assert_eq!(outcome.faults, 0, "{text}: {outcome:?}");
    assert!(outcome.value().is_some(), "{text}: {outcome:?}");
    out
}

/// Each script prints this.
pub(super) fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(printed(text), *expected, "{text}");
    }
}
