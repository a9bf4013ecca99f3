//! Both layouts, by values as processors have them.

use super::*;

/// EAX of CPUID leaf 1 of family 6.
const fn model(number: u32) -> u32 {
    6 << 8 | (number & 0xf) << 4 | (number >> 4) << 16
}

const EXIT: u64 = (CLEAR_ON_EXIT as u64) << 32;
const ENTRY: u64 = (LOAD_ON_ENTRY as u64) << 32;

fn legacy(number: u32, perf_capabilities: u64) -> Result<Layout, BranchObstacle> {
    let raw = RawBranches {
        version: model(number),
        perf_capabilities,
        ..RawBranches::default()
    };
    Layout::of(&raw, 0, 0)
}

fn architectural(leaf: [u32; 4], exit: u64, entry: u64) -> Result<Layout, BranchObstacle> {
    let raw = RawBranches {
        features: HAS_ARCHITECTURAL,
        architectural: leaf,
        // What the other kind would be found by does not count.
        version: model(0x5e),
        perf_capabilities: 5,
    };
    Layout::of(&raw, exit, entry)
}

#[test]
fn what_is_not_announced_is_not_there() {
    assert_eq!(legacy(0x5e, 0), Err(BranchObstacle::Processor));
    let none = RawBranches::default();
    assert_eq!(Layout::of(&none, !0, !0), Err(BranchObstacle::Processor));
    assert_eq!(
        architectural([0, 7, 7, 0], EXIT, ENTRY),
        Err(BranchObstacle::Processor)
    );
}

#[test]
fn models_are_known_or_refused() {
    let format = Format::Information;
    assert_eq!(
        legacy(0x5e, 0x32c5),
        Ok(Layout::Legacy { depth: 32, format })
    );
    let format = Format::Flags(3);
    assert_eq!(legacy(0x3c, 4), Ok(Layout::Legacy { depth: 16, format }));
    let format = Format::Flags(1);
    assert_eq!(legacy(0x2a, 3), Ok(Layout::Legacy { depth: 16, format }));
    assert_eq!(legacy(0x5c, 5), Err(BranchObstacle::Model));
    assert_eq!(legacy(0x5e, 6), Err(BranchObstacle::Model));
    let raw = RawBranches {
        version: 0xf << 8,
        perf_capabilities: 1,
        ..RawBranches::default()
    };
    assert_eq!(Layout::of(&raw, 0, 0), Err(BranchObstacle::Model));
}

#[test]
fn architectural_records_need_exits_that_leave_them_alone() {
    let leaf = [0b1010, 7, 7, 0];
    let there = Layout::Architectural {
        depth: 32,
        filters: 7,
        notes: 7,
    };
    assert_eq!(architectural(leaf, EXIT, ENTRY), Ok(there));
    assert_eq!(architectural(leaf, 0, ENTRY), Err(BranchObstacle::Exits));
    assert_eq!(architectural(leaf, EXIT, 0), Err(BranchObstacle::Exits));
}

#[test]
fn filters_are_those_that_the_processor_has() {
    let of = |filters| Layout::Architectural {
        depth: 8,
        filters,
        notes: 0,
    };
    let stack = filter::NAMES[10].1;
    for (layout, filter, can) in [
        (of(0), 0, true),
        (of(0), filter::KERNEL, false),
        (of(1), filter::KERNEL, true),
        (of(1), filter::RETURN, false),
        (of(3), filter::RETURN | filter::USER, true),
        (of(3), stack, false),
        (of(7), stack, true),
        (of(7), 1 << 10, false),
        (legacy(0x2a, 3).unwrap(), filter::RETURN, true),
        (legacy(0x2a, 3).unwrap(), stack, false),
        (legacy(0x5e, 5).unwrap(), stack, true),
    ] {
        assert_eq!(layout.can_filter(filter), can, "{layout:?} {filter:x}");
    }
    // All kinds in both modes; then all but returns in user mode.
    assert_eq!(of(7).switched_on(0, 0), (0x7f_0007, None));
    let filter = filter::RETURN | filter::KERNEL;
    assert_eq!(of(7).switched_on(0, filter), (0x5f_0005, None));
    assert_eq!(of(7).switched_on(0, stack), (0x38_000f, None));
    let skylake = legacy(0x5e, 5).unwrap();
    assert_eq!(skylake.switched_on(0x800, filter), (0x801, Some(0x21)));
}

#[test]
fn records_say_what_their_format_says() {
    const FROM: u64 = 0xffff_ffff_8100_0010;
    const TO: u64 = 0x7fff_0000_1000;
    let noted = |layout: Result<Layout, _>, from, more| {
        let branch = layout.unwrap().decode(from, TO, more).unwrap();
        assert_eq!((branch.from, branch.to), (FROM, TO));
        (
            branch.notes.kind,
            branch.notes.mispredicted,
            branch.notes.cycles,
        )
    };
    assert_eq!(noted(legacy(0x1a, 1), FROM, 0), (None, None, None));
    let clear = FROM & !(1 << 63);
    assert_eq!(noted(legacy(0x2a, 3), clear, 0), (None, Some(false), None));
    assert_eq!(noted(legacy(0x2a, 3), FROM, 0), (None, Some(true), None));
    let flags = FROM & !(7 << 61) | 1 << 62;
    assert_eq!(noted(legacy(0x3c, 4), flags, 0), (None, Some(false), None));
    assert_eq!(
        noted(legacy(0x5e, 5), FROM, 1 << 63 | 0x12),
        (None, Some(true), Some(0x12))
    );
    let of = |notes| architectural([1, 7, notes, 0], EXIT, ENTRY);
    let more = 5 << 56 | 1 << 60 | 0x34;
    assert_eq!(
        noted(of(7), FROM, more),
        (Some(BranchKind::Return), Some(false), Some(0x34))
    );
    assert_eq!(noted(of(0), FROM, more), (None, None, None));
    assert_eq!(noted(of(7), FROM, 9 << 56).0, Some(BranchKind::Other));
    assert_eq!(noted(of(7), FROM, 6 << 56), (None, Some(false), None));
    assert_eq!(of(7).unwrap().decode(0, 0, more), None);
}
