//! Where each global stands: the driver keeps this table, so that a host that starts anew finds
//! the variables that an earlier one made.

use crate::bytecode::GLOBAL_BYTES;

/// Different globals.
pub const GLOBALS: usize = 512;

/// A global's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    name: u64,
    offset: u16,
    len_bytes: u16,
}

/// Why a global cannot be defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalError {
    /// It exists with another length.
    OtherLength {
        /// The length it has.
        len_bytes: u32,
    },
    /// The area or the table is full.
    Full {
        /// Bytes left in the area.
        free_bytes: u32,
        /// Names left in the table.
        free_names: u32,
    },
}

/// All globals. They are never undefined: another program may use them.
#[derive(Debug)]
pub struct Globals {
    entries: [Entry; GLOBALS],
    count: usize,
    used_bytes: usize,
}

impl Globals {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        let empty = Entry {
            name: 0,
            offset: 0,
            len_bytes: 0,
        };
        Self {
            entries: [empty; GLOBALS],
            count: 0,
            used_bytes: 0,
        }
    }

    /// Offset in the area of the global whose name has this hash; made if there is none.
    ///
    /// # Errors
    /// It exists with another length, or there is no room. Nothing has changed then.
    pub fn define(&mut self, name: u64, len_bytes: u32) -> Result<u16, GlobalError> {
        let known = self.entries.get(..self.count).unwrap_or_default();
        if let Some(entry) = known.iter().find(|entry| entry.name == name) {
            return if u32::from(entry.len_bytes) == len_bytes {
                Ok(entry.offset)
            } else {
                Err(GlobalError::OtherLength {
                    len_bytes: entry.len_bytes.into(),
                })
            };
        }
        let full = GlobalError::Full {
            free_bytes: (GLOBAL_BYTES - self.used_bytes) as u32,
            free_names: (GLOBALS - self.count) as u32,
        };
        // Whole words, so that every global may be used atomically.
        let len = u16::try_from(len_bytes).map_err(|_| full)?;
        let end = self.used_bytes + usize::from(len.max(1)).next_multiple_of(8);
        let offset = u16::try_from(self.used_bytes).map_err(|_| full)?;
        if end > GLOBAL_BYTES {
            return Err(full);
        }
        *self.entries.get_mut(self.count).ok_or(full)? = Entry {
            name,
            offset,
            len_bytes: len,
        };
        self.count += 1;
        self.used_bytes = end;
        Ok(offset)
    }
}

impl Default for Globals {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defining_twice_gives_the_same_place() {
        let mut globals = Globals::new();
        assert_eq!(globals.define(7, 8), Ok(0));
        assert_eq!(globals.define(9, 12), Ok(8));
        assert_eq!(globals.define(8, 1), Ok(24));
        assert_eq!(globals.define(7, 8), Ok(0));
        assert_eq!(
            globals.define(9, 8),
            Err(GlobalError::OtherLength { len_bytes: 12 })
        );
    }

    #[test]
    fn full_area_and_full_table_are_refused() {
        let mut globals = Globals::new();
        assert_eq!(globals.define(1, 0xfff8), Ok(0));
        let full = |free_bytes, free_names| {
            Err(GlobalError::Full {
                free_bytes,
                free_names,
            })
        };
        assert_eq!(globals.define(2, 9), full(8, 511));
        assert_eq!(globals.define(2, 8), Ok(0xfff8));
        assert_eq!(globals.define(3, 1), full(0, 510));
        let mut globals = Globals::new();
        for name in 0..GLOBALS as u64 {
            assert!(globals.define(name, 8).is_ok());
        }
        assert_eq!(globals.define(1000, 8), full(0xf000, 0));
    }
}
