//! Loads and stores of a running program: tagged addresses lead to its own memory, others to the
//! machine's.

use super::run::Run;
use super::{FaultKind, Machine};
use crate::bytecode::tag::{self, Area};
use core::sync::atomic::{AtomicU64, Ordering};

/// Tries to change part of a word that another core keeps changing.
const TRIES: usize = 1000;

/// Whose addresses are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Virtual,
    Physical,
}

/// Who can serve an access.
enum Owner {
    Program,
    Virtual,
    Physical,
    Nobody,
}

/// Tagged addresses have no meaning as physical ones, and no access goes round past the highest
/// address.
#[inline]
fn owner(space: Space, address: u64, len: usize) -> Owner {
    if address.checked_add(len as u64).is_none() {
        return Owner::Nobody;
    }
    match (space, tag::is_tagged(address)) {
        (Space::Virtual, true) => Owner::Program,
        (Space::Virtual, false) => Owner::Virtual,
        (Space::Physical, false) => Owner::Physical,
        (Space::Physical, true) => Owner::Nobody,
    }
}

impl<M: Machine> Run<'_, '_, M> {
    /// Reads; a fault is noted if that is not possible.
    pub(super) fn read(&mut self, space: Space, address: u64, out: &mut [u8]) -> bool {
        let done = self.try_read(space, address, out);
        if !done {
            self.fault(FaultKind::Read(address));
        }
        done
    }

    /// Writes; a fault is noted if that is not possible.
    pub(super) fn write(&mut self, space: Space, address: u64, bytes: &[u8]) -> bool {
        let done = self.try_write(space, address, bytes);
        if !done {
            self.fault(FaultKind::Write(address));
        }
        done
    }

    pub(super) fn try_read(&mut self, space: Space, address: u64, out: &mut [u8]) -> bool {
        match owner(space, address, out.len()) {
            Owner::Program => self.read_own(address, out).is_some(),
            Owner::Virtual => self.machine.read_virtual(address, out),
            Owner::Physical => self.machine.read_physical(address, out),
            Owner::Nobody => false,
        }
    }

    pub(super) fn try_write(&mut self, space: Space, address: u64, bytes: &[u8]) -> bool {
        match owner(space, address, bytes.len()) {
            Owner::Program => self.write_own(address, bytes).is_some(),
            Owner::Virtual => self.machine.write_virtual(address, bytes),
            Owner::Physical => self.machine.write_physical(address, bytes),
            Owner::Nobody => false,
        }
    }

    /// Reads `N` bytes as a number; 0 and a fault if they are not there.
    #[inline]
    pub(super) fn load<const N: usize>(&mut self, space: Space, address: u64) -> u64 {
        let mut bytes = [0; 8];
        let Some(part) = bytes.get_mut(..N) else {
            return 0;
        };
        if self.read(space, address, part) {
            u64::from_le_bytes(bytes)
        } else {
            0
        }
    }

    /// Writes the lowest `N` bytes of a number.
    #[inline]
    pub(super) fn store<const N: usize>(&mut self, address: u64, value: u64) {
        if let Some(bytes) = value.to_le_bytes().get(..N) {
            self.write(Space::Virtual, address, bytes);
        }
    }

