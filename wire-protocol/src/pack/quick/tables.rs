//! How likely each byte is in each context, as it was counted in the code of two Linux kernels, once: `tables.bin`, made by
//! `debugger-host/examples/pack_tables.rs`. It holds counts of many kinds of bytes, and no code.

use super::range::WHOLE;
use super::walk::CONTEXTS;

/// Tables: contexts in which much the same bytes come have one together.
pub const TABLES: usize = 64;

/// The table of each context, then a byte for each symbol of each table.
const FILE: &[u8; CONTEXTS + TABLES * 0x100] = include_bytes!("tables.bin");

/// How much a byte of the file means: as a number of four binary digits behind a first 1, and an exponent.
#[must_use]
pub const fn weight(byte: u8) -> u32 {
    (0x10 | (byte as u32 & 0x0f)) << (byte >> 4)
}

/// Where what a symbol has begins, for each symbol; behind the last, where it ends.
const STARTS_OF_TABLE: usize = 0x101;

#[allow(
    clippy::indexing_slicing,
    reason = "at compile time, where one beyond the end would be an error"
)]
static STARTS: [u16; TABLES * STARTS_OF_TABLE] = {
    let mut starts = [0; TABLES * STARTS_OF_TABLE];
    let mut table = 0;
    while table < TABLES {
        let (from, to) = (CONTEXTS + table * 0x100, table * STARTS_OF_TABLE);
        let mut sum = 0;
        let mut symbol = 0;
        while symbol < 0x100 {
            sum += weight(FILE[from + symbol]) as u64;
            symbol += 1;
        }
        // Each has at least one, and of the rest by its weight.
        let shared = WHOLE as u64 - 0x100;
        let mut before = 0;
        let mut symbol = 0;
        while symbol < 0x100 {
            before += weight(FILE[from + symbol]) as u64;
            symbol += 1;
            starts[to + symbol] = (symbol as u64 + before * shared / sum) as u16;
        }
        table += 1;
    }
    starts
};

/// Contexts, and room up to a power of two, so that each place below that is in the table.
const PLACES: usize = CONTEXTS.next_power_of_two();

/// Where the table of a context begins.
#[allow(clippy::indexing_slicing, reason = "at compile time")]
static OF_CONTEXTS: [u16; PLACES] = {
    let mut begins = [0; PLACES];
    let mut context = 0;
    while context < CONTEXTS {
        assert!((FILE[context] as usize) < TABLES);
        begins[context] = (FILE[context] as usize * STARTS_OF_TABLE) as u16;
        context += 1;
    }
    begins
};

#[inline(always)]
fn begin(context: usize) -> usize {
    usize::from(
        OF_CONTEXTS
            .get(context % PLACES)
            .copied()
            .unwrap_or_default(),
    )
}

/// Where what `byte` has begins in `context`, and how much that is, which is not 0.
#[inline(always)]
pub(super) fn share(context: usize, byte: u8) -> (u16, u16) {
    let at = begin(context) + usize::from(byte);
    match STARTS.get(at..) {
        Some([start, end, ..]) => (*start, end.wrapping_sub(*start)),
        _ => (0, 1),
    }
}

/// The byte that has `place` in `context`.
pub(super) fn holder(context: usize, place: u16) -> u8 {
    let starts = STARTS.get(begin(context)..).unwrap_or_default();
    let starts = starts.get(..0x100).unwrap_or_default();
    let behind = starts.partition_point(|start| *start <= place);
    behind.saturating_sub(1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_something_in_each_context() {
        for context in (0..CONTEXTS).step_by(if cfg!(miri) { 500 } else { 1 }) {
            let mut end = 0;
            for byte in 0..=0xff {
                let (start, width) = share(context, byte);
                assert_eq!(start, end);
                assert_ne!(width, 0);
                assert_eq!(holder(context, start), byte);
                end = start + width;
                assert_eq!(holder(context, end - 1), byte);
            }
            assert_eq!(end, WHOLE);
        }
    }

    #[test]
    fn what_is_likely_has_most() {
        // Behind the prefix of a wide operand, a load is more likely than HLT.
        let after_wide = 0x200 + 80;
        let (load, halt) = (share(after_wide, 0x8b).1, share(after_wide, 0xf4).1);
        assert!(load > 100 * halt, "{load} {halt}");
    }
}
