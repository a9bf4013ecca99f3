//! One 64-bit EPT entry, and the EPT pointer. Pure encoding.
//!
//! SDM "Extended Page Tables (EPT)" 29.3, "EPT Translation Mechanism" 29.3.2.

use bitflags::bitflags;

/// Entries of a table.
pub const ENTRIES: u64 = 512;

/// Bits 51:12, the physical address in an entry (those above the processor's width are 0).
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE: u64 = 1 << 7;
const TYPE_SHIFT: u32 = 3;
const TYPE: u64 = 7 << TYPE_SHIFT;
/// Ignored by the processor in entries that name a table (bits 63:52 are).
const SPLIT: u64 = 1 << 52;
const SHARED: u64 = 1 << 53;
/// Ignored by the processor in leaves too.
const WATCHED: u64 = 1 << 54;

/// Instruction fetches; with mode-based execute control, those of the kernel.
const KERNEL_EXECUTE: u64 = 1 << 2;
/// Those of user mode. Without mode-based execute control the processor ignores it.
const USER_EXECUTE: u64 = 1 << 10;

/// Whose pages instructions are fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Pages that user mode may access.
    User,
    /// All others.
    Kernel,
}

bitflags! {
    /// What may be done with memory that an entry maps.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Permissions: u64 {
        /// Data reads.
        const READ = 1;
        /// Data writes. Not without [`Self::READ`]: the processor calls that a misconfiguration.
        const WRITE = 2;
        /// Instruction fetches, from the kernel's pages and, by bit 10, from those of user mode: what leads to
        /// a page is for both, but see [`Entry::only_for`]. Without [`Self::READ`] only if
        /// `IA32_VMX_EPT_VPID_CAP` bit 0 is set.
        const EXECUTE = KERNEL_EXECUTE | USER_EXECUTE;
    }
}

/// Memory types as EPT entries and MTRRs encode them. SDM "Memory Types and MTRR" Table 13-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemoryType {
    /// UC
    Uncacheable = 0,
    /// WC
    WriteCombining = 1,
    /// WT
    WriteThrough = 4,
    /// WP
    WriteProtected = 5,
    /// WB
    WriteBack = 6,
}

impl MemoryType {
    /// From its encoding, of which there are five.
    #[must_use]
    pub const fn decode(encoding: u8) -> Option<Self> {
        match encoding {
            0 => Some(Self::Uncacheable),
            1 => Some(Self::WriteCombining),
            4 => Some(Self::WriteThrough),
            5 => Some(Self::WriteProtected),
            6 => Some(Self::WriteBack),
            _ => None,
        }
    }
}

/// The level of the table an entry stands in; what it maps if it is a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// In a page table: a 4 KiB page.
    Page4K,
    /// In a page directory: a 2 MiB page or a page table.
    Page2M,
    /// In a page-directory-pointer table: a 1 GiB page or a page directory.
    Page1G,
    /// In the PML4 table: always a page-directory-pointer table.
    Root,
}

