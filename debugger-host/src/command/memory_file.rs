//! `.writemem`: memory of the debuggee, into a file. Called by the command table.

use super::memory::length;
use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::{Answer, Count, Hex};
use crate::expression::Expression;
use crate::session::{SessionError, Space};
use std::fs::File;
use std::io::Write;

/// Read before it is written, so that neither end waits for the disk for long.
const PIECE_BYTES: u64 = 1 << 20;

struct WriteMemory {
    path: String,
    is_physical: bool,
    address: Expression,
    len: Expression,
}

pub(super) fn write_memory(mut arguments: Arguments<'_>) -> Result<Box<dyn Action>, ParseError> {
    let path = arguments.required_word("OUT-FILE")?.to_owned();
    let is_physical = arguments.keyword("physical");
    let address = arguments.expression("the address")?;
    let len = length(&mut arguments)?.ok_or(arguments.missing("`l LENGTH`"))?;
    arguments.end()?;
    Ok(Box::new(WriteMemory {
        path,
        is_physical,
        address,
        len,
    }))
}

impl Action for WriteMemory {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let address = debugger.value(&self.address)?;
        let len = debugger.value(&self.len)?;
        let limit = u64::MAX - address;
        if !(1..=limit).contains(&len) {
            return Err(CommandError::OutOfRange {
                what: "the length",
                value: len,
                least: 1,
                most: limit,
            });
        }
        let space = match self.is_physical {
            true => Space::Physical,
            false => debugger.here(),
        };
        let (done, why) = self.copy(debugger, space, address, len)?;
        Ok(Answer::MemoryWritten {
            path: self.path.clone(),
            bytes: Count(done),
            missing: why.map(|_| Hex(address + done)),
        })
    }
}

impl WriteMemory {
    fn failed(&self, why: &std::io::Error) -> CommandError {
        CommandError::MemoryFile {
            path: self.path.clone(),
            why: why.to_string(),
        }
    }

    /// How many bytes there were, and why no more. A file is made once there is something for it.
    fn copy(
        &self,
        debugger: &mut Debugger,
        space: Space,
        address: u64,
        len: u64,
    ) -> Result<(u64, Option<SessionError>), CommandError> {
        let mut file: Option<File> = None;
        let mut done = 0;
        while done < len {
            let wanted = (len - done).min(PIECE_BYTES);
            let read = debugger
                .session
                .memory(space, address + done, wanted as usize);
            let bytes = match read {
                Err(why @ SessionError::Refused(_)) if done > 0 => return Ok((done, Some(why))),
                read => read?,
            };
            let file = match &mut file {
                Some(file) => file,
                None => {
                    let made = File::create(&self.path).map_err(|why| self.failed(&why))?;
                    file.insert(made)
                }
            };
            file.write_all(&bytes).map_err(|why| self.failed(&why))?;
            done += bytes.len() as u64;
        }
        Ok((done, None))
    }
}
