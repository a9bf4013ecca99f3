//! Memory types from the memory type range registers: raw values in, types out. Called when the
//! views are built, at boot.
//!
//! SDM "Memory Type Range Registers (MTRRs)" 13.11, and for overlaps "MTRR Precedences" 13.11.4.1.

use super::entry::MemoryType;

/// Pairs of variable-range registers that are looked at; processors have about ten.
pub const VARIABLE_MAX: usize = 32;

/// Below this address the fixed ranges are in charge.
const FIXED_LIMIT: u64 = 1 << 20;
const FIXED_STEP: u64 = 4096;

/// Registers as the boot processor has them.
#[derive(Clone, Copy, Debug)]
pub struct RawMtrrs {
    /// `IA32_MTRRCAP`.
    pub cap: u64,
    /// `IA32_MTRR_DEF_TYPE`.
    pub def_type: u64,
    /// `IA32_MTRR_FIX64K_00000`, `FIX16K_80000`, `FIX16K_A0000`, `FIX4K_C0000` … `FIX4K_F8000`.
    pub fixed: [u64; 11],
    /// `IA32_MTRR_PHYSBASEn` and `IA32_MTRR_PHYSMASKn`; the number of pairs is in `cap`.
    pub variable: [(u64, u64); VARIABLE_MAX],
    /// Width of a physical address in bits (CPUID leaf `8000_0008`, EAX bits 7:0).
    pub physical_address_bits: u32,
}

impl RawMtrrs {
    /// The type of the naturally aligned range of `len_bytes` (a power of two, at least a page)
    /// that starts at `start`, if the registers give all of it the same type. Always an answer
    /// for a single page.
    #[must_use]
    pub fn type_of(&self, start: u64, len_bytes: u64) -> Option<MemoryType> {
        if !len_bytes.is_power_of_two() || !start.is_multiple_of(len_bytes) {
            return None;
        }
        if !self.is_enabled() {
            return Some(MemoryType::Uncacheable);
        }
        if !self.fixed_apply() || start >= FIXED_LIMIT {
            return self.variable_type(start, len_bytes);
        }
        let below = self.fixed_type(start, len_bytes.min(FIXED_LIMIT))?;
        // An aligned range that starts below 1 MiB and ends above it starts at 0, so that what is
        // above is the aligned parts 1 to 2 MiB, 2 to 4 MiB and so on.
        let mut part = FIXED_LIMIT;
        while part < len_bytes {
            if self.variable_type(part, part)? != below {
                return None;
            }
            part = part.checked_mul(2)?;
        }
        Some(below)
    }

    /// Bit E of `IA32_MTRR_DEF_TYPE`; without it all memory is uncacheable.
    const fn is_enabled(&self) -> bool {
        self.def_type & 1 << 11 != 0
    }

    /// Bit FIX of the capability and bit FE of the default type.
    const fn fixed_apply(&self) -> bool {
        self.cap & 1 << 8 != 0 && self.def_type & 1 << 10 != 0
    }

    fn default_type(&self) -> MemoryType {
        decode(self.def_type)
    }

    fn fixed_type(&self, start: u64, len_bytes: u64) -> Option<MemoryType> {
        let first = self.fixed_type_at(start);
        // At most 256 steps: the fixed ranges cover 1 MiB.
        let mut at = start;
        let end = start.saturating_add(len_bytes).min(FIXED_LIMIT);
        while at < end {
            if self.fixed_type_at(at) != first {
                return None;
            }
            at += FIXED_STEP;
        }
        Some(first)
    }

    /// SDM "Fixed Range MTRRs" 13.11.2.2: eight ranges of 64 KiB, sixteen of 16 KiB, 64 of 4 KiB,
    /// one byte each.
    fn fixed_type_at(&self, at: u64) -> MemoryType {
        let byte = match at {
            0..0x8_0000 => at >> 16,
            0x8_0000..0xc_0000 => 8 + ((at - 0x8_0000) >> 14),
            _ => 24 + ((at - 0xc_0000) >> 12),
        };
        let register = usize::try_from(byte / 8).unwrap_or(usize::MAX);
        let value = self.fixed.get(register).copied().unwrap_or(0);
        decode(value >> (byte % 8 * 8))
    }

    fn variable_type(&self, start: u64, len_bytes: u64) -> Option<MemoryType> {
        let mut whole = None;
        for (memory_type, _) in self.overlaps(start, len_bytes).filter(|(_, all)| *all) {
            whole = Some(whole.map_or(memory_type, |other| stronger(other, memory_type)));
        }
        let base = whole.unwrap_or_else(|| self.default_type());
        // A range that covers only a part must not make that part different.
        let mut parts = self.overlaps(start, len_bytes).filter(|(_, all)| !all);
        let same = parts.all(|(memory_type, _)| match whole {
            Some(whole) => stronger(whole, memory_type) == whole,
            None => memory_type == base,
        });
        same.then_some(base)
    }

