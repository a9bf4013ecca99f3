//! A script that is compiled, verified and ready to run.

use super::Flat;
use debugger_host::script::compile;
use debugger_host::script::trial::Names;
use wire_protocol::bytecode::{Decoded, Program as Parts, Verified};
use wire_protocol::script::{Outcome, Workspace, run};

pub(super) struct Program {
    bytes: Vec<u8>,
    decoded: Vec<u8>,
    locals: Vec<u8>,
    workspace: Box<Workspace>,
}

impl Program {
    pub(super) fn new(text: &str) -> Self {
        let compiled = compile(text, "bench", &[], &mut Names::default());
        let compiled = compiled.unwrap_or_else(|why| panic!("{text}: {why}"));
        let verified = Verified::new(&compiled.bytes).expect("verifies");
        let (needed, kept) = verified.decoded_bytes();
        let mut decoded = vec![0; needed];
        verified
            .decode_into(&mut decoded)
            .expect("as much as it needs");
        decoded.truncate(kept);
        Self {
            decoded,
            bytes: compiled.bytes,
            locals: vec![0; compiled.local_bytes],
            workspace: Box::new(Workspace::new()),
        }
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn run(&mut self, flat: &mut Flat) -> Outcome {
        let program = Parts::parse(&self.bytes).expect("it was verified");
        let program = Decoded::again(program, &self.decoded).expect("it was decoded");
        run(
            &program,
            &mut self.locals,
            &mut self.workspace,
            flat,
            u64::MAX,
        )
    }
}