impl Level {
    /// Address bits below the ones that pick an entry at this level.
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            Self::Page4K => 12,
            Self::Page2M => 21,
            Self::Page1G => 30,
            Self::Root => 39,
        }
    }

    /// Bytes that one entry at this level covers.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// The level of the table that an entry at this level can name.
    #[must_use]
    pub const fn below(self) -> Option<Self> {
        match self {
            Self::Page4K => None,
            Self::Page2M => Some(Self::Page4K),
            Self::Page1G => Some(Self::Page2M),
            Self::Root => Some(Self::Page1G),
        }
    }

    /// Byte offset, in a table of this level, of the entry for `gpa`.
    #[must_use]
    pub const fn entry_offset(self, gpa: u64) -> u64 {
        ((gpa >> self.shift()) % ENTRIES) * 8
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry(pub u64);

impl Entry {
    /// Maps nothing: any access is an EPT violation.
    pub const ABSENT: Self = Self(0);

    /// Names the table at physical address `table`; permissions are left to the leaves.
    #[must_use]
    pub const fn table(table: u64) -> Self {
        Self(table & ADDRESS | Permissions::all().bits())
    }

    /// Names a table that was split out of a leaf and may be merged again. Bit 52 says so; the
    /// processor ignores it.
    #[must_use]
    pub const fn split_table(table: u64) -> Self {
        Self(Self::table(table).0 | SPLIT)
    }

    /// Names a table that many entries name, so that it must not be edited. Bit 53 says so; the
    /// processor ignores it.
    #[must_use]
    pub const fn shared_table(table: u64) -> Self {
        Self(Self::table(table).0 | SHARED)
    }

    /// Maps the page at physical address `page`, aligned to the size of `level`.
    #[must_use]
    pub const fn leaf(
        page: u64,
        level: Level,
        memory_type: MemoryType,
        permissions: Permissions,
    ) -> Self {
        let large = match level {
            Level::Page4K => 0,
            _ => LARGE,
        };
        let type_bits = (memory_type as u64) << TYPE_SHIFT;
        Self(page & ADDRESS & !(level.bytes() - 1) | large | type_bits | permissions.bits())
    }

    /// Any permission: an entry without one is not present.
    #[must_use]
    pub const fn is_present(self) -> bool {
        !self.permissions().is_empty()
    }

    /// Whether this entry, found at `level`, names a table.
    #[must_use]
    pub const fn is_table(self, level: Level) -> bool {
        self.is_present()
            && match level {
                Level::Page4K => false,
                Level::Page2M | Level::Page1G => self.0 & LARGE == 0,
                Level::Root => true,
            }
    }

    /// Whether it is the result of [`Self::split_table`]. To be asked of entries that name a table.
    #[must_use]
    pub const fn is_split(self) -> bool {
        self.0 & SPLIT != 0
    }

    /// Whether it is the result of [`Self::shared_table`]. To be asked of entries that name a table.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        self.0 & SHARED != 0
    }

    /// Physical address of the table or the page.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0 & ADDRESS
    }

    /// Permissions.
    #[must_use]
    pub const fn permissions(self) -> Permissions {
        Permissions::from_bits_truncate(self.0)
    }

    /// The same entry with other permissions.
    #[must_use]
    pub const fn with_permissions(self, permissions: Permissions) -> Self {
        Self(self.0 & !Permissions::all().bits() | permissions.bits())
    }

    /// The same entry, below which only one mode can execute anything.
    #[must_use]
    pub const fn only_for(self, mode: Mode) -> Self {
        let other = match mode {
            Mode::User => KERNEL_EXECUTE,
            Mode::Kernel => USER_EXECUTE,
        };
        Self(self.0 & !other)
    }

    /// Whether a mode can execute what stands below, if that allows it.
    #[cfg(any(test, feature = "fake"))]
    pub(crate) const fn is_for(self, mode: Mode) -> bool {
        let bit = match mode {
            Mode::User => USER_EXECUTE,
            Mode::Kernel => KERNEL_EXECUTE,
        };
        self.0 & bit != 0
    }

    /// The same leaf, marked as changed for what is watched. Bit 54 says so; the processor ignores
    /// it.
    #[must_use]
    pub const fn watched(self) -> Self {
        Self(self.0 | WATCHED)
    }

    /// Whether it is the result of [`Self::watched`]: what it lacks can be given back.
    #[must_use]
    pub const fn is_watched(self) -> bool {
        self.0 & WATCHED != 0
    }

    /// The leaf that was there before [`Self::watched`], if only permissions were taken away.
    #[must_use]
    pub const fn unwatched(self) -> Self {
        if self.is_watched() {
            Self(self.0 & !WATCHED | Permissions::all().bits())
        } else {
            self
        }
    }

    /// Memory type of a leaf; `None` for an encoding that is reserved.
    #[must_use]
    pub const fn memory_type(self) -> Option<MemoryType> {
        MemoryType::decode(((self.0 & TYPE) >> TYPE_SHIFT) as u8)
    }

    /// The inverse of [`Self::part`] for index 0: the leaf at `level` that the first of its parts
    /// belongs to, if there can be one.
    #[must_use]
    pub const fn whole(first: Self, level: Level) -> Option<Self> {
        let Some(below) = level.below() else {
            return None;
        };
        let aligned = first.address() & (level.bytes() - 1) == 0;
        let is_leaf = (first.is_present() || first.is_watched()) && !first.is_table(below);
        if !aligned || !is_leaf {
            return None;
        }
        Some(Self(first.0 | LARGE))
    }

    /// The leaf for the `index`-th part of what `self`, a leaf at `level`, maps: one level down,
    /// everything else the same.
    #[must_use]
    pub const fn part(self, level: Level, index: u64) -> Self {
        let Some(below) = level.below() else {
            return self;
        };
        let large = match below {
            Level::Page4K => 0,
            _ => LARGE,
        };
        Self((self.0 & !LARGE | large) + (index % ENTRIES) * below.bytes())
    }
}