    /// Types of the variable ranges that overlap the aligned range, and whether they cover all
    /// of it.
    fn overlaps(&self, start: u64, len_bytes: u64) -> impl Iterator<Item = (MemoryType, bool)> {
        let count = (self.cap & 0xff) as usize;
        let width_mask = 1_u64
            .checked_shl(self.physical_address_bits)
            .map_or(u64::MAX, |limit| limit - 1);
        let pairs = self.variable.iter().take(count);
        pairs.filter_map(move |(base, mask)| {
            const VALID: u64 = 1 << 11;
            if mask & VALID == 0 {
                return None;
            }
            // SDM "Variable Range MTRRs" 13.11.2.3: an address is in the range if it equals the
            // base in all bits of the mask.
            let mask_address = mask & width_mask & !0xfff;
            let differing = (start ^ base) & mask_address;
            let fixed_inside = mask_address & (len_bytes - 1);
            if differing & !(len_bytes - 1) != 0 {
                return None;
            }
            Some((decode(*base), fixed_inside == 0))
        })
    }
}

/// Reserved encodings cannot be written to the registers; should one be read all the same, the
/// memory is left uncached.
fn decode(register: u64) -> MemoryType {
    MemoryType::decode((register & 0xff) as u8).unwrap_or(MemoryType::Uncacheable)
}

