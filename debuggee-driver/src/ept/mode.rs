//! The hooked view once more for each mode, in which nothing of the other mode can be executed: a change of
//! mode is then an EPT violation.
//!
//! Only the root tables are copies; everything below is shared, so that hooks and monitors are there without
//! being kept twice. Entries of a root table never change after boot: what is split, merged and hidden stands
//! below them. SDM "Mode-Based Execute Control for EPT" 29.3.3.2. Built by `boot`.

use super::entry::{ENTRIES, Entry, Mode, eptp};
use super::table::View;
use crate::pool::TableSource;
use crate::port::PhysicalMemory;

/// EPT pointers of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeViews {
    user: u64,
    kernel: u64,
}

impl ModeViews {
    /// Copies the root table of the hooked view twice. `None` if there is no page for it.
    #[must_use]
    pub fn build(
        hooked: &View,
        mem: &mut impl PhysicalMemory,
        tables: &mut impl TableSource,
    ) -> Option<Self> {
        let mut copy = |mode| {
            let root = tables.take()?;
            for offset in (0..ENTRIES).map(|index| index * 8) {
                let entry = Entry(mem.read_u64(hooked.root() + offset));
                mem.write_u64(root + offset, entry.only_for(mode).0);
            }
            Some(eptp(root))
        };
        Some(Self {
            user: copy(Mode::User)?,
            kernel: copy(Mode::Kernel)?,
        })
    }

    /// The EPT pointer of the view in which only this mode can execute anything.
    #[must_use]
    pub const fn only_for(&self, mode: Mode) -> u64 {
        match mode {
            Mode::User => self.user,
            Mode::Kernel => self.kernel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ept::entry::Level;
    use crate::ept::model::{MIB, design, world};

    #[test]
    fn each_mode_has_what_is_below_the_hooked_root() {
        let mut world = world(true, design());
        let hooked = world.installed.views().hooked;
        let arena = world.installed.pools_mut().arena_mut();
        let views = ModeViews::build(&hooked, &mut world.mem, arena).unwrap();
        for (mode, other) in [(Mode::User, Mode::Kernel), (Mode::Kernel, Mode::User)] {
            let own = View::at(views.only_for(mode) & !0xfff);
            let entry = Entry(world.mem.read_u64(own.root()));
            assert!(entry.is_for(mode) && !entry.is_for(other));
            assert!(entry.is_table(Level::Root));
            for at in [0, 64 * MIB, 700 * MIB] {
                assert_eq!(own.walk(&world.mem, at), hooked.walk(&world.mem, at));
            }
            // Nothing is mapped beyond the end of memory.
            assert!(!Entry(world.mem.read_u64(own.root() + 8)).is_present());
        }
    }
}
