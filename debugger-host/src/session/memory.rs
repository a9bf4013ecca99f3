//! Memory of the halted debuggee. What is long is asked for in parts; on a network several of them are under way at a time, so
//! that neither end waits for the other.

use super::{Session, SessionError, Space};
use crate::transport::Endpoint;
use crate::unpacked::unpacked;
use std::collections::VecDeque;
use wire_protocol::address::{GuestPhysical, GuestVirtual};
use wire_protocol::limits;
use wire_protocol::packet::{Features, MemoryAt, Reply, Request};

/// Parts under way at a time on a network. The debuggee has room for the answers to so many, and for something else besides.
const PARTS_AT_ONCE: usize = 4;
const _: () = assert!((PARTS_AT_ONCE + 1) * limits::MEMORY_BYTES <= limits::MESSAGE_BYTES);

const WHAT: &str = "read memory";

/// A part that was asked for.
struct Part {
    id: u8,
    address: u64,
    len: usize,
    /// What is probably there, if the debuggee was asked whether it is.
    expected: Option<Vec<u8>>,
}

/// Asking whether fewer bytes are still the same costs more than they do.
const EXPECT_FROM_BYTES: usize = 64;

const fn place(space: Space, address: u64) -> MemoryAt {
    match space {
        Space::Virtual(core) => MemoryAt::Virtual {
            core,
            address: GuestVirtual(address),
        },
        Space::Tables(root) => MemoryAt::Tables {
            root: GuestPhysical(root),
            address: GuestVirtual(address),
        },
        Space::Physical => MemoryAt::Physical {
            address: GuestPhysical(address),
        },
    }
}

impl Session {
    /// Up to `len` bytes: fewer if the memory ends before, at least one. Known bytes cost nothing.
    ///
    /// # Errors
    /// When the first byte is not there, or the debuggee runs or does not answer.
    pub fn memory(
        &mut self,
        space: Space,
        address: u64,
        len: usize,
    ) -> Result<Vec<u8>, SessionError> {
        self.must_be_halted()?;
        let mut bytes = self.cache.memory(space, address, len);
        let mut parts = VecDeque::new();
        let read = self.read_parts(space, address, len, &mut bytes, &mut parts);
        // Whatever the reason is that they are not waited for: their answers are for no other request.
        for part in parts {
            self.pending.give_up(part.id, None);
        }
        match read {
            Err(SessionError::Refused(_)) if !bytes.is_empty() => Ok(bytes),
            other => other.map(|()| bytes),
        }
    }

    /// Reads what is behind the bytes that are there, up to `len` of them or to where memory ends.
    fn read_parts(
        &mut self,
        space: Space,
        address: u64,
        len: usize,
        bytes: &mut Vec<u8>,
        parts: &mut VecDeque<Part>,
    ) -> Result<(), SessionError> {
        let at_once = match self.endpoint() {
            // Answers that nobody waits for any more take room, too.
            Some(Endpoint::Net { .. }) => {
                let late = self.pending.given_up_count();
                PARTS_AT_ONCE.saturating_sub(late).max(1)
            }
            _ => 1,
        };
        let mut asked = bytes.len();
        while bytes.len() < len {
            if self.timeout.is_interrupted() {
                return Err(SessionError::GivenUp { what: WHAT });
            }
            while parts.len() < at_once && asked < len {
                let Some(at) = address.checked_add(asked as u64) else {
                    break;
                };
                let wanted = (len - asked).min(limits::MEMORY_BYTES);
                parts.push_back(self.ask_part(space, at, wanted)?);
                asked += wanted;
            }
            let Some(part) = parts.pop_front() else {
                return Ok(());
            };
            let (at, wanted) = (part.address, part.len);
            let got = self.await_part(part)?;
            self.cache.keep_memory(space, at, &got);
            bytes.extend(&got);
            if got.len() < wanted {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What was there before, or what the kernel's image has there.
    fn expected(&self, space: Space, address: u64, len: usize) -> Option<Vec<u8>> {
        let from_image = || match space {
            Space::Virtual(_) | Space::Tables(_) => self.image.as_ref()?.expected(address, len),
            Space::Physical => None,
        };
        self.cache.expected(space, address, len).or_else(from_image)
    }

    fn ask_part(&mut self, space: Space, address: u64, len: usize) -> Result<Part, SessionError> {
        let can_expect = self.identity.features.contains(Features::EXPECTED_MEMORY);
        let key = self.identity.key.filter(|_| can_expect);
        let expected = match (len, key) {
            (EXPECT_FROM_BYTES.., Some(key)) => self
                .expected(space, address, len)
                .map(|bytes| (key.digest(&bytes), bytes)),
            _ => None,
        };
        let request = Request::ReadMemory {
            at: place(space, address),
            len_bytes: len as u32,
            expected: expected.as_ref().map(|(digest, _)| *digest),
        };
        Ok(Part {
            id: self.submit(WHAT, &request)?,
            address,
            len,
            expected: expected.map(|(_, bytes)| bytes),
        })
    }

    fn await_part(&mut self, part: Part) -> Result<Vec<u8>, SessionError> {
        let Part {
            id, len, expected, ..
        } = part;
        let message = self.answer_to(WHAT, id)?;
        self.read_answer(WHAT, &message, |reply| match reply {
            Reply::MemoryAsExpected => expected,
            Reply::Memory {
                len_bytes,
                packing,
                bytes,
            } => {
                let size = len_bytes as usize;
                if !(1..=len).contains(&size) {
                    return None;
                }
                let bytes = unpacked(packing, size, bytes)?;
                (bytes.len() == size).then_some(bytes)
            }
            _ => None,
        })
    }

    /// Writes all of `bytes` or nothing.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn write_memory(
        &mut self,
        space: Space,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), SessionError> {
        self.must_be_halted()?;
        let request = Request::WriteMemory {
            at: place(space, address),
            bytes,
        };
        self.cache.forget_memory();
        self.ask("write memory", &request, |reply| {
            matches!(reply, Reply::Done).then_some(())
        })
    }

    /// Physical address of a virtual one, and the size of the page it stands in. A physical one is looked at as the operating
    /// core's.
    ///
    /// # Errors
    /// When it is not mapped, or the debuggee runs or does not answer.
    pub fn translate(
        &mut self,
        space: Space,
        address: u64,
    ) -> Result<(GuestPhysical, u64), SessionError> {
        self.must_be_halted()?;
        let (core, root) = match space {
            Space::Virtual(core) => (core, None),
            Space::Tables(root) => (self.core, Some(GuestPhysical(root))),
            Space::Physical => (self.core, None),
        };
        let request = Request::Translate {
            core,
            root,
            address: GuestVirtual(address),
        };
        self.ask("translate", &request, |reply| match reply {
            Reply::Physical {
                address,
                page_bytes,
            } => Some((address, page_bytes)),
            _ => None,
        })
    }

    /// XXH64 of whole pages of physical memory.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn digest(&mut self, address: u64, len_bytes: u64) -> Result<u64, SessionError> {
        self.must_be_halted()?;
        let request = Request::DigestMemory {
            address: GuestPhysical(address),
            len_bytes,
        };
        self.ask("digest memory", &request, |reply| match reply {
            Reply::Digest(digest) => Some(digest),
            _ => None,
        })
    }
}
