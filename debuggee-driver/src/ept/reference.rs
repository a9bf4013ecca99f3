//! The code around a hook as it was when the hook was set, and whether an instruction still starts there.
//!
//! A breakpoint in the middle of an instruction changes what the instruction does, so a hook is shown only while an
//! instruction starts at its address. No one can tell that from bytes alone: the host, which has the functions'
//! starts, says how far before the hook an instruction is known to start (the *lead*). From there both the code that
//! was and the code that is are walked, along the instructions that were. What differs is explained by what
//! kernels write into running code, or the code is another:
//!
//! | written | where an instruction starts next |
//! |---|---|
//! | INT3 (a breakpoint, or the first of three writes of a longer change) | behind the instruction that was, or behind the last byte of a longer change |
//! | NOP, CALL, JMP, RET in place of each other (tracers, static keys and calls, BPF, live patches) | where it did before |
//! | once, JMP over other instructions (an optimised kprobe), or those again in its place | at the first instruction that was and that it does not cover |
//! | once, an instruction as long as the one that was | where it did before |
//!
//! Written in a halt, looked at by any core that wrote to the page. Pure but for reading memory.

use crate::guest::instruction::parts::{Encoding, Map};
use crate::guest::instruction::{self, Instruction};
use crate::port::PhysicalMemory;
use wire_protocol::address::{GuestPhysical, PAGE_BYTES};
use wire_protocol::event::Standing;
use wire_protocol::limits::LEAD_BYTES;

/// Bytes that are remembered from the hook on.
const AFTER_BYTES: usize = 16;
/// Bytes that are looked at before a hook whose lead nobody knows: no instruction is longer.
const UNKNOWN_BEFORE_BYTES: usize = instruction::LENGTH_MAX - 1;
/// Bytes remembered at most.
const WINDOW_BYTES: usize = LEAD_BYTES as usize + AFTER_BYTES;
/// A jump, and the longest that is written over more than one instruction.
const JUMP_BYTES: usize = 5;
const INT3: u8 = 0xcc;
const RET: u8 = 0xc3;
const HEAD_BYTES: usize = 4;
/// Bytes that a reference takes in memory.
pub const REFERENCE_BYTES: usize = HEAD_BYTES + WINDOW_BYTES;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// How many of the bytes stand before the hook.
    before: u8,
    /// Whether an instruction starts at the first of them.
    is_lead_known: bool,
    /// How many bytes there are.
    len: u8,
    /// How many bytes from the hook on were moved elsewhere, if a detour is there.
    moved: u8,
    bytes: [u8; WINDOW_BYTES],
}

impl Reference {
    /// The code around `at` as it is now; `lead_bytes` as in [`wire_protocol::event::Options`].
    #[must_use]
    pub fn take(
        mem: &impl PhysicalMemory,
        at: GuestPhysical,
        lead_bytes: Option<u8>,
        moved: u8,
    ) -> Self {
        let offset = at.offset();
        let lead = lead_bytes
            .map(usize::from)
            .filter(|lead| *lead <= offset.min(LEAD_BYTES.into()));
        let before = lead.unwrap_or(offset.min(UNKNOWN_BEFORE_BYTES));
        let after = (PAGE_BYTES as usize - offset).min(AFTER_BYTES);
        let mut it = Self {
            before: before as u8,
            is_lead_known: lead.is_some(),
            len: (before + after) as u8,
            moved,
            bytes: [0; WINDOW_BYTES],
        };
        it.bytes = it.read(mem, at);
        it
    }

    /// Keeps it in the debugger's memory at `to`.
    pub fn store(&self, mem: &mut impl PhysicalMemory, to: u64) {
        let head = [self.before, self.is_lead_known.into(), self.len, self.moved];
        mem.write(to, &head);
        mem.write(to + HEAD_BYTES as u64, &self.bytes);
    }