/// Of two overlapping ranges. The manual defines equal types, UC with anything, and WT with WB;
/// any other mix is left uncached.
fn stronger(one: MemoryType, other: MemoryType) -> MemoryType {
    use MemoryType::{Uncacheable, WriteBack, WriteThrough};
    match (one, other) {
        (one, other) if one == other => one,
        (WriteThrough, WriteBack) | (WriteBack, WriteThrough) => WriteThrough,
        _ => Uncacheable,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::ept::model::{GIB, MIB, config, mtrrs};
    use MemoryType::{Uncacheable, WriteBack, WriteCombining, WriteThrough};
    use proptest::prelude::*;

    const VALID: u64 = 1 << 11;

    /// No fixed ranges, and these variable ones: start, length, type.
    fn variable(default: MemoryType, ranges: &[(u64, u64, MemoryType)]) -> RawMtrrs {
        let mut raw = RawMtrrs {
            cap: ranges.len() as u64,
            def_type: 1 << 11 | default as u64,
            fixed: [0; 11],
            variable: [(0, 0); VARIABLE_MAX],
            physical_address_bits: 39,
        };
        for (slot, (start, len_bytes, memory_type)) in raw.variable.iter_mut().zip(ranges) {
            let mask = !(len_bytes - 1) & ((1 << 39) - 1);
            *slot = (start | *memory_type as u64, mask | VALID);
        }
        raw
    }

    #[test]
    fn disabled_registers_leave_all_memory_uncacheable() {
        let mut raw = mtrrs();
        raw.def_type &= !(1 << 11);
        assert_eq!(raw.type_of(0, GIB), Some(Uncacheable));
    }

    #[test]
    fn fixed_ranges_rule_below_one_mib_only_when_enabled() {
        let mut raw = mtrrs();
        assert_eq!(raw.type_of(0xa_0000, 4096), Some(Uncacheable));
        assert_eq!(raw.type_of(0, 2 * MIB), None);
        raw.def_type &= !(1 << 10);
        assert_eq!(raw.type_of(0xa_0000, 4096), Some(WriteBack));
        assert_eq!(raw.type_of(0, 2 * MIB), Some(WriteBack));
        raw.def_type |= 1 << 10;
        raw.cap &= !(1 << 8);
        assert_eq!(raw.type_of(0, 2 * MIB), Some(WriteBack));
    }

    #[test]
    fn every_fixed_range_has_its_own_byte() {
        let mut raw = mtrrs();
        for (register, first, step) in [
            (0, 0, 0x1_0000),
            (1, 0x8_0000, 0x4000),
            (2, 0xa_0000, 0x4000),
            (3, 0xc_0000, 0x1000),
            (10, 0xf_8000, 0x1000),
        ] {
            for byte in 0..8 {
                raw.fixed = [0; 11];
                raw.fixed[register] = (WriteThrough as u64) << (byte * 8);
                let start = first + byte * step;
                assert_eq!(raw.type_of(start, 4096), Some(WriteThrough));
                assert_eq!(raw.type_of(start + step - 4096, 4096), Some(WriteThrough));
                assert_eq!(raw.type_of((start + step) % MIB, 4096), Some(Uncacheable));
            }
        }
    }

    #[test]
    fn fixed_ranges_of_one_type_join_with_what_is_above() {
        let mut raw = mtrrs();
        raw.fixed = [0x0606_0606_0606_0606; 11];
        assert_eq!(raw.type_of(0, GIB), Some(WriteBack));
        raw.variable[0] = (MIB, !(MIB - 1) & ((1 << 39) - 1) | VALID);
        assert_eq!(raw.type_of(0, GIB), None);
        assert_eq!(raw.type_of(0, MIB), Some(WriteBack));
    }

    #[test]
    fn overlaps_follow_the_manual() {
        let cases = [
            ([WriteBack, Uncacheable], Uncacheable),
            ([WriteThrough, WriteBack], WriteThrough),
            ([WriteThrough, WriteThrough], WriteThrough),
            ([WriteCombining, WriteBack], Uncacheable),
        ];
        for ([one, other], expected) in cases {
            for [one, other] in [[one, other], [other, one]] {
                let raw = variable(WriteBack, &[(0, GIB, one), (0, 2 * GIB, other)]);
                assert_eq!(raw.type_of(0, GIB), Some(expected));
                assert_eq!(raw.type_of(GIB, GIB), Some(other));
                assert_eq!(raw.type_of(2 * GIB, GIB), Some(WriteBack));
            }
        }
    }

    #[test]
    fn a_range_in_part_of_another_type_is_mixed() {
        let raw = variable(
            Uncacheable,
            &[(0, GIB, WriteBack), (64 * MIB, MIB, Uncacheable)],
        );
        assert_eq!(raw.type_of(0, GIB), None);
        assert_eq!(raw.type_of(64 * MIB, 2 * MIB), None);
        assert_eq!(raw.type_of(64 * MIB, MIB), Some(Uncacheable));
        // Of the same type as all around it, a part does not matter.
        let raw = variable(
            WriteBack,
            &[(0, GIB, WriteThrough), (64 * MIB, MIB, WriteBack)],
        );
        assert_eq!(raw.type_of(0, GIB), Some(WriteThrough));
    }

    #[test]
    fn bits_above_the_physical_width_do_not_matter() {
        let mut raw = variable(WriteBack, &[(GIB, GIB, Uncacheable)]);
        raw.variable[0].1 |= 0xffff << 48;
        assert_eq!(raw.type_of(GIB, GIB), Some(Uncacheable));
    }

    #[test]
    fn invalid_pairs_and_pairs_beyond_the_count_do_not_matter() {
        let mut raw = variable(WriteBack, &[(GIB, GIB, Uncacheable)]);
        raw.cap = 0;
        assert_eq!(raw.type_of(GIB, GIB), Some(WriteBack));
        raw.cap = 1;
        raw.variable[0].1 &= !VALID;
        assert_eq!(raw.type_of(GIB, GIB), Some(WriteBack));
    }

    #[test]
    fn a_range_that_is_not_aligned_has_no_answer() {
        assert_eq!(mtrrs().type_of(4096, 8192), None);
        assert_eq!(mtrrs().type_of(0, 12288), None);
    }

    /// The manual's rules for one page, read word by word.
    fn type_of_page(raw: &RawMtrrs, page: u64) -> MemoryType {
        let count = (raw.cap & 0xff) as usize;
        let mask_of = |mask: u64| mask & ((1 << raw.physical_address_bits) - 1) & !0xfff;
        let types: std::vec::Vec<MemoryType> = raw.variable[..count]
            .iter()
            .filter(|(base, mask)| {
                mask & VALID != 0 && page & mask_of(*mask) == base & mask_of(*mask)
            })
            .map(|(base, _)| decode(*base))
            .collect();
        match types.as_slice() {
            [] => raw.default_type(),
            [first, rest @ ..] if rest.iter().all(|other| other == first) => *first,
            all if all.iter().all(|t| matches!(t, WriteBack | WriteThrough)) => WriteThrough,
            _ => Uncacheable,
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn every_page_of_a_uniform_range_has_its_type(
            default in prop::sample::select(std::vec![0_u64, 1, 4, 5, 6]),
            pairs in prop::collection::vec(
                (0_u64..64, prop::sample::select(std::vec![0_u64, 1, 4, 5, 6]), 0_u64..64, 0_u32..7),
                0..6,
            ),
            index in 0_u64..64,
            order in 0_u32..6,
        ) {
            let mut raw = variable(WriteBack, &[]);
            raw.cap = pairs.len() as u64;
            raw.def_type = VALID | default;
            for (slot, (base, memory_type, holes, order)) in raw.variable.iter_mut().zip(pairs) {
                // A power of two, with holes: discontinuous masks are allowed.
                let mask = !((1_u64 << (12 + order)) - 1) & !(holes << 12) | holes << 14;
                *slot = (base << 12 | memory_type, mask & ((1 << 39) - 1) | VALID);
            }
            let len_bytes = 4096_u64 << order;
            let start = (index << 12) & !(len_bytes - 1);
            let answer = raw.type_of(start, len_bytes);
            let pages = (start..start + len_bytes).step_by(4096);
            if let Some(answer) = answer {
                for page in pages {
                    prop_assert_eq!(type_of_page(&raw, page), answer);
                }
            } else {
                prop_assert!(len_bytes > 4096);
            }
        }
    }
}
