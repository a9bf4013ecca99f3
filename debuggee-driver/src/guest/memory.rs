//! Reads and writes of guest memory for the debugger, by virtual and by physical address.
//!
//! Called with every core halted. Whoever writes is told each page written, to bring shadows of
//! hooked pages up to date.

use super::walk::{self, NotPresent};
use crate::port::{Hidden, PhysicalMemory};
use core::ops::Range;
use wire_protocol::address::{GuestPhysical, GuestVirtual, PAGE_BYTES};
use wire_protocol::limits;
use wire_protocol::refusal::Refusal;

/// A stretch of virtual memory that is one stretch of physical memory, inside one 4 KiB page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    at: GuestPhysical,
    /// Which bytes of the whole it is.
    bytes: Range<usize>,
}

/// Cuts `len_bytes` of virtual memory from `start` into pieces, in order. Each piece is
/// translated when it is asked for.
fn pieces<M: PhysicalMemory>(
    mem: &M,
    cr3: u64,
    cr4: u64,
    start: GuestVirtual,
    len_bytes: usize,
) -> impl Iterator<Item = Result<Piece, NotPresent>> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let bytes = page_part(start.0, done, len_bytes)?;
        done = bytes.end;
        let address = GuestVirtual(start.0.wrapping_add(bytes.start as u64));
        let translation = walk::translate(mem, cr3, cr4, address);
        Some(translation.map(|translation| Piece {
            at: translation.address,
            bytes,
        }))
    })
}

/// The next part, from byte `done` on, of `len_bytes` at `start`, that ends with the page.
fn page_part(start: u64, done: usize, len_bytes: usize) -> Option<Range<usize>> {
    let left = len_bytes.checked_sub(done).filter(|left| *left > 0)?;
    let offset = start.wrapping_add(done as u64) % PAGE_BYTES;
    let in_page = (PAGE_BYTES - offset) as usize;
    Some(done..done + in_page.min(left))
}

/// Reads virtual memory up to the first page that is not present. Returns how many bytes were
/// read: at least one, unless none was asked for.
///
/// # Errors
/// The first byte is not present, or a page before the first that is not present belongs to the
/// debugger.
pub fn read_virtual(
    mem: &impl PhysicalMemory,
    hidden: &impl Hidden,
    cr3: u64,
    cr4: u64,
    start: GuestVirtual,
    out: &mut [u8],
) -> Result<usize, Refusal> {
    let mut done = 0;
    for piece in pieces(mem, cr3, cr4, start, out.len()) {
        let piece = match piece {
            Ok(piece) => piece,
            Err(not_present) if done == 0 => return Err(not_present.into()),
            Err(_) => break,
        };
        refuse_hidden(hidden, piece.at)?;
        done = piece.bytes.end;
        if let Some(part) = out.get_mut(piece.bytes) {
            mem.read(piece.at.0, part);
        }
    }
    Ok(done)
}

/// Pieces that [`limits::MEMORY_BYTES`] can fall into.
const PIECES_MAX: usize = limits::MEMORY_BYTES / PAGE_BYTES as usize + 1;

/// Writes virtual memory, all or nothing, at most [`limits::MEMORY_BYTES`]. Write protection of
/// the guest's tables does not matter. Afterwards `written` gets every page written.
///
/// # Errors
/// It is too long, or a page is not present or belongs to the debugger; nothing was written.
pub fn write_virtual(
    mem: &mut impl PhysicalMemory,
    hidden: &impl Hidden,
    cr3: u64,
    cr4: u64,
    start: GuestVirtual,
    bytes: &[u8],
    mut written: impl FnMut(GuestPhysical),
) -> Result<(), Refusal> {
    if bytes.len() > limits::MEMORY_BYTES {
        return Err(Refusal::TooLong {
            limit_bytes: limits::MEMORY_BYTES as u64,
            asked_bytes: bytes.len() as u64,
        });
    }
    // Everything is translated before anything is written: the write may hit the very tables that
    // lead to it.
    let mut translated = [const { None }; PIECES_MAX];
    for (slot, piece) in translated
        .iter_mut()
        .zip(pieces(mem, cr3, cr4, start, bytes.len()))
    {
        let piece = piece?;
        refuse_hidden(hidden, piece.at)?;
        *slot = Some(piece);
    }
    for piece in translated.into_iter().flatten() {
        if let Some(part) = bytes.get(piece.bytes) {
            mem.write(piece.at.0, part);
            written(piece.at.page());
        }
    }
    Ok(())
}

