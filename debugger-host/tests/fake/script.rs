//! Programs on the made-up debuggee: the real interpreter over its registers and memory.

use super::{KERNEL, MEMORY_BYTES, Machine};
use std::sync::atomic::AtomicU64;
use wire_protocol::bytecode::routine::Pseudo;
use wire_protocol::bytecode::{Decoded, GLOBAL_BYTES, Verified};
use wire_protocol::limits;
use wire_protocol::packet::{
    Arguments, Batch, Content, Failure, FailureCause, Message, Notice, Source,
};
use wire_protocol::register::Register;
use wire_protocol::script::{self, Ask, End, Workspace};

/// Operations of one run.
pub(crate) const BUDGET: u64 = 10_000;

pub(super) fn globals() -> Vec<AtomicU64> {
    (0..GLOBAL_BYTES / 8).map(|_| AtomicU64::new(0)).collect()
}

/// A core while it runs a program.
struct Running<'m> {
    machine: &'m mut Machine,
    core: usize,
    /// Site, and content, as a batch has it.
    records: Vec<Vec<u8>>,
    pauses: bool,
}

impl Running<'_> {
    fn place(address: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let from = address.checked_sub(KERNEL)?;
        (from + len as u64 <= MEMORY_BYTES).then(|| from as usize..from as usize + len)
    }
}

impl script::Machine for Running<'_> {
    fn register(&mut self, register: Register) -> u64 {
        self.machine.registers[self.core][&(register as u8)]
    }

    fn set_register(&mut self, register: Register, value: u64) -> bool {
        self.machine.registers[self.core].insert(register as u8, value);
        true
    }

    fn pseudo(&mut self, pseudo: Pseudo) -> u64 {
        match pseudo {
            Pseudo::Core => self.core as u64,
            Pseudo::Pid => 0x1c,
            _ => 0,
        }
    }

    fn read_virtual(&mut self, address: u64, out: &mut [u8]) -> bool {
        let Some(place) = Self::place(address, out.len()) else {
            return false;
        };
        out.copy_from_slice(&self.machine.memory[place]);
        true
    }

    fn write_virtual(&mut self, address: u64, bytes: &[u8]) -> bool {
        let Some(place) = Self::place(address, bytes.len()) else {
            return false;
        };
        self.machine.memory[place].copy_from_slice(bytes);
        true
    }

    fn read_physical(&mut self, address: u64, out: &mut [u8]) -> bool {
        self.read_virtual(address.wrapping_add(KERNEL), out)
    }

    fn write_physical(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.write_virtual(address.wrapping_add(KERNEL), bytes)
    }

    fn virtual_to_physical(&mut self, address: u64) -> Option<u64> {
        address.checked_sub(KERNEL)
    }

    fn physical_to_virtual(&mut self, address: u64) -> Option<u64> {
        address.checked_add(KERNEL)
    }

    fn globals(&self) -> &[AtomicU64] {
        &self.machine.globals
    }

    fn record(&mut self, site: u32, arguments: Arguments<'_>) {
        let mut bytes = [0; limits::RECORD_BYTES];
        let content = Content::Print { site, arguments };
        let len = content.encode_into(&mut bytes).expect("fits");
        self.records.push(bytes[..len].to_vec());
    }

    fn branch(&mut self, _: usize) -> Option<wire_protocol::branch::Branch> {
        None
    }

    fn ask(&mut self, ask: Ask) -> bool {
        self.pauses |= ask == Ask::Pause;
        true
    }

    fn tsc(&mut self) -> u64 {
        0x7777
    }

    fn relax(&mut self) {}

    fn sleep_us(&mut self, _: u32) {}
}

/// What a run left.
pub(super) struct Ran {
    pub(super) value: u64,
    pub(super) failure: Option<Failure>,
    pub(super) pauses: bool,
}

impl Machine {
    /// Runs a program; `say` gets each notice that it leads to.
    pub(super) fn run(
        &mut self,
        program: &[u8],
        core: usize,
        source: Source,
        times: u32,
        mut say: impl FnMut(&Message<'_>),
    ) -> Ran {
        let verified = Verified::new(program).expect("the host compiles good programs");
        let mut memory = vec![0; verified.decoded_bytes().0];
        let decoded = Decoded::new(&verified, &mut memory).expect("as much as it needs");
        let mut locals = vec![0; verified.program().local_bytes()];
        let mut workspace = Box::new(Workspace::new());
        let mut running = Running {
            machine: self,
            core,
            records: Vec::new(),
            pauses: false,
        };
        let mut run = || script::run(&decoded, &mut locals, &mut workspace, &mut running, BUDGET);
        let mut outcome = run();
        for _ in 1..times {
            outcome = run();
        }
        let Running {
            mut records,
            pauses,
            ..
        } = running;
        let failure = match outcome.end {
            End::OverBudget { at } => Some(Failure {
                cause: FailureCause::Operations,
                at,
                detail: BUDGET,
            }),
            _ => None,
        };
        if let (Some(failure), Source::Event(_)) = (failure, source) {
            let mut bytes = [0; 64];
            let len = Content::Failure(failure)
                .encode_into(&mut bytes)
                .expect("fits");
            records.push(bytes[..len].to_vec());
        }
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let mut buffer = [0; limits::BATCH_BYTES];
            let mut batch = Batch::new(&mut buffer);
            let fitting = rest
                .iter()
                .take_while(|record| batch.push(source, 1, 0, record).is_ok())
                .count();
            rest = &rest[fitting..];
            let core = wire_protocol::address::CoreId(core as u16);
            let messages = batch.finish(core).expect("a record fits");
            say(&Message::Notice(Notice::Messages(messages)));
        }
        Ran {
            value: outcome.value().unwrap_or_default(),
            failure,
            pauses,
        }
    }
}
