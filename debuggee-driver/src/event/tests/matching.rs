//! From exits to events, and the counts.

use super::*;
use crate::event::Installed;
use core::cell::Cell;
use wire_protocol::event::{Breakpoint, Filter, Lifetime};

#[test]
fn a_hook_hits_only_for_its_core_and_process() {
    let mut world = world(true, design());
    let mut for_one = hook_spec();
    for_one.settings.filter = Filter {
        pid: Some(7),
        tid: None,
        core: Some(CoreId(1)),
    };
    let mem = &mut world.mem;
    let event = world.installed.add(mem, &for_one, &at(RAM)).unwrap();
    let asked = Cell::new(0);
    for (core, pid, hits) in [(0, 7, false), (1, 8, false), (1, 7, true)] {
        let facts = ExitFacts {
            core: CoreId(core),
            running: |_| {
                asked.set(asked.get() + 1);
                Some(pid)
            },
        };
        let trigger = on_byte(RAM);
        let hit = world.installed.find(&trigger, Moment::Pre, None, &facts);
        assert_eq!(hit.map(|hit| hit.event), hits.then_some(event));
        assert!(world.installed.watches().is_hooked(GuestPhysical(RAM)));
        if let Some(hit) = hit {
            world.installed.count(&hit);
        }
    }
    // The wrong core needs no look at the process.
    assert_eq!(asked.get(), 2);
    assert_eq!(world.installed.entries().next().unwrap().hits, 1);
    assert!(world.hit(&on_byte(RAM + 1), 1).is_none());
}

#[test]
fn a_hook_hits_only_for_its_thread() {
    let mut world = world(true, design());
    let mut for_one = hook_spec();
    for_one.settings.filter.tid = Some(8);
    let mem = &mut world.mem;
    world.installed.add(mem, &for_one, &at(RAM)).unwrap();
    for (tid, hits) in [(7, false), (8, true)] {
        let facts = ExitFacts {
            core: CoreId(0),
            running: |asked| match asked {
                Running::Process => panic!("nobody wants to know the process"),
                Running::Thread => Some(tid),
            },
        };
        let trigger = on_byte(RAM);
        let hit = world.installed.find(&trigger, Moment::Pre, None, &facts);
        assert_eq!(hit.is_some(), hits);
        if let Some(hit) = hit {
            world.installed.count(&hit);
        }
    }
    assert_eq!(world.installed.entries().next().unwrap().hits, 1);
}

#[test]
fn a_breakpoint_lets_passes_by_and_is_no_event_among_others() {
    let mut world = world(true, design());
    let mut third = hook_spec();
    third.settings.breakpoint = Some(Breakpoint {
        first_pass: 3,
        ..Breakpoint::DEFAULT
    });
    let event = world
        .installed
        .add(&mut world.mem, &third, &at(RAM))
        .unwrap();
    let trigger = on_byte(RAM);
    for lets_by in [true, true, false, false] {
        let hit = world.hit(&trigger, 0).unwrap();
        assert_eq!(hit.has_programs, lets_by);
        let record = world.installed.registry().get(event).unwrap();
        assert_eq!(record.lets_by(), lets_by);
    }
    let mut clear = |which| {
        world
            .installed
            .change(&mut world.mem, EventChange::Clear, which)
    };
    assert_eq!(clear(Selection::Events), Ok(0));
    assert_eq!(clear(Selection::Breakpoints), Ok(1));
}

#[test]
fn of_breakpoints_that_halt_together_the_one_that_stays_is_named() {
    let mut world = world(true, design());
    let once = Some(Breakpoint {
        lifetime: Lifetime::UntilItHalts,
        ..Breakpoint::DEFAULT
    });
    let mut add = |breakpoint| {
        let mut spec = hook_spec();
        spec.settings.breakpoint = breakpoint;
        world
            .installed
            .add(&mut world.mem, &spec, &at(RAM))
            .unwrap()
    };
    let (first, second) = (add(once), add(once));
    let (trigger, facts) = (on_byte(RAM), on_core(0));
    let named = |installed: &Installed| {
        let hit = installed.find(&trigger, Moment::Pre, None, &facts);
        hit.unwrap().event
    };
    assert_eq!(named(&world.installed), first);
    let mut stays = hook_spec();
    stays.settings.breakpoint = Some(Breakpoint::DEFAULT);
    let mem = &mut world.mem;
    let stays = world.installed.add(mem, &stays, &at(RAM)).unwrap();
    assert_eq!(named(&world.installed), stays);
    // One that is over has its hook until somebody takes that away, and so does what the hook needs of the processor.
    let exceptions = world.installed.controls().exception_bitmap;
    for event in [first, second, stays] {
        let record = world.installed.registry().get(event).unwrap();
        record.set_enabled(false);
        record.want(EventChange::Clear);
    }
    assert_eq!(world.installed.controls().exception_bitmap, exceptions);
    world.installed.carry_out_wanted(&mut world.mem);
    assert_ne!(world.installed.controls().exception_bitmap, exceptions);
}