/// Reads physical memory. Returns how many bytes were read: all.
///
/// # Errors
/// It is not all below the limit, or a page belongs to the debugger.
pub fn read_physical(
    mem: &impl PhysicalMemory,
    hidden: &impl Hidden,
    start: GuestPhysical,
    out: &mut [u8],
) -> Result<usize, Refusal> {
    check_physical(mem, hidden, start, out.len())?;
    mem.read(start.0, out);
    Ok(out.len())
}

/// Writes physical memory, all or nothing. Afterwards `written` gets every page written.
///
/// # Errors
/// It is not all below the limit, or a page belongs to the debugger; nothing was written.
pub fn write_physical(
    mem: &mut impl PhysicalMemory,
    hidden: &impl Hidden,
    start: GuestPhysical,
    bytes: &[u8],
    mut written: impl FnMut(GuestPhysical),
) -> Result<(), Refusal> {
    check_physical(mem, hidden, start, bytes.len())?;
    mem.write(start.0, bytes);
    let mut done = 0;
    while let Some(part) = page_part(start.0, done, bytes.len()) {
        done = part.end;
        written(GuestPhysical(start.0 + part.start as u64).page());
    }
    Ok(())
}

/// Whether a range of physical memory may be used by the debugger's user.
///
/// # Errors
/// It is not all below the limit, or a page belongs to the debugger.
fn check_physical(
    mem: &impl PhysicalMemory,
    hidden: &impl Hidden,
    start: GuestPhysical,
    len_bytes: usize,
) -> Result<(), Refusal> {
    let limit = mem.limit();
    let end = start.0.checked_add(len_bytes as u64);
    if end.is_none_or(|end| end > limit) {
        return Err(Refusal::PhysicalOutOfRange {
            address: GuestPhysical(start.0.max(limit)),
            limit: GuestPhysical(limit),
        });
    }
    let mut done = 0;
    while let Some(part) = page_part(start.0, done, len_bytes) {
        done = part.end;
        refuse_hidden(hidden, GuestPhysical(start.0 + part.start as u64))?;
    }
    Ok(())
}

