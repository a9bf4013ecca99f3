//! A small machine: memory, an arena, views, and nothing installed in it.

extern crate std;

use super::FlatMemory;
use crate::ept::mtrr::{RawMtrrs, VARIABLE_MAX};
use crate::ept::view::{HiddenChunks, MapRequest, Views};
use crate::event::Installed;
use crate::pool::TableSource;
use crate::pool::arena::Arena;
use crate::pool::budget::Design;
use std::boxed::Box;
use std::sync::OnceLock;

/// Bytes.
pub const GIB: u64 = 1 << 30;
/// Bytes.
pub const MIB: u64 = 1 << 20;

/// Everything write-back but the VGA hole, the ROMs and what is from 3 to 4 GiB.
pub fn mtrrs() -> RawMtrrs {
    const WB: u64 = 6;
    const ALL_WB: u64 = 0x0606_0606_0606_0606;
    let mut fixed = [0; 11];
    fixed[0] = ALL_WB;
    fixed[1] = ALL_WB;
    let mut variable = [(0, 0); VARIABLE_MAX];
    variable[0] = (3 * GIB, !(GIB - 1) & ((1 << 39) - 1) | 1 << 11);
    RawMtrrs {
        cap: 0x501,
        def_type: 1 << 11 | 1 << 10 | WB,
        fixed,
        variable,
        physical_address_bits: 39,
    }
}

/// Where the chunks of the arena are: under a 1 GiB leaf, and one alone under another.
pub const CHUNKS: [u64; 3] = [128 * MIB, 256 * MIB, GIB + 512 * MIB];

/// All of them, and nothing taken.
#[must_use]
pub fn arena() -> Arena {
    let mut arena = Arena::new();
    for chunk in CHUNKS {
        arena.add_chunk(chunk).unwrap();
    }
    arena
}

/// A machine in which events can be installed.
pub struct World {
    /// All of it.
    pub mem: FlatMemory,
    /// Nothing, in pools that are filled.
    pub installed: Box<Installed>,
    /// What is read where the debugger is.
    pub zero_page: u64,
    /// Where writes to it go.
    pub sink_page: u64,
}

/// No part of the arena is kept for `prealloc`; a handful of objects are reserved at load.
pub fn design() -> Design {
    let mut design = Design {
        prealloc_only_bytes: 0,
        ..Design::DEFAULT
    };
    design.levels.0 = [4, 0, 0, 0, 4, 2, 2, 0];
    design
}

/// What is the same for every test, so that it is made only once.
struct Built {
    mem: FlatMemory,
    views: Views,
    zero_page: u64,
    sink_page: u64,
    /// Pages carved from the arena.
    pages: u64,
}

fn build(has_1gib_leaves: bool) -> Built {
    let mut mem = FlatMemory::new(8 * GIB);
    let mut arena = arena();
    let zero_page = arena.take().unwrap();
    let sink_page = arena.take().unwrap();
    let hidden = HiddenChunks::new(arena.chunks());
    let request = MapRequest {
        limit: if cfg!(miri) { 2 * GIB } else { 6 * GIB },
        mtrrs: &mtrrs(),
        has_1gib_leaves,
        hidden: &hidden,
        zero_page,
        sink_page,
        has_view_switching: false,
    };
    let views = Views::build(&request, &mut mem, &mut arena).unwrap();
    Built {
        mem,
        views,
        zero_page,
        sink_page,
        pages: arena.carved_bytes() / 4096,
    }
}

/// Memory of 8 GiB, of which 6 GiB are mapped.
pub fn world(has_1gib_leaves: bool, design: Design) -> World {
    static SMALL: OnceLock<Built> = OnceLock::new();
    static LARGE: OnceLock<Built> = OnceLock::new();
    let place = if has_1gib_leaves { &LARGE } else { &SMALL };
    let built = place.get_or_init(|| build(has_1gib_leaves));
    let mut arena = arena();
    for _ in 0..built.pages {
        arena.take().unwrap();
    }
    let mut installed = Box::new(Installed::new());
    installed.init(arena, design, built.views, 2).unwrap();
    World {
        mem: built.mem.clone(),
        installed,
        zero_page: built.zero_page,
        sink_page: built.sink_page,
    }
}
