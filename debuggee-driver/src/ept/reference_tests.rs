extern crate std;

use super::*;
use crate::fake::FlatMemory;
use std::vec::Vec;

const AT: u64 = 0x20_0100;

/// push rbp; mov rbp, rsp; push r12; call +0; sub rsp, 8; nop; ret and some of what follows it.
const CODE: [u8; 34] = [
    0x0f, 0x1f, 0x44, 0x00, 0x00, // 0: where a tracer is called
    0x55, // 5
    0x48, 0x89, 0xe5, // 6
    0x41, 0x54, // 9
    0xe8, 0x10, 0x20, 0x30, 0x00, // b
    0x48, 0x83, 0xec, 0x08, // 10
    0x66, 0x90, // 14: a static key
    0x31, 0xc0, // 16
    0x5b, // 18
    0x41, 0x5c, // 19
    0x5d, // 1b
    0xc3, // 1c
    0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
];

/// The standing of a hook at an offset of [`CODE`] after `bytes` were written at another one, and after they were
/// taken back.
fn after(hook: u64, lead: Option<u8>, at: u64, bytes: &[u8]) -> (Standing, Standing) {
    let mut mem = FlatMemory::new(4 << 20);
    mem.write(AT, &CODE);
    let place = GuestPhysical(AT + hook);
    let kept = 0x30_0000;
    Reference::take(&mem, place, lead, 0).store(&mut mem, kept);
    mem.write(AT + at, bytes);
    let reference = Reference::load(&mem, kept);
    let changed = reference.standing(&mem, place);
    mem.write(AT, &CODE);
    (changed, reference.standing(&mem, place))
}

#[track_caller]
fn stands(hook: u64, lead: Option<u8>, at: u64, bytes: &[u8], standing: Standing) {
    let found = after(hook, lead, at, bytes);
    assert_eq!(
        found,
        (standing, Standing::Active),
        "hook {hook:x}, {bytes:x?} at {at:x}"
    );
}

/// The three writes of a change, as kernels make it while other cores run.
fn poked(hook: u64, at: u64, bytes: &[u8]) -> Vec<Standing> {
    let mut first = Vec::from(CODE);
    first.drain(..at as usize);
    first.truncate(bytes.len());
    first[0] = INT3;
    let mut second = Vec::from(bytes);
    second[0] = INT3;
    [first.as_slice(), &second, bytes]
        .map(|bytes| after(hook, Some(hook as u8), at, bytes).0)
        .into()
}

#[test]
fn breakpoints_and_their_removal_leave_hooks_alone() {
    for hook in [0, 5, 6, 9, 0xb, 0x10, 0x14, 0x18] {
        for at in [0, 5, 6, 9, 0xb, 0x10, 0x14, 0x16] {
            stands(hook, Some(hook as u8), at, &[INT3], Standing::Active);
            stands(hook, None, at, &[INT3], Standing::Active);
        }
    }
    // Set over a breakpoint of the kernel's, which goes.
    let mut mem = FlatMemory::new(4 << 20);
    mem.write(AT, &CODE);
    mem.write(AT + 6, &[INT3]);
    let place = GuestPhysical(AT + 6);
    let reference = Reference::take(&mem, place, Some(6), 0);
    mem.write(AT, &CODE);
    assert_eq!(reference.standing(&mem, place), Standing::Active);
}

#[test]
fn tracers_calls_and_keys_leave_hooks_alone() {
    for hook in [0, 5, 6, 0xb, 0x10, 0x14, 0x16, 0x18] {
        let lead = Some(hook as u8);
        stands(hook, lead, 0, &[0xe8, 1, 2, 3, 4], Standing::Active);
        stands(hook, lead, 0, &[0xe9, 1, 2, 3, 4], Standing::Active);
        stands(hook, lead, 0xb, &[0xe8, 9, 9, 9, 9], Standing::Active);
        stands(hook, lead, 0xb, &[0x0f, 0x1f, 0x44, 0, 0], Standing::Active);
        stands(
            hook,
            lead,
            0xb,
            &[0xc3, 0xcc, 0xcc, 0xcc, 0xcc],
            Standing::Active,
        );
        stands(hook, lead, 0x14, &[0xeb, 5], Standing::Active);
    }
    for (at, bytes) in [(0, [0xe8, 1, 2, 3, 4]), (0xb, [0xe8, 9, 9, 9, 9])] {
        for hook in [0, 5, 0xb, 0x10] {
            assert_eq!(poked(hook, at, &bytes), [Standing::Active; 3]);
        }
    }
}