/// The EPT pointer for a root table: four levels, tables in write-back memory, no accessed and
/// dirty flags. SDM "Extended-Page-Table Pointer (EPTP)" 25.6.11.
#[must_use]
pub const fn eptp(root: u64) -> u64 {
    const LEVELS_MINUS_ONE: u64 = 3 << 3;
    root & ADDRESS | LEVELS_MINUS_ONE | MemoryType::WriteBack as u64
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_leaf_has_the_bits_of_the_manual() {
        let rwx = Permissions::all();
        let entry = Entry::leaf(0x4020_0000, Level::Page2M, MemoryType::WriteBack, rwx);
        assert_eq!(entry.0, 0x4020_0000 | 1 << 10 | 1 << 7 | 6 << 3 | 7);
        let page = Entry::leaf(
            0x1000,
            Level::Page4K,
            MemoryType::Uncacheable,
            Permissions::EXECUTE,
        );
        assert_eq!(page.0, 0x1404);
        assert!(page.is_present() && !page.is_table(Level::Page4K));
    }

    #[test]
    fn a_table_entry_leaves_permissions_to_the_leaves() {
        assert_eq!(Entry::table(0x5000).0, 0x5407);
        assert!(Entry::table(0x5000).is_table(Level::Page2M));
        assert!(Entry::split_table(0x5000).is_split());
        assert!(!Entry::table(0x5000).is_split());
        assert_eq!(Entry::split_table(0x5000).address(), 0x5000);
        assert!(!Entry::ABSENT.is_table(Level::Root));
    }

    #[test]
    fn eptp_says_four_levels_and_write_back() {
        assert_eq!(eptp(0x1234_5000), 0x1234_5000 | 3 << 3 | 6);
    }

    #[test]
    fn reserved_memory_types_are_not_decoded() {
        for encoding in [2, 3, 7, 255] {
            assert_eq!(MemoryType::decode(encoding), None);
        }
    }

    proptest! {
        #![proptest_config(crate::ept::model::config())]

        #[test]
        fn leaves_decode_to_what_was_encoded(
            page in 0_u64..1 << 40,
            type_encoding in prop::sample::select(std::vec![0_u8, 1, 4, 5, 6]),
            allowed in 0_u64..8,
            large in 0_u8..3,
        ) {
            let level = [Level::Page4K, Level::Page2M, Level::Page1G][usize::from(large)];
            let page = page & !(level.bytes() - 1);
            let memory_type = MemoryType::decode(type_encoding).unwrap();
            let all = Permissions::all().iter().enumerate();
            let permissions = all.filter(|(bit, _)| allowed & 1 << bit != 0).map(|(_, one)| one).collect();
            let entry = Entry::leaf(page, level, memory_type, permissions);
            prop_assert_eq!(entry.address() & !(level.bytes() - 1), page);
            prop_assert_eq!(entry.memory_type(), Some(memory_type));
            prop_assert_eq!(entry.permissions(), permissions);
            prop_assert!(!entry.is_table(level));
        }

        #[test]
        fn parts_of_a_leaf_cover_it_in_order(index in 0_u64..512) {
            for (level, below) in [(Level::Page1G, Level::Page2M), (Level::Page2M, Level::Page4K)] {
                let all = Permissions::all();
                let whole = Entry::leaf(7 << 30, level, MemoryType::WriteThrough, all);
                let page = (7 << 30) + index * below.bytes();
                let part = Entry::leaf(page, below, MemoryType::WriteThrough, all);
                prop_assert_eq!(whole.part(level, index), part);
            }
        }
    }
}
