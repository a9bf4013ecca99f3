//! What events run: the class of object it needs, every refusal, and where it stands afterwards.

use super::super::programs::{StoredCondition, StoredPrograms};
use super::*;
use std::vec;
use wire_protocol::bytecode::Assembler;
use wire_protocol::bytecode::assemble::{Memory, Scratch};
use wire_protocol::bytecode::op::Op;
use wire_protocol::event::{Condition, ProgramSizes, Programs};
use wire_protocol::limits;
use wire_protocol::refusal::EventRefusal;
use wire_protocol::refusal::ProgramPart;

/// A script that returns a number, with some locals and filled up with that many operations.
fn script(locals_bytes: usize, filling: usize) -> Vec<u8> {
    let mut scratch = Scratch::default();
    let mut code = vec![0; limits::PROGRAM_BYTES];
    let mut script = Assembler::new(Memory {
        code: &mut code,
        ..scratch.memory()
    });
    script.set_local_bytes(locals_bytes).unwrap();
    for _ in 0..filling {
        script.number(1).unwrap();
        script.op(Op::Drop).unwrap();
    }
    script.number(7).unwrap();
    script.op(Op::Return).unwrap();
    let mut out = vec![0; limits::PROGRAM_BYTES];
    script.finish(&mut out).unwrap().to_vec()
}

fn with<'a>(condition: Condition<'a>, script: &'a [u8], code: &'a [u8]) -> EventSpec<'a> {
    let mut spec = cpuid(None);
    let actions = &mut spec.settings.actions;
    actions.set(Actions::SCRIPT, !script.is_empty());
    actions.set(Actions::CODE, !code.is_empty());
    let programs = Programs {
        condition,
        script,
        code,
    };
    EventSpec { programs, ..spec }
}

fn with_buffer(buffer_bytes: u32) -> EventSpec<'static> {
    let mut spec = cpuid(None);
    spec.settings.options.buffer_bytes = buffer_bytes;
    spec
}

impl World {
    fn add(&mut self, spec: &EventSpec<'_>) -> Result<EventId, Refusal> {
        self.installed.add(&mut self.mem, spec, &NOWHERE)
    }

    fn stored(&self, event: EventId) -> (StoredPrograms, ProgramSizes) {
        let record = self.installed.registry().get(event).unwrap();
        (record.programs, record.sizes)
    }

    /// Refused, and as if it had never been asked for.
    fn refused(&mut self, spec: &EventSpec<'_>) -> Refusal {
        let (view, state) = (self.view(), self.state());
        let refusal = self.add(spec).unwrap_err();
        assert_eq!(self.state(), state);
        assert_eq!(self.view(), view);
        refusal
    }
}

fn big_design() -> crate::pool::budget::Design {
    let mut design = design();
    design.levels.0 = [2, 1, 1, 1, 1, 0, 0, 0];
    // Nothing is carved by itself, so that pools run dry.
    design.prealloc_only_bytes = u64::MAX;
    design
}

#[test]
fn programs_stand_in_the_object_as_they_came() {
    let mut world = world(true, design());
    let (condition, script) = (script(0, 0), script(20, 3));
    let spec = with(Condition::Script(&condition), &script, &[0x90, 0xc3]);
    let event = world.add(&spec).unwrap();
    let (stored, sizes) = world.stored(event);
    let condition_of = stored.condition(&sizes, CoreId(0));
    assert!(matches!(condition_of, StoredCondition::Script(_)));
    let found = stored
        .parts(&sizes)
        .map(|part| world.mem.bytes(part.start().0, part.len_bytes() as usize));
    for (found, given) in found.iter().zip([&condition, &script, &vec![0x90, 0xc3]]) {
        assert_eq!(found, given);
    }
    let locals = |core| stored.script(&sizes, CoreId(core)).unwrap().locals;
    let at = |core| locals(core).start().0;
    assert_eq!((locals(0).len_bytes(), at(1)), (32, at(0) + 32));
    assert!(locals(2).is_empty());
    assert!(stored.code(&sizes).unwrap().start().0.is_multiple_of(16));
    let entry = world.installed.entries().next().unwrap();
    assert_eq!(entry.sizes, spec.programs.sizes());
}

#[test]
fn locals_begin_at_zero_in_an_object_that_was_used_before() {
    let mut world = world(true, big_design());
    let program = script(64, 0);
    for _ in 0..3 {
        let event = world.add(&with(Condition::Always, &program, &[])).unwrap();
        for core in [0, 1] {
            let (stored, sizes) = world.stored(event);
            let locals = stored.script(&sizes, CoreId(core)).unwrap().locals;
            let len_bytes = locals.len_bytes() as usize;
            assert_eq!(world.mem.bytes(locals.start().0, len_bytes), vec![0; 64]);
            world.mem.write(locals.start().0, &vec![0xff; len_bytes]);
        }
        world.change(EventChange::Clear, event);
    }
}