#[test]
fn a_jump_over_the_hook_covers_it_and_no_other() {
    use Standing::{Active, Covered};
    let jump = [0xe9, 0x78, 0x56, 0x34, 0x12];
    // From 5 to a, so that the last instruction that it touches ends at b.
    for (hook, standing) in [
        (0, Active),
        (5, Active),
        (6, Covered),
        (9, Covered),
        (0xb, Active),
        (0x10, Active),
    ] {
        assert_eq!(
            poked(hook, 5, &jump),
            [Active, standing, standing],
            "{hook:x}"
        );
    }
    // Half of it is known.
    stands(0xb, Some(5), 5, &jump, Active);
    stands(0x14, Some(11), 5, &jump, Active);
    stands(6, Some(1), 5, &jump, Covered);
}

#[test]
fn other_code_is_not_what_was_hooked() {
    use Standing::Replaced;
    stands(5, Some(5), 0, &[0; 34], Replaced);
    stands(5, Some(5), 0, &[INT3; 34], Replaced);
    stands(5, Some(0), 5, &[0; 16], Replaced);
    stands(0, Some(0), 0, &CODE[5..], Replaced);
    let mut other = Vec::from(CODE);
    other.rotate_left(1);
    stands(0x10, Some(0x10), 0, &other, Replaced);
    stands(0x10, None, 0, &other, Replaced);
    // One instruction may be another one.
    stands(0, Some(0), 5, &[0x53], Standing::Active);
    stands(5, Some(5), 5, &[0x53, 0x48, 0x89, 0xe3, 0x90], Replaced);
}

#[test]
fn without_a_lead_what_is_written_before_the_hook_is_another_code() {
    stands(6, None, 5, &[0xe9, 1, 2, 3, 4], Standing::Replaced);
    stands(9, None, 5, &[0x53], Standing::Replaced);
    stands(9, None, 9, &[INT3], Standing::Active);
    stands(0xb, None, 0xb, &[0xe8, 9, 9, 9, 9], Standing::Active);
}

#[test]
fn a_moved_instruction_that_changes_is_a_breakpoint() {
    let mut mem = FlatMemory::new(4 << 20);
    mem.write(AT, &CODE);
    let place = GuestPhysical(AT);
    let reference = Reference::take(&mem, place, Some(0), 5);
    let mut stands = |at, bytes: &[u8], standing| {
        mem.write(AT, &CODE);
        mem.write(AT + at, bytes);
        assert_eq!(reference.standing(&mem, place), standing, "{bytes:x?}");
    };
    stands(0, &[INT3], Standing::Breakpoint);
    stands(0, &[INT3, 1, 2, 3, 4], Standing::Breakpoint);
    stands(0, &[0xe8, 1, 2, 3, 4], Standing::Breakpoint);
    stands(5, &[INT3], Standing::Active);
    stands(0, &[0xeb, 1], Standing::Replaced);
    stands(0, &CODE, Standing::Active);
}

#[test]
fn pages_end_on_both_sides() {
    let mut mem = FlatMemory::new(4 << 20);
    let page = 0x20_0000;
    mem.write(page - 2, &[0x0f, 0x1f, 0x44, 0, 0]);
    for (at, len) in [(page - 2, 2), (page, 16), (page + 3, 19)] {
        let at = GuestPhysical(at);
        let reference = Reference::take(&mem, at, None, 0);
        assert_eq!(
            usize::from(reference.len) - usize::from(reference.before),
            len.min(16)
        );
        assert_eq!(reference.standing(&mem, at), Standing::Active);
    }
    let at = GuestPhysical(page - 2);
    let reference = Reference::take(&mem, at, Some(0), 0);
    mem.write(at.0, &[INT3]);
    assert_eq!(reference.standing(&mem, at), Standing::Active);
    mem.write(at.0, &[0x90, 0x90]);
    assert_eq!(reference.standing(&mem, at), Standing::Replaced);
}
