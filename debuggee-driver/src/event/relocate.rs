//! Moving one instruction of the kernel to another place, so that it does there what it did here.
//!
//! Called with every core halted, when a detour is planned. Pure.

use crate::guest::instruction::parts::{Encoding, Map};
use crate::guest::instruction::{self, Instruction, LENGTH_MAX};
use wire_protocol::refusal::DetourObstacle;

/// Most bytes of a moved instruction with the jump behind it.
pub const MOVED_MAX: usize = LENGTH_MAX + JUMP as usize;

/// Length of a near jump: the opcode and 32 bits of distance.
const JUMP: u64 = 5;

/// ENDBR64, which is only looked for at the end of an indirect branch and does nothing.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// How long a landing pad at the start of `code` is: a detour begins behind it.
#[must_use]
pub fn landing_pad(code: &[u8]) -> u64 {
    if code.starts_with(&ENDBR64) { 4 } else { 0 }
}

/// An instruction, moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    bytes: [u8; MOVED_MAX],
    len: usize,
    /// Length of the instruction in its own place.
    pub covered: u8,
}

impl Moved {
    /// What is to be executed, with a jump to the next instruction at its end; empty if the
    /// instruction does nothing.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = *byte;
                self.len += 1;
            }
        }
    }
}

/// Of bytes that are no instruction: whether they are the beginning of one that goes on behind them.
fn why_not_decoded(code: &[u8]) -> DetourObstacle {
    let mut longer = [0; LENGTH_MAX];
    for (place, byte) in longer.iter_mut().zip(code) {
        *place = *byte;
    }
    match instruction::decode(&longer) {
        Some(it) if usize::from(it.len) > code.len() => DetourObstacle::PageEnd,
        _ => DetourObstacle::Instruction,
    }
}

/// Moves the instruction at the start of `code` from linear address `from` to `to`.
///
/// # Errors
/// Why it cannot be moved, or not be overwritten by a jump.
pub fn relocate(code: &[u8], from: u64, to: u64) -> Result<Moved, DetourObstacle> {
    let it = instruction::decode(code).ok_or_else(|| why_not_decoded(code))?;
    let covered = code
        .get(..usize::from(it.len))
        .ok_or(DetourObstacle::PageEnd)?;
    if u64::from(it.len) < JUMP {
        return Err(DetourObstacle::TooShort);
    }
    let mut moved = Moved {
        bytes: [0; MOVED_MAX],
        len: 0,
        covered: it.len,
    };
    if is_nop(&it) {
        return Ok(moved);
    }
    let next = from.wrapping_add(u64::from(it.len));
    match branch_of(&it, code) {
        Some(Branch { kind, distance }) => {
            let target = next.wrapping_add_signed(distance);
            match kind {
                BranchKind::Jump => {
                    moved.put(&jump(to, target)?);
                    return Ok(moved);
                }
                BranchKind::Call => {
                    // PUSH of 32 bits extends the sign, which is what addresses of the kernel have.
                    let back =
                        i32::try_from(next as i64).map_err(|_| DetourObstacle::OutOfReach)?;
                    moved.put(&[0x68]);
                    moved.put(&back.to_le_bytes());
                    moved.put(&jump(to.wrapping_add(JUMP), target)?);
                    return Ok(moved);
                }
                BranchKind::If => {
                    let opcode = covered.get(covered.len() - 5).copied().unwrap_or_default();
                    moved.put(&[0x0f, opcode]);
                    let end = to.wrapping_add(6);
                    moved.put(&distance_to(end, target)?.to_le_bytes());
                }
            }
        }
        None if it.is_branch() => return Err(DetourObstacle::Instruction),
        None => {
            moved.put(covered);
            if it.is_rip_relative() {
                let by = from.wrapping_sub(to) as i64;
                let distance = it.displacement.checked_add(by);
                let distance = distance.and_then(|distance| i32::try_from(distance).ok());
                let distance = distance.ok_or(DetourObstacle::OutOfReach)?.to_le_bytes();
                for (place, byte) in (usize::from(it.displacement_at)..).zip(distance) {
                    if let Some(slot) = moved.bytes.get_mut(place) {
                        *slot = byte;
                    }
                }
            }
        }
    }
    let end = to.wrapping_add(moved.len as u64);
    moved.put(&jump(end, next)?);
    Ok(moved)
}

enum BranchKind {
    Jump,
    Call,
    If,
}

/// A branch by a distance of 32 bits, which is at its end.
struct Branch {
    kind: BranchKind,
    distance: i64,
}

fn branch_of(it: &Instruction, code: &[u8]) -> Option<Branch> {
    if it.encoding != Encoding::Legacy {
        return None;
    }
    let kind = match (it.map, it.opcode) {
        (Map::One, 0xe9) => BranchKind::Jump,
        (Map::One, 0xe8) => BranchKind::Call,
        (Map::Two, 0x80..=0x8f) => BranchKind::If,
        _ => return None,
    };
    let bytes = code.get(usize::from(it.immediate_at)..usize::from(it.len))?;
    let distance = i64::from(i32::from_le_bytes(*bytes.first_chunk()?));
    Some(Branch { kind, distance })
}

/// NOP in its long forms: what stands where calls of functions are traced.
fn is_nop(it: &Instruction) -> bool {
    it.encoding == Encoding::Legacy
        && match it.map {
            Map::One => it.opcode == 0x90 && !it.repeats && !it.extend_base,
            Map::Two => it.opcode == 0x1f,
            _ => false,
        }
}

/// A near jump at `at` to `target`.
///
/// # Errors
/// It does not reach.
pub fn jump(at: u64, target: u64) -> Result<[u8; JUMP as usize], DetourObstacle> {
    let [a, b, c, d] = distance_to(at.wrapping_add(JUMP), target)?.to_le_bytes();
    Ok([0xe9, a, b, c, d])
}

fn distance_to(end: u64, target: u64) -> Result<i32, DetourObstacle> {
    i32::try_from(target.wrapping_sub(end) as i64).map_err(|_| DetourObstacle::OutOfReach)
}

#[cfg(test)]
#[path = "relocate_tests.rs"]
mod tests;