    /// One that was kept.
    #[must_use]
    pub fn load(mem: &impl PhysicalMemory, from: u64) -> Self {
        let mut head = [0; HEAD_BYTES];
        mem.read(from, &mut head);
        let [before, is_lead_known, len, moved] = head;
        let mut bytes = [0; WINDOW_BYTES];
        mem.read(from + HEAD_BYTES as u64, &mut bytes);
        Self {
            before,
            is_lead_known: is_lead_known != 0,
            len,
            moved,
            bytes,
        }
    }

    /// How a hook at `at` that this is the reference of stands to the code there now.
    #[must_use]
    pub fn standing(&self, mem: &impl PhysicalMemory, at: GuestPhysical) -> Standing {
        let len = usize::from(self.len);
        let bytes = self.read(mem, at);
        let (Some(was), Some(is)) = (self.bytes.get(..len), bytes.get(..len)) else {
            return Standing::Replaced;
        };
        if was == is {
            return Standing::Active;
        }
        let hook = usize::from(self.before);
        let start = if self.is_lead_known { 0 } else { hook };
        let is_same = |(was, is): (&u8, &u8)| is_explained_by_int3(*was, *is);
        if !was.iter().zip(is).take(start).all(is_same) {
            return Standing::Replaced;
        }
        let (from_start, now) = (was.get(start..), is.get(start..));
        let (from_start, now) = (from_start.unwrap_or_default(), now.unwrap_or_default());
        match walk(from_start, now, hook - start) {
            Standing::Active => self.standing_of_moved(was, &bytes, hook),
            other => other,
        }
    }

    /// A detour executes a copy of the instruction that was.
    fn standing_of_moved(&self, was: &[u8], is: &[u8], hook: usize) -> Standing {
        let moved = usize::from(self.moved);
        let was = was.get(hook..).unwrap_or_default();
        let is = is.get(hook..was.len() + hook).unwrap_or_default();
        let covers = is.first() == Some(&INT3)
            || instruction::decode(is).is_some_and(|it| usize::from(it.len) >= JUMP_BYTES);
        match (was.get(..moved), is.get(..moved)) {
            (Some(was), Some(is)) if was == is => Standing::Active,
            _ if covers => Standing::Breakpoint,
            // What is left of the jump would be executed.
            _ => Standing::Replaced,
        }
    }

    fn read(&self, mem: &impl PhysicalMemory, at: GuestPhysical) -> [u8; WINDOW_BYTES] {
        let mut bytes = [0; WINDOW_BYTES];
        if let Some(bytes) = bytes.get_mut(..usize::from(self.len)) {
            mem.read(at.0.saturating_sub(u64::from(self.before)), bytes);
        }
        bytes
    }
}

const fn is_explained_by_int3(was: u8, is: u8) -> bool {
    was == is || was == INT3 || is == INT3
}

/// Along the instructions that were, from one that is known to start with the first byte.
fn walk(was: &[u8], is: &[u8], hook: usize) -> Standing {
    let mut at = 0;
    let mut rare = 0;
    // Each turn is an instruction further.
    while at < was.len() {
        let here = Here {
            was: was.get(at..).unwrap_or_default(),
            is: is.get(at..).unwrap_or_default(),
        };
        let Some(len) = here.length(0) else { break };
        let end = match here.difference(len) {
            Difference::None => len,
            Difference::Written(end) => end,
            Difference::Rare(end) if rare == 0 => {
                rare += 1;
                end
            }
            // A jump that begins before the first byte ends here.
            _ if at == 0 && hook >= JUMP_BYTES && here.is_same_from(JUMP_BYTES - 1, len) => {
                JUMP_BYTES - 1
            }
            Difference::Rare(_) | Difference::Other => return Standing::Replaced,
        };
        let Some(next) = here.start_from(end) else {
            break;
        };
        if at < hook && at + next > hook {
            return Standing::Covered;
        }
        at += next;
    }
    // The last instruction is not on the page as a whole.
    let rest = was.iter().zip(is).skip(at);
    let is_same = |(place, (was, is)): (usize, (&u8, &u8))| {
        was == is || place == 0 && is_explained_by_int3(*was, *is)
    };
    if at > hook || rest.enumerate().all(is_same) {
        Standing::Active
    } else {
        Standing::Replaced
    }
}