#[test]
fn cpuid_events_match_their_leaf_or_all() {
    let mut world = world(true, design());
    let mut log_only = cpuid(None);
    log_only.settings.actions = Actions::empty();
    let mut add = |spec| {
        world
            .installed
            .add(&mut world.mem, &spec, &NOWHERE)
            .unwrap()
    };
    let any = add(log_only);
    let seven = add(cpuid(Some(7)));
    let installed = &world.installed;
    let (on_seven, on_eight) = (on_leaf(7), on_leaf(8));
    let hit = world.hit(&on_seven, 0).unwrap();
    assert_eq!((hit.event, hit.actions), (seven, Actions::BREAK));
    installed.count(&hit);
    let hit = world.hit(&on_eight, 0).unwrap();
    assert_eq!((hit.event, hit.actions), (any, Actions::empty()));
    installed.count(&hit);
    let hits: Vec<u64> = installed.entries().map(|entry| entry.hits).collect();
    assert_eq!(hits, [2, 1]);
    world.change(EventChange::Disable, any);
    assert!(world.hit(&on_leaf(8), 0).is_none());
    world.change(EventChange::Clear, seven);
    assert!(world.hit(&on_leaf(7), 0).is_none());
}

#[test]
fn events_that_come_or_go_after_a_hit_was_found_are_not_counted_with_it() {
    let mut world = world(true, design());
    let mut ids = [0; 2].map(|_| {
        let added = world
            .installed
            .add(&mut world.mem, &cpuid(Some(7)), &NOWHERE);
        added.unwrap()
    });
    let on_seven = on_leaf(7);
    let hit = world.hit(&on_seven, 0).unwrap();
    world.change(EventChange::Clear, ids[0]);
    let later = world
        .installed
        .add(&mut world.mem, &cpuid(Some(7)), &NOWHERE);
    ids[0] = later.unwrap();
    world.installed.count(&hit);
    let hits = ids.map(|id| world.installed.registry().get(id).unwrap().hits());
    assert_eq!(hits, [0, 1]);
    assert!(world.installed.next_of(&hit, Some(ids[1])).is_none());
}

#[test]
fn each_stop_reports_the_hits_since_the_one_before() {
    let mut world = world(true, design());
    let mut add = |leaf| {
        let spec = cpuid(Some(leaf));
        world
            .installed
            .add(&mut world.mem, &spec, &NOWHERE)
            .unwrap()
    };
    let (one, two) = (add(1), add(2));
    let installed = &world.installed;
    let report = || -> Vec<_> { installed.hits_since_last_stop().collect() };
    let hit = |leaf| installed.count(&world.hit(&on_leaf(leaf), 0).unwrap());
    hit(1);
    hit(1);
    assert_eq!(report(), []);
    installed.begin_report();
    assert_eq!(report(), [(one, 2)]);
    // The same halt is reported the same way again.
    assert_eq!(report(), [(one, 2)]);
    hit(2);
    installed.begin_report();
    assert_eq!(report(), [(two, 1)]);
    installed.begin_report();
    assert_eq!(report(), []);
}

#[test]
fn the_digest_follows_changes_and_not_hits() {
    let mut world = world(true, design());
    let empty = world.installed.digest();
    let event = world
        .installed
        .add(&mut world.mem, &cpuid(None), &NOWHERE)
        .unwrap();
    let added = world.installed.digest();
    assert_ne!(added, empty);
    world.installed.count(&world.hit(&on_leaf(0), 0).unwrap());
    assert_eq!(world.installed.digest(), added);
    world.change(EventChange::Disable, event);
    assert_ne!(world.installed.digest(), added);
    world.change(EventChange::Clear, event);
    assert_eq!(world.installed.digest(), empty);
}
