//! Registers of the halted cores.

use super::{Session, SessionError};
use wire_protocol::address::CoreId;
use wire_protocol::packet::{Reply, Request};
use wire_protocol::register::{Register, RegisterSet};

impl Session {
    /// Values of `set`, in ascending order. Known ones cost nothing.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn registers(
        &mut self,
        core: CoreId,
        set: RegisterSet,
    ) -> Result<Vec<(Register, u64)>, SessionError> {
        self.must_be_halted()?;
        let missing = self.cache.missing(core, set);
        if !missing.is_empty() {
            let request = Request::ReadRegisters { core, set: missing };
            let read = self.ask("read registers", &request, |reply| match reply {
                Reply::Registers { set, values } => {
                    Some(set.iter().zip(values.iter()).collect::<Vec<_>>())
                }
                _ => None,
            })?;
            for (register, value) in read {
                self.cache.keep_register(core, register, value);
            }
        }
        Ok(set
            .iter()
            .filter_map(|register| Some((register, self.cache.register(core, register)?)))
            .collect())
    }

    /// One register of the operating core.
    ///
    /// # Errors
    /// As [`Self::registers`].
    pub fn register(&mut self, register: Register) -> Result<u64, SessionError> {
        let core = self.core();
        self.registers(core, RegisterSet::default().with(register))?
            .first()
            .map(|(_, value)| *value)
            .ok_or(SessionError::BadReply {
                what: "read registers",
                kind: 0,
            })
    }

    /// Changes one register of the operating core.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn write_register(&mut self, register: Register, value: u64) -> Result<(), SessionError> {
        self.must_be_halted()?;
        let core = self.core();
        let request = Request::WriteRegister {
            core,
            register,
            value,
        };
        self.cache.forget_register(core, register);
        self.ask("write register", &request, |reply| {
            matches!(reply, Reply::Done).then_some(())
        })
    }
}

impl Session {
    /// The next read of a core's registers asks the debuggee, whatever is known.
    pub fn forget_registers(&mut self, core: CoreId) {
        self.cache.forget_registers(core);
    }
}