    /// The same, says whether it was possible.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, space: Space, address: u64, value: u64) -> u64 {
        let bytes = value.to_le_bytes();
        let part = bytes.get(..N).unwrap_or_default();
        u64::from(self.try_write(space, address, part))
    }

    #[inline(never)]
    fn read_own(&mut self, address: u64, out: &mut [u8]) -> Option<()> {
        let (area, offset) = tag::parse(address)?;
        let from = usize::try_from(offset).ok()?;
        let range = from..from.checked_add(out.len())?;
        let memory: &[u8] = match area {
            Area::Locals if from < self.register_bytes => return None,
            Area::Locals => self.locals,
            Area::Frames => self.frames.get(..self.frame.1)?,
            Area::Constants => self.program.constants(),
            Area::Globals => return read_words(self.machine.globals(), from, out),
            Area::Marker => return None,
        };
        out.copy_from_slice(memory.get(range)?);
        Some(())
    }

    /// Bytes of the program's own memory from an address to the end of its area; `None` if it is not the
    /// program's.
    pub(super) fn own_bytes_at(&self, address: u64) -> Option<usize> {
        let (area, offset) = tag::parse(address)?;
        let len = match area {
            Area::Locals => self.locals.len(),
            Area::Frames => self.frame.1,
            Area::Constants => self.program.constants().len(),
            Area::Globals => 8 * self.machine.globals().len(),
            Area::Marker => 0,
        };
        len.checked_sub(usize::try_from(offset).ok()?)
    }

    #[inline(never)]
    fn write_own(&mut self, address: u64, bytes: &[u8]) -> Option<()> {
        let (area, offset) = tag::parse(address)?;
        let from = usize::try_from(offset).ok()?;
        let range = from..from.checked_add(bytes.len())?;
        let memory: &mut [u8] = match area {
            Area::Locals if from < self.register_bytes => return None,
            Area::Locals => self.locals,
            Area::Frames => self.frames.get_mut(..self.frame.1)?,
            Area::Globals => return write_words(self.machine.globals(), from, bytes),
            Area::Constants | Area::Marker => return None,
        };
        memory.get_mut(range)?.copy_from_slice(bytes);
        Some(())
    }

    /// Changes a variable of eight bytes as a whole: `change` gets its value and gives the new
    /// one, or none to leave it. Returns the old value; `None`, and a fault, if it is no variable.
    pub(super) fn exchange(
        &mut self,
        address: u64,
        change: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        let old = match tag::parse(address) {
            Some((Area::Globals, offset)) => self.exchange_global(offset, change),
            Some((Area::Locals | Area::Frames, _)) => self.exchange_mine(address, change),
            _ => None,
        };
        if old.is_none() {
            self.fault(FaultKind::NotAVariable(address));
        }
        old
    }

    /// What only this core uses needs no atomic operation.
    fn exchange_mine(&mut self, address: u64, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read_own(address, &mut bytes)?;
        let old = u64::from_le_bytes(bytes);
        if let Some(new) = change(old) {
            self.write_own(address, &new.to_le_bytes())?;
        }
        Some(old)
    }

    fn exchange_global(&mut self, offset: u32, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let index = usize::try_from(offset).ok()?;
        if !index.is_multiple_of(8) {
            return None;
        }
        loop {
            let word = self.machine.globals().get(index / 8)?;
            let old = word.load(Ordering::Acquire);
            let Some(new) = change(old) else {
                return Some(old);
            };
            let swapped = word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
            // Only another core's success makes this fail; the budget bounds how often.
            if swapped.is_ok() || !self.charge(1) {
                return Some(old);
            }
        }
    }
}

fn read_words(words: &[AtomicU64], from: usize, out: &mut [u8]) -> Option<()> {
    if from.checked_add(out.len())? > 8 * words.len() {
        return None;
    }
    let mut at = from;
    let mut rest = out;
    while !rest.is_empty() {
        let word = words.get(at / 8)?.load(Ordering::Relaxed).to_le_bytes();
        let part = word.get(at % 8..)?;
        let count = part.len().min(rest.len());
        let (now, later) = rest.split_at_mut_checked(count)?;
        now.copy_from_slice(part.get(..count)?);
        rest = later;
        at += count;
    }
    Some(())
}

fn write_words(words: &[AtomicU64], from: usize, bytes: &[u8]) -> Option<()> {
    if from.checked_add(bytes.len())? > 8 * words.len() {
        return None;
    }
    let mut at = from;
    let mut rest = bytes;
    while !rest.is_empty() {
        let word = words.get(at / 8)?;
        let (now, later) = rest.split_at_checked(rest.len().min(8 - at % 8))?;
        match <[u8; 8]>::try_from(now) {
            Ok(whole) => word.store(u64::from_le_bytes(whole), Ordering::Relaxed),
            Err(_) => write_part(word, at % 8, now)?,
        }
        rest = later;
        at += now.len();
    }
    Some(())
}

/// Changes some bytes of a word and none of the others, which another core may be changing.
fn write_part(word: &AtomicU64, from: usize, bytes: &[u8]) -> Option<()> {
    for _ in 0..TRIES {
        let old = word.load(Ordering::Relaxed);
        let mut new = old.to_le_bytes();
        new.get_mut(from..from + bytes.len())?
            .copy_from_slice(bytes);
        let new = u64::from_le_bytes(new);
        let swapped = word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
        if swapped.is_ok() {
            return Some(());
        }
    }
    None
}
