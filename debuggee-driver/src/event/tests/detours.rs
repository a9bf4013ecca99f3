//! Detours: what the guest executes, what is refused, and that nothing is left over.

use super::*;
use crate::event::detour::{Code, PAGES, SLOT_BYTES, SLOTS, Site, ViewList};
use wire_protocol::address::Extent;
use wire_protocol::event::EventSpec;
use wire_protocol::refusal::DetourObstacle;
use wire_protocol::refusal::EventRefusal;

const KERNEL: u64 = 0xffff_ffff_8100_0000;
const PLACES: u64 = 0xffff_ffff_c000_1000;
const STUB: u64 = 0xffff_ffff_c010_0000;
/// The list of views, and what is in it while there is a detour.
const LIST: u64 = RAM + 9 * MIB;
const VIEWS: [u64; 2] = [0x5000, 0x6000];
/// NOP of five bytes, then PUSH RBP.
const FUNCTION: [u8; 6] = [0x0f, 0x1f, 0x44, 0, 0, 0x55];
/// MOV EAX, imm32.
const MOVE: [u8; 6] = [0xb8, 1, 2, 3, 4, 0xc3];

/// A world in which places for detours are at the end of the memory that has RAM.
fn world_with_places() -> World {
    with_places(world(true, design()))
}

fn with_places(mut world: World) -> World {
    world.installed.place_detours(Site {
        linear: GuestVirtual(PLACES),
        stub: GuestVirtual(STUB),
        pages: pages(),
        lists: [LIST, LIST + 4096].map(|at| ViewList { at, views: VIEWS }),
    });
    world
}

fn pages() -> [u64; PAGES] {
    core::array::from_fn(|page| RAM + 8 * MIB + page as u64 * 4096)
}

fn code(offset: u64, bytes: &[u8]) -> Code {
    let mut code = Code {
        at: GuestVirtual(KERNEL + offset),
        bytes: [0; 15],
        len: bytes.len(),
    };
    code.bytes[..bytes.len()].copy_from_slice(bytes);
    code
}

impl World {
    fn detour(&mut self, offset: u64, bytes: &[u8]) -> Result<EventId, Refusal> {
        self.mem.write(RAM + offset, bytes);
        let address = GuestVirtual(KERNEL + offset);
        let facts = Facts {
            hook: Some(GuestPhysical(RAM + offset)),
            code: Some(code(offset, bytes)),
            range: None,
            owner: None,
        };
        let spec: EventSpec<'_> = spec(Trigger::EptHook2 { address });
        self.installed.add(&mut self.mem, &spec, &facts)
    }
}

impl World {
    /// What is told after the guest wrote to the page of functions.
    fn written_mapped(&mut self, gpa: u64) -> Vec<(EventId, Standing)> {
        let direct_map = Extent::new(GuestVirtual(KERNEL - RAM), 3 * GIB).unwrap();
        let kernel = KernelSpace {
            direct_map,
            ..KernelSpace::default()
        };
        self.written_under(gpa, &kernel)
    }
}

fn executed(world: &World, offset: u64) -> [u8; 6] {
    core::array::from_fn(|at| world.executed(RAM + offset + at as u64))
}

fn listed(world: &World) -> [u64; 2] {
    let [ordinary, watched] = [LIST, LIST + 4096].map(|at| {
        let entries = [at, at + 8];
        entries.map(|at| world.mem.read_u64(at))
    });
    assert_eq!(ordinary, watched);
    ordinary
}

/// The target of the jump in `bytes`, which stands at `at`.
fn target(bytes: &[u8], at: u64) -> u64 {
    assert_eq!(bytes[0], 0xe9, "{bytes:x?}");
    let distance = i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
    (at + 5).wrapping_add_signed(i64::from(distance))
}

