//! Tests of the compiler, from text to a verified program.

mod errors;
mod random;
mod sizes;

use super::problem::Explained;
use super::{Compiled, Environment, compile};
use std::collections::HashMap;
use std::io;
use wire_protocol::bytecode::Verified;

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
