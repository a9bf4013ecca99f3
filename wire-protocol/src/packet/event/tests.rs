use super::*;
use crate::address::GuestVirtual;
use crate::event::{
    Access, Actions, Breakpoint, Condition, ConditionKind, ControlRegister, Filter, Lifetime,
    Modes, Options, ProgramSizes, Programs, Selection, Settings, Space, Stage, SyscallBy,
    TraceKind, Trigger,
};
use crate::packet::kind::{ReplyKind, RequestKind};
use crate::packet::testing::{
    BASE, reply_body, reply_is_malformed, request_body, request_is_malformed,
};
use crate::packet::{Reply, Request};
use std::vec;
use std::vec::Vec;

const HOOK: EventSpec<'_> = EventSpec::new(Trigger::EptHook {
    address: GuestVirtual(BASE.0 + 0x40),
});

fn free() -> FreeCounts {
    FreeCounts::default()
        .with(PoolClass::EptHook, 3)
        .with(PoolClass::RegularEvent, 0)
}

fn add(events: &[EventSpec<'_>]) -> Vec<u8> {
    let mut scratch = [0; 256];
    request_body(Request::AddEvents {
        core: CoreId(1),
        all_or_nothing: true,
        events: EventSpecs::encode_into(events.iter().copied(), BASE, &mut scratch).unwrap(),
    })
}

#[test]
fn hook_that_breaks_is_flags_and_address() {
    assert_eq!(add(&[HOOK]), [1, 3, 0, 0x80, 1]);
}

#[test]
fn second_address_is_relative_to_the_first() {
    assert_eq!(add(&[HOOK, HOOK]), [1, 5, 0, 0x80, 1, 0, 0]);
}

#[test]
fn filter_and_leaf_take_bytes_only_when_there() {
    let cpuid = |leaf| EventSpec::new(Trigger::Cpuid { leaf });
    assert_eq!(add(&[cpuid(None)]), [1, 3, 7, 0]);
    assert_eq!(add(&[cpuid(Some(5))]), [1, 3, 7, 6]);
    let mut all = cpuid(Some(5));
    all.settings.filter = Filter {
        pid: Some(9),
        tid: None,
        core: Some(CoreId(2)),
    };
    assert_eq!(add(&[all]), [1, 3, 0x67, 6, 9, 2]);
    all.settings.actions = Actions::empty();
    assert_eq!(add(&[all]), [1, 3, 0xe7, 0, 0, 6, 9, 2]);
    all.settings.filter.tid = Some(8);
    assert_eq!(add(&[all]), [1, 3, 0xe7, 0x80, 0, 6, 9, 8, 2]);
}

#[test]
fn a_breakpoint_takes_three_bytes_more_than_a_hook() {
    let at = |first_pass, lifetime| {
        let mut spec = HOOK;
        spec.settings.breakpoint = Some(Breakpoint {
            first_pass,
            lifetime,
        });
        add(&[spec])
    };
    assert_eq!(
        at(1, Lifetime::UntilCleared),
        [1, 3, 0x80, 0x40, 1, 0x80, 1, 4]
    );
    assert_eq!(
        at(3, Lifetime::UntilItHalts),
        [1, 3, 0x80, 0x40, 1, 0x80, 1, 13]
    );
    let mut bytes = at(1, Lifetime::UntilNextHalt);
    assert_eq!(bytes.pop(), Some(6));
    // None is the first, and so many nobody counts.
    request_is_malformed(RequestKind::AddEvents, &[&bytes[..], &[1]].concat());
    request_is_malformed(RequestKind::AddEvents, &[&bytes[..], &[7]].concat());
    let many = [0xff, 0xff, 0xff, 0xff, 0xff, 1];
    request_is_malformed(RequestKind::AddEvents, &[&bytes[..], &many].concat());
}

#[test]
fn programs_and_options_take_two_bytes_and_their_own() {
    let mut spec = EventSpec::new(Trigger::Interrupt { vector: 0x20 });
    spec.settings.options = Options {
        stage: Stage::All,
        short_circuit: true,
        immediate: false,
        buffer_bytes: 8,
        lead_bytes: Some(0),
    };
    assert_eq!(add(&[spec]), [1, 3, 0x8d, 0x1e, 1, 0x20, 8]);
    let mut spec = EventSpec::new(Trigger::Tsc);
    spec.settings.actions = Actions::SCRIPT | Actions::CODE;
    spec.programs = Programs {
        condition: Condition::Code(&[0xc3]),
        script: &[5, 6],
        code: &[0x90],
    };
    let bytes = add(&[spec]);
    assert_eq!(bytes, [1, 3, 0x8e, 0, 0x16, 1, 0xc3, 2, 5, 6, 1, 0x90]);
    assert_eq!(
        spec.programs.sizes(),
        ProgramSizes {
            condition: ConditionKind::Code,
            condition_bytes: 1,
            script_bytes: 2,
            code_bytes: 1,
            // Of the three, one behind the other, as zlib has it.
            crc: 0xe522_68dd,
        }
    );
}

#[test]
fn bytes_before_a_hook_are_one_byte_or_nothing() {
    let mut spec = HOOK;
    let usual = add(&[spec]);
    for (lead_bytes, byte) in [(None, 0), (Some(1), 1), (Some(limits::LEAD_BYTES), 40)] {
        spec.settings.options.lead_bytes = lead_bytes;
        let bytes = add(&[spec]);
        assert_eq!(bytes.len(), usual.len() + 3, "{bytes:x?}");
        assert_eq!(bytes.last(), Some(&byte));
    }
    let mut scratch = [0; 64];
    spec.settings.options.lead_bytes = Some(limits::LEAD_BYTES + 1);
    let events = EventSpecs::encode_into([spec], BASE, &mut scratch);
    assert_eq!(events, Err(EncodeError::OverLimit));
}

#[test]
fn a_program_without_its_action_cannot_be_written() {
    let mut spec = HOOK;
    spec.programs.script = &[1];
    let mut scratch = [0; 64];
    let events = EventSpecs::encode_into([spec], BASE, &mut scratch);
    assert_eq!(events, Err(EncodeError::OverLimit));
    spec.programs.script = &[];
    spec.settings.actions = Actions::CODE;
    let events = EventSpecs::encode_into([spec], BASE, &mut scratch);
    assert_eq!(events, Err(EncodeError::OverLimit));
}

#[test]
fn a_trigger_that_watches_nothing_cannot_be_written() {
    let mut scratch = [0; 64];
    for trigger in [
        Trigger::Mode { to: Modes::empty() },
        Trigger::Monitor {
            space: Space::Virtual,
            access: Access::empty(),
            from: 0,
            len_bytes: 1,
        },
    ] {
        let events = EventSpecs::encode_into([EventSpec::new(trigger)], BASE, &mut scratch);
        assert_eq!(events, Err(EncodeError::OverLimit));
    }
}

#[test]
fn every_trigger_has_its_number_and_its_parameters() {
    let address = GuestVirtual(BASE.0 + 0x40);
    let monitor = |space, from| Trigger::Monitor {
        space,
        access: Access::READ | Access::WRITE,
        from,
        len_bytes: 8,
    };
    let by = SyscallBy::Range;
    let number = Some(1);
    let (kind, vector) = (TraceKind::StepOut, Some(0xe));
    let (register, mask) = (ControlRegister::Cr4, !1);
    let to = Modes::USER | Modes::KERNEL;
    let cases: &[(Trigger, &[u8])] = &[
        (Trigger::EptHook2 { address }, &[1, 0x80, 1]),
        (monitor(Space::Virtual, address.0), &[2, 3, 0x80, 1, 8]),
        (monitor(Space::Physical, 0x7f), &[2, 11, 0x7f, 8]),
        (Trigger::Syscall { number, by }, &[4, 2]),
        (Trigger::Sysret { by }, &[6]),
        (Trigger::MsrRead { msr: None }, &[8, 0]),
        (Trigger::MsrWrite { msr: Some(0x10) }, &[9, 0x11]),
        (Trigger::IoIn { port: Some(0x60) }, &[10, 0x61]),
        (Trigger::IoOut { port: None }, &[11, 0]),
        (Trigger::Exception { vector }, &[12, 15]),
        (Trigger::Pmc, &[15]),
        (Trigger::Vmcall, &[16]),
        (Trigger::Dr, &[17]),
        (Trigger::CrWrite { register, mask }, &[18, 4, 1]),
        (Trigger::Xsetbv { xcr: Some(0) }, &[19, 1]),
        (Trigger::Mode { to }, &[20, 3]),
        (Trigger::Trace { kind }, &[21, 1]),
        (Trigger::SyscallEntry { number }, &[22, 2]),
    ];
    for (trigger, bytes) in cases {
        let body = add(&[EventSpec::new(*trigger)]);
        assert_eq!(&body[2..], *bytes, "{trigger:?}");
    }
}

#[test]
fn unknown_numbers_are_rejected() {
    for event in [
        &[23][..],
        &[2, 0, 0, 8],
        &[2, 16, 0, 8],
        &[18, 3, 0],
        &[20, 0],
        &[20, 4],
        &[21, 3],
        &[12, 0x81, 2],
    ] {
        request_is_malformed(RequestKind::AddEvents, &[&[1, 3], event].concat());
    }
}

#[test]
fn usual_settings_in_the_long_form_are_rejected() {
    request_is_malformed(RequestKind::AddEvents, &[1, 3, 0x80, 0, 1, 0]);
}

#[test]
fn unknown_options_are_rejected() {
    for more in [[3, 1], [0x20, 1], [0, 0x18], [0, 0x21]] {
        request_is_malformed(RequestKind::AddEvents, &[&[1, 3, 0x8e], &more[..]].concat());
    }
    // A buffer of no bytes, and programs of no bytes.
    request_is_malformed(RequestKind::AddEvents, &[1, 3, 0x8e, 0x10, 1, 0]);
    request_is_malformed(RequestKind::AddEvents, &[1, 3, 0x8e, 0, 4, 0]);
    request_is_malformed(RequestKind::AddEvents, &[1, 3, 0x8e, 0, 9, 0]);
}

#[test]
fn fewer_events_than_announced_are_rejected() {
    request_is_malformed(RequestKind::AddEvents, &[1, 5, 0, 0]);
}

#[test]
fn more_events_than_announced_are_rejected() {
    request_is_malformed(RequestKind::AddEvents, &[1, 3, 0, 0, 0, 0]);
}

#[test]
fn more_events_than_a_request_may_have_are_rejected() {
    let mut scratch = [0; 1024];
    let events = vec![HOOK; limits::EVENTS_PER_REQUEST + 1];
    assert_eq!(
        EventSpecs::encode_into(events, BASE, &mut scratch),
        Err(EncodeError::OverLimit)
    );
    // 257 events of two bytes each.
    let mut body = vec![1, 0x82, 4];
    body.extend([0; 257 * 2]);
    request_is_malformed(RequestKind::AddEvents, &body);
}

#[test]
fn list_gives_its_values_and_its_length() {
    let mut scratch = [0; 32];
    let list = EventSpecs::encode_into([HOOK, HOOK], BASE, &mut scratch).unwrap();
    assert_eq!((list.len(), list.is_empty()), (2, false));
    assert!(list.iter().eq([HOOK, HOOK]));
    assert!(EventSpecs::EMPTY.iter().next().is_none());
}

#[test]
fn list_keeps_its_values_in_a_message_with_another_base() {
    let mut scratch = [0; 32];
    let elsewhere = GuestVirtual(0x1234);
    let events = EventSpecs::encode_into([HOOK, HOOK], elsewhere, &mut scratch).unwrap();
    let core = CoreId(0);
    let all_or_nothing = false;
    request_body(Request::AddEvents {
        core,
        all_or_nothing,
        events,
    });
}

#[test]
fn results_are_numbers_or_refusals() {
    let mut scratch = [0; 64];
    let results = [Ok(EventId(3)), Err(Refusal::NotHalted)];
    let body = reply_body(Reply::EventsAdded {
        results: AddResults::encode_into(results, BASE, &mut scratch).unwrap(),
        free: free(),
        digest: 0x1234,
    });
    assert_eq!(body, [2, 6, 1, 14, 0x11, 0, 3, 0x34, 0x12]);
}

#[test]
fn odd_result_is_rejected() {
    reply_is_malformed(ReplyKind::EventsAdded, &[1, 3, 0, 0, 0]);
}

#[test]
fn result_with_an_unknown_refusal_is_rejected() {
    reply_is_malformed(ReplyKind::EventsAdded, &[1, 1, 0xff, 0, 0, 0]);
}

#[test]
fn change_of_all_takes_one_byte() {
    let body = |change, which| request_body(Request::ChangeEvents { change, which });
    assert_eq!(body(EventChange::Enable, Selection::Events), [0]);
    assert_eq!(body(EventChange::Disable, Selection::Events), [1]);
    assert_eq!(body(EventChange::Clear, Selection::Events), [2]);
    assert_eq!(body(EventChange::Clear, Selection::Breakpoints), [0x22]);
    let one = Selection::One(EventId(5));
    assert_eq!(body(EventChange::Clear, one), [0x12, 5]);
}

#[test]
fn unknown_change_is_rejected() {
    request_is_malformed(RequestKind::ChangeEvents, &[3]);
    request_is_malformed(RequestKind::ChangeEvents, &[0x30, 5]);
    request_is_malformed(RequestKind::ChangeEvents, &[0x40]);
}

#[test]
fn changed_events_are_counted() {
    let body = reply_body(Reply::EventsChanged {
        count: 9,
        free: free(),
        digest: 0,
    });
    assert_eq!(body, [9, 0x11, 0, 3, 0, 0]);
}

#[test]
fn entry_has_its_number_its_state_and_its_hits() {
    let mut scratch = [0; 64];
    let entry = EventEntry {
        id: EventId(4),
        settings: HOOK.settings,
        sizes: ProgramSizes::default(),
        enabled: true,
        standing: Standing::Covered,
        hits: 5,
    };
    let entries = EventEntries::encode_into([entry], BASE, &mut scratch).unwrap();
    assert_eq!(reply_body(Reply::Events(entries)), [1, 9, 0, 0x80, 1, 2, 5]);
    assert_eq!(request_body(Request::ListEvents { from: EventId(4) }), [4]);
}

#[test]
fn entry_number_above_32_bits_is_rejected() {
    reply_is_malformed(ReplyKind::Events, &[1, 0x80, 0x80, 0x80, 0x80, 0x20, 1, 0]);
}

#[test]
fn longest_entry_fits_the_memory_of_the_digest() {
    let mut settings = Settings::new(Trigger::Monitor {
        space: Space::Physical,
        access: Access::all(),
        from: u64::MAX,
        len_bytes: u64::MAX,
    });
    settings.filter = Filter {
        pid: Some(u32::MAX),
        tid: Some(u32::MAX),
        core: Some(CoreId(u16::MAX)),
    };
    settings.breakpoint = Some(Breakpoint {
        first_pass: u32::MAX,
        lifetime: Lifetime::UntilNextHalt,
    });
    settings.actions = Actions::all();
    settings.options.buffer_bytes = u32::MAX;
    settings.options.lead_bytes = None;
    let entry = EventEntry {
        id: EventId(u32::MAX),
        settings,
        sizes: ProgramSizes {
            condition: ConditionKind::Code,
            condition_bytes: u32::MAX,
            script_bytes: u32::MAX,
            code_bytes: u32::MAX,
            crc: u32::MAX,
        },
        enabled: true,
        standing: Standing::Active,
        hits: 0,
    };
    let mut settings = [0; LONGEST_ENTRY_BYTES];
    let mut out = Writer::new(&mut settings);
    write_settings(&entry, &mut out, &mut 0).unwrap();
    assert_eq!(out.len(), 72);
}