/// How what is differs from the instruction that was.
enum Difference {
    None,
    /// As kernels write into code every day, and so many bytes belong to it.
    Written(usize),
    /// The same, but seldom: at most one is explained so.
    Rare(usize),
    Other,
}

/// The code from a start of an instruction on.
struct Here<'a> {
    was: &'a [u8],
    is: &'a [u8],
}

impl Here<'_> {
    /// Length of the instruction that was at an offset. What an INT3 stood for, the instruction tells that is there now.
    fn length(&self, offset: usize) -> Option<usize> {
        let was = self.was.get(offset..)?;
        let bytes = if was.first() == Some(&INT3) {
            self.is.get(offset..)?
        } else {
            was
        };
        instruction::decode(bytes).map(|it| usize::from(it.len))
    }

    /// The first offset, from `end` on, at which an instruction started.
    fn start_from(&self, end: usize) -> Option<usize> {
        let mut start = 0;
        while start < end {
            start += self.length(start)?;
        }
        Some(start)
    }

    fn is_same_from(&self, start: usize, end: usize) -> bool {
        let end = end.max(start);
        self.was.get(start..end) == self.is.get(start..end)
    }

    fn difference(&self, len: usize) -> Difference {
        if self.is_same_from(0, len) {
            return Difference::None;
        }
        match (self.was.first(), self.is.first()) {
            (_, Some(&INT3)) => self.behind_int3(),
            (Some(&INT3), _) => Difference::Written(len),
            _ => self.without_int3(len),
        }
    }

    /// INT3 alone, or the first of the writes of a longer change, of which more may be there already.
    fn behind_int3(&self) -> Difference {
        if self.is.iter().take(JUMP_BYTES).all(|byte| *byte == INT3) {
            return Difference::Other;
        }
        // Others may stand behind it.
        let is_written = |place: &usize| {
            let is = self.is.get(*place);
            is != self.was.get(*place) && is != Some(&INT3)
        };
        let last = (1..JUMP_BYTES).rfind(is_written);
        Difference::Written(last.map_or(1, |last| last + 1))
    }

    fn without_int3(&self, len: usize) -> Difference {
        let before = instruction::decode(self.was).map_or(Form::Other, |it| Form::of(&it));
        let Some(now) = instruction::decode(self.is) else {
            return Difference::Other;
        };
        let now_bytes = usize::from(now.len);
        let ends_at_once = || {
            let is = self.is.get(..len).unwrap_or_default();
            matches!(is, [RET, rest @ ..] if rest.iter().all(|byte| *byte == INT3))
        };
        match (before, Form::of(&now)) {
            (Form::Other, Form::Jump) => Difference::Rare(now_bytes),
            (Form::Jump, Form::Other) => Difference::Rare(len),
            (Form::Jump | Form::Call, Form::Jump | Form::Call) => Difference::Written(now_bytes),
            (Form::Call, Form::Other) if ends_at_once() => Difference::Written(len),
            _ if now_bytes == len => Difference::Rare(len),
            _ => Difference::Other,
        }
    }
}

/// What kernels write into running code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// JMP with a distance of 32 bits: also over several instructions.
    Jump,
    /// CALL, NOP and the short JMP: in place of each other.
    Call,
    Other,
}

impl Form {
    fn of(it: &Instruction) -> Self {
        match (it.encoding, it.map, it.opcode) {
            (Encoding::Legacy, Map::One, 0xe9) => Self::Jump,
            (Encoding::Legacy, Map::One, 0xe8 | 0xeb) | (Encoding::Legacy, Map::Two, 0x1f) => {
                Self::Call
            }
            (Encoding::Legacy, Map::One, 0x90) if !it.extend_base => Self::Call,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