#[test]
fn the_guest_executes_a_jump_and_reads_what_was_there() {
    let mut world = world_with_places();
    let (view, state) = (world.view(), world.state());
    // The jump reaches over two words of eight bytes.
    assert_eq!(listed(&world), [0; 2]);
    let event = world.detour(0x105, &FUNCTION).unwrap();
    assert_eq!(listed(&world), VIEWS);
    let shadow = executed(&world, 0x105);
    assert_eq!(target(&shadow, KERNEL + 0x105), PLACES);
    assert_eq!(shadow[5], 0x55);
    assert_eq!(world.mem.bytes(RAM + 0x105, 6), FUNCTION);
    let place = world.mem.bytes(pages()[0], 10);
    assert_eq!(place[..5], [0x68, 0, 0, 0, 0]);
    assert_eq!(target(&place[5..], PLACES + 5), STUB);
    let served = world.installed.detours().served(0).unwrap();
    assert_eq!(served.event, Some(event));
    assert_eq!(served.goes_on, KERNEL + 0x10a, "a NOP needs no room");
    // It is a breakpoint as soon as the instruction is another one.
    assert_eq!(world.installed.controls().exception_bitmap, 8);
    world.change(EventChange::Disable, event);
    assert_eq!(executed(&world, 0x105), FUNCTION);
    world.change(EventChange::Enable, event);
    assert_eq!(executed(&world, 0x105), shadow);
    world.change(EventChange::Clear, event);
    assert_eq!(world.view(), view);
    assert_eq!(world.state(), state);
    assert_eq!(world.installed.detours().served(0).unwrap().event, None);
    assert_eq!(listed(&world), [0; 2]);
}

#[test]
fn detours_share_a_page_but_not_with_breakpoints() {
    let mut world = world_with_places();
    let first = world.detour(0, &FUNCTION).unwrap();
    let taken = Err(Refusal::Event(EventRefusal::PageTaken { event: first }));
    assert_eq!(world.detour(0, &FUNCTION), taken);
    assert_eq!(world.detour(4, &MOVE), taken);
    assert_eq!(world.hook(RAM + 0x80), taken);
    // Side by side in one word, and over the end of it.
    world.detour(5, &MOVE).unwrap();
    world.detour(0xffb, &MOVE[..5]).unwrap();
    for (place, offset) in [(0, 0), (1, 5), (2, 0xffb)] {
        let bytes: [u8; 5] = core::array::from_fn(|at| world.executed(RAM + offset + at as u64));
        assert_eq!(target(&bytes, KERNEL + offset), PLACES + place * SLOT_BYTES);
    }
    assert_eq!(world.executed(RAM + 10), MOVE[5]);
    let hook = world.hook(RAM + 0x1000).unwrap();
    let taken = Err(Refusal::Event(EventRefusal::PageTaken { event: hook }));
    assert_eq!(world.detour(0x1080, &FUNCTION), taken);
    world.change(EventChange::Clear, first);
    let page: [u8; 6] = executed(&world, 0);
    assert_eq!(page[..5], world.mem.bytes(RAM, 5));
    assert_eq!(page[5], 0xe9);
}

#[test]
fn a_refused_detour_leaves_no_trace() {
    let mut world = world_with_places();
    let before = world.state();
    let refused = |obstacle| Err(Refusal::Event(EventRefusal::NoDetour { obstacle }));
    let short = world.detour(0, &[0x55, 0x48, 0x89, 0xe5, 0x90]);
    assert_eq!(short, refused(DetourObstacle::TooShort));
    // CALL [RIP + 0].
    let call = world.detour(0, &[0xff, 0x15, 0, 0, 0, 0]);
    assert_eq!(call, refused(DetourObstacle::Instruction));
    assert_eq!(world.state(), before);
}

#[test]
fn detours_end_with_their_pages() {
    let class = PoolClass::EptHook2;
    // Two objects are reserved, and all that the arena has left is for `prealloc`.
    let mut design = design();
    design.prealloc_only_bytes = u64::MAX;
    let mut world = with_places(world(true, design));
    world.detour(0, &FUNCTION).unwrap();
    world.detour(0x1000, &FUNCTION).unwrap();
    let before = world.state();
    let refused = world.detour(0x2000, &FUNCTION);
    assert!(
        matches!(refused, Err(Refusal::PoolExhausted { class: of, .. }) if of == class),
        "{refused:?}"
    );
    assert_eq!(world.state(), before);
    assert_eq!(world.installed.detours().served(2), None);
    world.installed.pools_mut().prealloc(class, 1).unwrap();
    world.detour(0x2000, &FUNCTION).unwrap();
}

