//! Where a hook goes: whether an instruction starts there, as far as the symbols tell where functions start. Called
//! when an event is added.

use crate::answer::{Address, Warning};
use crate::command::{CommandError, Debugger};
use crate::disasm::{self, INSTRUCTION_BYTES};
use wire_protocol::limits::LEAD_BYTES;

/// An address farther from the symbol before it is not looked at: so long is no function.
const FAR_BYTES: u64 = 0x1_0000;
/// Code is read in such parts, so that neighbouring hooks read it once.
const READ_BYTES: usize = 0x100;
/// Of what the driver knows by their physical page.
const PAGE_BYTES: u64 = 0x1000;

/// What is known of the code before an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// An instruction starts there, and so many bytes before it another one, with whole ones between.
    Start { lead_bytes: Option<u8> },
    /// It is inside the instruction that starts here.
    Inside { start: u64 },
    /// The instructions before it cannot be told apart.
    Unknown,
}

/// What the code of a function from its start to behind `address` tells.
fn place(code: &[u8], function: u64, address: u64) -> Place {
    let Some(starts) = disasm::starts(code, function, address) else {
        return Place::Unknown;
    };
    match starts.last() {
        Some(last) if *last != address => return Place::Inside { start: *last },
        Some(_) => {}
        None => return Place::Unknown,
    }
    // As far back as the driver can look.
    let is_near = |start: &&u64| {
        address - **start <= LEAD_BYTES.into() && **start / PAGE_BYTES == address / PAGE_BYTES
    };
    let first = starts.iter().find(is_near).copied().unwrap_or(address);
    let lead_bytes = match address - first {
        0 if address != function => None,
        bytes => u8::try_from(bytes).ok(),
    };
    Place::Start { lead_bytes }
}

impl Debugger {
    /// What is told to the driver of the code before a hook at `address`: see
    /// [`wire_protocol::event::Options::lead_bytes`].
    ///
    /// # Errors
    /// No instruction starts there or the kernel has thrown the code away, and `is_forced` is false.
    pub(in crate::command) fn lead_bytes(
        &mut self,
        address: u64,
        is_forced: bool,
    ) -> Result<Option<u8>, CommandError> {
        let Some((offset, is_data)) = self.symbols.offset_in(address) else {
            return Ok(None);
        };
        if self.symbols.is_discarded(address) {
            if is_forced {
                return Ok(None);
            }
            let at = self.symbols.place(address);
            return Err(CommandError::DiscardedCode {
                at: at.map_or_else(String::new, |at| at.to_string()),
                address,
            });
        }
        if is_data {
            let at = Address::new(address, &self.symbols);
            self.warnings.push(Warning::HookInData { at });
            return Ok(None);
        }
        if offset == 0 {
            return Ok(Some(0));
        }
        if offset > FAR_BYTES {
            return Ok(None);
        }
        let function = address - offset;
        let len = (offset as usize + INSTRUCTION_BYTES).next_multiple_of(READ_BYTES);
        // What cannot be read, the driver refuses by itself.
        let space = self.here();
        let Ok(code) = self.session.memory(space, function, len) else {
            return Ok(None);
        };
        match place(&code, function, address) {
            Place::Start { lead_bytes } => Ok(lead_bytes),
            Place::Unknown => Ok(None),
            Place::Inside { start } if is_forced => {
                self.warnings.push(Warning::NoInstructionStart {
                    at: Address::new(address, &self.symbols),
                    start: Address::new(start, &self.symbols),
                });
                Ok(None)
            }
            Place::Inside { start } => {
                let code = code.get((start - function) as usize..).unwrap_or_default();
                let instruction = disasm::disassemble(code, start, &self.symbols);
                let instruction = instruction.into_iter().next();
                let name = |address| self.symbols.place(address).map(|place| place.to_string());
                Err(CommandError::NoInstructionStart {
                    at: name(address).unwrap_or_default(),
                    address,
                    instruction: instruction.map_or_else(String::new, |it| words(&it.text)),
                    start: name(start).unwrap_or_default(),
                })
            }
        }
    }
}

/// Without the spaces that make columns.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: u64 = 0xffff_ffff_8100_0ff0;
    /// NOP of five bytes, PUSH R12, MOV R12, RSI, then NOPs of one byte.
    const CODE: [u8; 64] = {
        let mut code = [0x90; 64];
        let start = [0x0f, 0x1f, 0x44, 0, 0, 0x41, 0x54, 0x49, 0x89, 0xf4];
        let mut at = 0;
        while at < start.len() {
            code[at] = start[at];
            at += 1;
        }
        code
    };

    #[test]
    fn an_address_is_at_an_instruction_or_inside_one() {
        let at = |offset| place(&CODE, FUNCTION, FUNCTION + offset);
        let start = |bytes| Place::Start {
            lead_bytes: Some(bytes),
        };
        let inside = |offset| Place::Inside {
            start: FUNCTION + offset,
        };
        assert_eq!(at(0), start(0));
        assert_eq!(at(5), start(5));
        assert_eq!(at(7), start(7));
        assert_eq!([at(1), at(4)], [inside(0); 2]);
        assert_eq!(at(6), inside(5));
        assert_eq!([at(8), at(9)], [inside(7); 2]);
    }

    #[test]
    fn a_lead_is_on_the_page_of_the_hook_and_no_longer_than_the_driver_keeps() {
        let at = |offset| place(&CODE, FUNCTION, FUNCTION + offset);
        assert_eq!(at(0x10), Place::Start { lead_bytes: None });
        let lead_bytes = Some(3);
        assert_eq!(at(0x13), Place::Start { lead_bytes });
        let at = |offset| place(&CODE, FUNCTION + 0x10, FUNCTION + 0x10 + offset);
        let lead_bytes = Some(LEAD_BYTES);
        assert_eq!(at(0x32), Place::Start { lead_bytes });
    }

    #[test]
    fn breakpoints_and_what_is_no_code_tell_nothing() {
        for byte in [0xcc, 0x06] {
            let mut code = CODE;
            code[5] = byte;
            assert_eq!(place(&code, FUNCTION, FUNCTION + 7), Place::Unknown);
        }
        assert_eq!(place(&CODE[..5], FUNCTION, FUNCTION + 9), Place::Unknown);
    }
}