fn refuse_hidden(hidden: &impl Hidden, address: GuestPhysical) -> Result<(), Refusal> {
    if hidden.hides(address.page()) {
        return Err(Refusal::DebuggerMemory { address });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::ept::model::config;
    use crate::fake::tables::{GuestTables, PRESENT, WRITE};
    use crate::fake::{FlatMemory, HiddenPages};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const ROOT: u64 = 0x10_0000;
    /// Three pages in a row, backwards in physical memory, then none.
    const START: u64 = 0x7000_0000;
    const PHYSICAL: [u64; 3] = [0x5000, 0x4000, 0x3000];
    const LIMIT: u64 = 0x20_0000;

    fn memory() -> FlatMemory {
        let mut mem = FlatMemory::new(LIMIT);
        let mut tables = GuestTables::new(ROOT, 4);
        for (page, pa) in (0..).zip(PHYSICAL) {
            let va = START + page * PAGE_BYTES;
            tables.map(&mut mem, va, pa, 12, PRESENT);
            mem.write(pa, &vec![page as u8 + 1; PAGE_BYTES as usize]);
        }
        mem
    }

    fn read(
        mem: &FlatMemory,
        hidden: &HiddenPages,
        va: u64,
        len: usize,
    ) -> Result<Vec<u8>, Refusal> {
        let mut out = vec![0xee; len];
        let done = read_virtual(mem, hidden, ROOT, 0, GuestVirtual(va), &mut out)?;
        out.truncate(done);
        Ok(out)
    }

    fn write(
        mem: &mut FlatMemory,
        hidden: &HiddenPages,
        va: u64,
        bytes: &[u8],
    ) -> Result<Vec<u64>, Refusal> {
        let mut pages = Vec::new();
        let written = |page: GuestPhysical| pages.push(page.0);
        write_virtual(mem, hidden, ROOT, 0, GuestVirtual(va), bytes, written)?;
        Ok(pages)
    }

    fn nothing() -> HiddenPages {
        HiddenPages::default()
    }

    fn second_page() -> HiddenPages {
        HiddenPages([PHYSICAL[1]].into())
    }

    #[test]
    fn a_read_goes_across_pages() {
        let bytes = read(&memory(), &nothing(), START + 4094, 4).unwrap();
        assert_eq!(bytes, [1, 1, 2, 2]);
        assert_eq!(read(&memory(), &nothing(), START, 0), Ok(vec![]));
    }

    #[test]
    fn a_read_ends_where_memory_does() {
        let bytes = read(&memory(), &nothing(), START + 3 * 4096 - 2, 9).unwrap();
        assert_eq!(bytes, [3, 3]);
    }

    #[test]
    fn a_read_of_nothing_is_refused() {
        let address = GuestVirtual(START - 1);
        assert_eq!(
            read(&memory(), &nothing(), address.0, 9),
            Err(Refusal::NotPresent { address })
        );
        // At the end of the address space there is no way around.
        let last = GuestVirtual(u64::MAX);
        assert_eq!(
            read(&memory(), &nothing(), last.0, 2),
            Err(Refusal::NotPresent { address: last })
        );
    }

    #[test]
    fn a_write_goes_across_pages_and_names_them() {
        let mut mem = memory();
        let pages = write(&mut mem, &nothing(), START + 4095, &[8, 9]).unwrap();
        assert_eq!(pages, [0x5000, 0x4000]);
        assert_eq!(mem.bytes(0x5fff, 1), [8]);
        assert_eq!(mem.bytes(0x4000, 2), [9, 2]);
    }

    #[test]
    fn a_write_is_all_or_nothing() {
        let mut mem = memory();
        let before = mem.clone();
        let missing = GuestVirtual(START + 3 * 4096);
        assert_eq!(
            write(&mut mem, &nothing(), START + 4096, &[0; 8193]),
            Err(Refusal::NotPresent { address: missing })
        );
        assert_eq!(
            write(&mut mem, &second_page(), START + 4090, &[0; 7]),
            Err(Refusal::DebuggerMemory {
                address: GuestPhysical(PHYSICAL[1])
            })
        );
        assert_eq!(mem, before);
    }

    #[test]
    fn a_write_of_its_own_tables_is_carried_out_whole() {
        let mut mem = FlatMemory::new(LIMIT);
        let mut tables = GuestTables::new(ROOT, 4);
        tables.map(&mut mem, 0, ROOT, 12, PRESENT | WRITE);
        tables.map(&mut mem, 0x1000, 0x5000, 12, PRESENT | WRITE);
        // Wipes the root table, then goes on in the next page.
        write(&mut mem, &nothing(), 0, &[0; 4097]).unwrap();
        assert_eq!(mem.bytes(ROOT, 4096), [0; 4096]);
    }

    #[test]
    fn a_write_above_the_limit_is_refused() {
        let mut mem = memory();
        assert_eq!(
            write(
                &mut mem,
                &nothing(),
                START,
                &vec![0; limits::MEMORY_BYTES + 1]
            ),
            Err(Refusal::TooLong {
                limit_bytes: limits::MEMORY_BYTES as u64,
                asked_bytes: limits::MEMORY_BYTES as u64 + 1
            })
        );
    }

    #[test]
    fn the_debuggers_memory_is_not_shown() {
        let mem = memory();
        let address = GuestPhysical(PHYSICAL[1]);
        assert_eq!(
            read(&mem, &second_page(), START + 4090, 7),
            Err(Refusal::DebuggerMemory { address })
        );
        assert_eq!(read(&mem, &second_page(), START, 4096).unwrap().len(), 4096);
        let mut out = [0; 2];
        let refused = read_physical(&mem, &second_page(), GuestPhysical(0x3fff), &mut out);
        assert_eq!(refused, Err(Refusal::DebuggerMemory { address }));
        assert_eq!(out, [0; 2]);
    }

    #[test]
    fn physical_memory_is_read_and_written_in_range_only() {
        let mut mem = memory();
        let mut out = [0; 3];
        let at = GuestPhysical(0x4fff);
        assert_eq!(read_physical(&mem, &nothing(), at, &mut out), Ok(3));
        assert_eq!(out, [2, 1, 1]);
        let mut pages = Vec::new();
        write_physical(&mut mem, &nothing(), at, &[7, 8], |page| pages.push(page.0)).unwrap();
        assert_eq!(pages, [0x4000, 0x5000]);
        let limit = GuestPhysical(LIMIT);
        let last = GuestPhysical(LIMIT - 2);
        assert_eq!(
            read_physical(&mem, &nothing(), last, &mut out),
            Err(Refusal::PhysicalOutOfRange {
                address: limit,
                limit
            })
        );
        assert_eq!(read_physical(&mem, &nothing(), last, &mut out[..2]), Ok(2));
        let end = GuestPhysical(u64::MAX);
        assert!(write_physical(&mut mem, &nothing(), end, &[1, 2], |_| ()).is_err());
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn what_was_written_is_read_back(offset in 0_u64..12000, bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let mut mem = memory();
            let va = START + offset;
            let end = offset + bytes.len() as u64;
            match write(&mut mem, &nothing(), va, &bytes) {
                Ok(_) => prop_assert_eq!(read(&mem, &nothing(), va, bytes.len()).unwrap(), bytes),
                Err(_) => {
                    prop_assert!(end > 3 * 4096);
                    prop_assert_eq!(&mem, &memory());
                }
            }
        }
    }
}
