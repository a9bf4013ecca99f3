//! A small machine: memory, an arena, views, and nothing installed in it.

extern crate std;

use super::FlatMemory;
use crate::ept::mtrr::{RawMtrrs, VARIABLE_MAX};
use crate::ept::view::{HiddenChunks, MapRequest, Views};
use crate::event::{Bitmaps, Installed};
use crate::pool::TableSource;
use crate::pool::arena::Arena;
use crate::pool::budget::Design;
use crate::port::PortRange;
use std::boxed::Box;
use std::sync::OnceLock;
use wire_protocol::address::PAGE_BYTES;

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

/// Four pages that nothing else uses.
pub const BITMAPS: Bitmaps = Bitmaps {
    msr: 24 * MIB,
    own_msr: 24 * MIB + 0x1000,
    io: 24 * MIB + 0x2000,
    owned_ports: PortRange {
        first: 0x3f8,
        count: 8,
    },
    clock_ports: PortRange { first: 0, count: 0 },
};

/// All of them, and nothing taken.
#[must_use]
pub fn arena() -> Arena {
    arena_of(&CHUNKS)
}

/// An arena of these chunks, and nothing taken.
fn arena_of(chunks: &[u64]) -> Arena {
    let mut arena = Arena::new();
    for chunk in chunks {
        arena.add_chunk(*chunk).unwrap();
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
    /// Pages of bitmaps.
    pub bitmaps: Bitmaps,
    /// Cores that there can be.
    pub cores: u16,
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

fn build(has_1gib_leaves: bool, arena: &mut Arena, limits: [u64; 2]) -> Built {
    let [limit, mapped] = limits;
    let mut mem = FlatMemory::new(limit);
    let zero_page = arena.take().unwrap();
    let sink_page = arena.take().unwrap();
    let hidden = HiddenChunks::new(arena.chunks());
    let request = MapRequest {
        limit: mapped,
        mtrrs: &mtrrs(),
        has_1gib_leaves,
        hidden: &hidden,
        zero_page,
        sink_page,
        has_view_switching: false,
    };
    let views = Views::build(&request, &mut mem, arena).unwrap();
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
    let mapped = if cfg!(miri) { 2 * GIB } else { 6 * GIB };
    let built = place.get_or_init(|| build(has_1gib_leaves, &mut arena(), [8 * GIB, mapped]));
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
        bitmaps: BITMAPS,
        cores: 2,
    }
}

/// A machine whose arena has these chunks, and whose physical addresses end at `limit`.
#[must_use]
pub fn world_of(chunks: &[u64], limit: u64, cores: u16, design: Design) -> World {
    let mut arena = arena_of(chunks);
    let built = build(true, &mut arena, [limit, limit]);
    let [msr, own_msr] = [(); 2].map(|()| arena.take().unwrap());
    let io = arena.carve(2 * PAGE_BYTES as u32, PAGE_BYTES as u32);
    let io = io.unwrap().start().0;
    let mut installed = Box::new(Installed::new());
    installed.init(arena, design, built.views, cores).unwrap();
    World {
        mem: built.mem,
        installed,
        zero_page: built.zero_page,
        sink_page: built.sink_page,
        bitmaps: Bitmaps {
            msr,
            own_msr,
            io,
            ..BITMAPS
        },
        cores,
    }
}