#[test]
fn an_event_takes_the_smallest_object_that_holds_it() {
    let mut world = world(true, big_design());
    let (small, large) = (script(0, 10), script(0, 60));
    assert!(small.len() < 100 && large.len() > 100);
    let much = script(0, 5000);
    for (spec, class) in [
        (
            with(Condition::Script(&small), &small, &[]),
            PoolClass::RegularEvent,
        ),
        (
            with(Condition::Script(&large), &small, &[]),
            PoolClass::BigEvent,
        ),
        (with(Condition::Always, &much, &[]), PoolClass::BigEvent),
        (
            with(Condition::Always, &script(4096, 0), &[]),
            PoolClass::BigEvent,
        ),
        (
            with(Condition::Code(&[0xc3; 101]), &[], &[]),
            PoolClass::BigEvent,
        ),
        (with_buffer(4096), PoolClass::RegularEvent),
    ] {
        let state = world.state();
        let event = world.add(&spec).unwrap();
        let object = &world.installed.registry().get(event).unwrap().object;
        assert_eq!(object.class(), class);
        world.change(EventChange::Clear, event);
        assert_eq!(world.state(), state);
    }
}

#[test]
fn what_is_too_large_is_refused_with_limit_and_size() {
    let mut world = world(true, big_design());
    let condition = vec![0x90; 4097];
    let refusal = world.refused(&with(Condition::Code(&condition), &[], &[]));
    assert_eq!(
        refusal,
        Refusal::Event(EventRefusal::ConditionTooBig {
            limit_bytes: 4096,
            asked_bytes: 4097
        })
    );
    assert_eq!(refusal.code(), 0xc000_0041);
    let code = vec![0x90; 80 * 1024 + 1];
    let refusal = world.refused(&with(Condition::Always, &[], &code));
    assert_eq!(
        refusal,
        Refusal::Event(EventRefusal::ActionTooBig {
            limit_bytes: 80 * 1024,
            asked_bytes: 80 * 1024 + 16
        })
    );
    assert_eq!(refusal.code(), 0xc000_0047);
    let limit_bytes = limits::MESSAGE_BYTES as u32;
    let asked_bytes = limit_bytes + 1;
    let refusal = world.refused(&with_buffer(asked_bytes));
    assert_eq!(
        refusal,
        Refusal::Event(EventRefusal::BufferOverMessage {
            limit_bytes,
            asked_bytes,
            most_bytes: 80 * 1024,
        })
    );
    assert_eq!(refusal.code(), 0xc000_0048);
    let asked_bytes = 80 * 1024 + 1;
    let refusal = world.refused(&with_buffer(asked_bytes));
    assert_eq!(
        refusal,
        Refusal::Event(EventRefusal::BufferTooBig {
            limit_bytes: 80 * 1024,
            asked_bytes
        })
    );
    assert_eq!(refusal.code(), 0xc000_004b);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn every_empty_pool_has_its_own_code() {
    let mut world = world(true, big_design());
    let (long, many) = (script(0, 60), script(0, 5000));
    let big_condition = with(Condition::Script(&long), &[], &[]);
    let big_action = with(Condition::Always, &many, &[]);
    world.add(&big_condition).unwrap();
    let Refusal::Event(EventRefusal::NoBigEvent {
        part,
        regular_bytes,
        asked_bytes,
        ..
    }) = world.refused(&big_condition)
    else {
        panic!("another refusal");
    };
    assert_eq!(part, ProgramPart::Condition);
    assert_eq!((regular_bytes, asked_bytes as usize), (100, long.len()));
    assert_eq!(world.refused(&big_condition).code(), 0xc000_0043);
    assert_eq!(world.refused(&big_action).code(), 0xc000_0046);
    for (buffer_bytes, code) in [(1, 0xc000_0049), (4097, 0xc000_004a)] {
        let spec = with_buffer(buffer_bytes);
        let event = world.add(&spec).unwrap();
        assert_eq!(world.refused(&spec).code(), code);
        world.change(EventChange::Clear, event);
    }
    world.add(&cpuid(None)).unwrap();
    world.add(&cpuid(None)).unwrap();
    assert_eq!(world.refused(&cpuid(None)).code(), 0xc000_0042);
    assert_eq!(world.refused(&with_buffer(1)).code(), 0xc000_0042);
}

#[test]
fn bytes_that_are_no_program_are_refused() {
    let mut world = world(true, design());
    let mut program = script(0, 3);
    *program.last_mut().unwrap() = 0xff;
    for (spec, part) in [
        (with(Condition::Always, &program, &[]), ProgramPart::Action),
        (
            with(Condition::Script(&program), &[], &[]),
            ProgramPart::Condition,
        ),
    ] {
        match world.refused(&spec) {
            Refusal::Event(EventRefusal::BadProgram { part: found, .. }) => assert_eq!(found, part),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_buffer_is_as_long_as_asked_for_and_clean() {
    let mut world = world(true, big_design());
    for _ in 0..2 {
        let event = world.add(&with_buffer(300)).unwrap();
        let buffer = world.stored(event).0.buffer().unwrap();
        assert_eq!(buffer.len_bytes(), 300);
        assert_eq!(world.mem.bytes(buffer.start().0, 300), vec![0; 300]);
        world.mem.write(buffer.start().0, &[0xff; 300]);
        world.change(EventChange::Clear, event);
    }
}