#[test]
fn without_places_there_are_no_detours() {
    let mut world = world(true, design());
    let obstacle = DetourObstacle::Processor;
    let refused = world.detour(0, &FUNCTION);
    assert_eq!(
        refused,
        Err(Refusal::Event(EventRefusal::NoDetour { obstacle }))
    );
}

#[test]
fn a_place_belongs_to_one_instruction_for_good() {
    let mut world = world_with_places();
    let count = if cfg!(miri) { 3 } else { SLOTS as u64 };
    let place_of = |world: &World, event| {
        let place = world.installed.detours().of(event).unwrap();
        (place.goes_on - PLACES) / SLOT_BYTES
    };
    for number in 0..count {
        let event = world.detour(8 * number, &MOVE).unwrap();
        assert_eq!(place_of(&world, event), number);
        world.change(EventChange::Clear, event);
    }
    // The same instruction gets its place again.
    let event = world.detour(8, &MOVE).unwrap();
    assert_eq!(place_of(&world, event), 1);
    world.change(EventChange::Clear, event);
    if count == SLOTS as u64 {
        let obstacle = DetourObstacle::NoPlace;
        let refused = world.detour(8 * count, &MOVE);
        assert_eq!(
            refused,
            Err(Refusal::Event(EventRefusal::NoDetour { obstacle }))
        );
    }
    // What was moved there is as it was.
    let moved = world.mem.bytes(pages()[0] + SLOT_BYTES + 16, 10);
    assert_eq!(moved[..5], MOVE[..5]);
    assert_eq!(
        target(&moved[5..], PLACES + SLOT_BYTES + 21),
        KERNEL + 8 + 5
    );
}

#[test]
fn events_that_are_taken_back_together_give_their_places_back() {
    let mut world = world_with_places();
    let begun = world.installed.begin();
    let before = world.state();
    world.detour(0, &FUNCTION).unwrap();
    world.detour(0x1000, &FUNCTION).unwrap();
    world.installed.roll_back(&mut world.mem, &begun);
    assert_eq!(world.state(), before);
    assert_eq!(world.installed.detours().served(1).unwrap().event, None);
    assert_eq!(listed(&world), [0; 2]);
    // And both can be had again.
    world.detour(0x1000, &FUNCTION).unwrap();
    world.detour(0, &FUNCTION).unwrap();
}

#[test]
fn a_detour_is_a_breakpoint_while_its_instruction_is_another_one() {
    let mut world = world_with_places();
    world.mem.write(RAM + 6, &[0x48, 0x89, 0xe5, 0x41, 0x54]);
    let event = world.detour(0, &FUNCTION).unwrap();
    let shadow = executed(&world, 0);
    let at = GuestPhysical(RAM);
    assert!(!world.installed.watches().is_hooked(at));
    // The kernel calls a tracer from there, in three writes, and ceases to.
    let call = [0xe8, 4, 3, 2, 1];
    let first = [0xcc];
    let then = [0xcc, 4, 3, 2, 1];
    let standing = |world: &World| world.installed.entries().next().unwrap().standing;
    for (bytes, told) in [
        (&first[..], &[(event, Standing::Breakpoint)][..]),
        (&then, &[]),
        (&call, &[]),
    ] {
        world.mem.write(RAM, bytes);
        assert_eq!(world.written_mapped(RAM), told);
        // One byte differs from the jump.
        let mut breakpoint = shadow;
        breakpoint[0] = 0xcc;
        assert_eq!(executed(&world, 0), breakpoint);
        assert!(world.installed.watches().is_hooked(at));
        assert_eq!(standing(&world), Standing::Breakpoint);
        let hit = world.hit(&on_byte(RAM), 0).map(|hit| hit.event);
        assert_eq!(hit, Some(event));
    }
    world.mem.write(RAM, &FUNCTION);
    assert_eq!(world.written_mapped(RAM), [(event, Standing::Active)]);
    assert_eq!(executed(&world, 0), shadow);
    assert_eq!(standing(&world), Standing::Active);
    // Something else altogether.
    world.mem.write(RAM, &[0; 16]);
    assert_eq!(world.written_mapped(RAM), [(event, Standing::Replaced)]);
    assert_eq!(executed(&world, 0), [0; 6]);
    world.change(EventChange::Clear, event);
}
