//! Programs that do nothing but add a number to a global, as most that count do: `.hits++;`. They need not be run
//! to be carried out. Used by the driver when an event is added, and at its hits.

use super::Verified;
use super::translate::{Sink, translate};
use super::word::{Code, Word};
use core::sync::atomic::{AtomicU64, Ordering};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Of the global, in words.
    slot: u16,
    addend: i32,
}

impl Count {
    /// Operations of such a program.
    pub const OPERATIONS: u64 = 2;

    /// What a program adds, if that is all it does.
    #[must_use]
    pub fn of(program: &Verified<'_>) -> Option<Self> {
        let First { words, count } = translate(program, First::default());
        let [Some(add), Some(exit)] = words else {
            return None;
        };
        let is_all = count == words.len()
            && add.code() == Some(Code::AddGlobal)
            && exit.code() == Some(Code::Exit);
        is_all.then_some(Self {
            slot: u16::try_from(add.short_place()).ok()?,
            addend: i32::try_from(add.short_number().cast_signed()).ok()?,
        })
    }

    /// Adds; what other cores do to the global comes before or after. Nothing if there is no such global.
    #[inline]
    pub fn add(self, globals: &[AtomicU64]) {
        if let Some(global) = globals.get(usize::from(self.slot)) {
            let addend = i64::from(self.addend).cast_unsigned();
            global.fetch_add(addend, Ordering::AcqRel);
        }
    }
}

/// Keeps the first words.
#[derive(Default)]
struct First {
    words: [Option<Word>; 2],
    count: usize,
}

impl Sink for First {
    fn word(&mut self, word: Word, _: u32) -> bool {
        let place = self.words.get_mut(self.count);
        self.count += 1;
        let is_wanted = place.is_some();
        if let Some(place) = place {
            *place = Some(word);
        }
        is_wanted
    }
    fn label(&mut self) {}
    fn function(&mut self) {}
}
