use super::*;
use crate::packet::kind::{ADD_EVENTS, CHANGE_EVENTS, EVENTS};
use crate::packet::testing::{
    BASE, reply_body, reply_is_malformed, request_body, request_is_malformed,
};
use std::vec;
use std::vec::Vec;

const HOOK: EventSpec = EventSpec {
    trigger: Trigger::EptHook {
        address: GuestVirtual(BASE.0 + 0x40),
    },
    filter: Filter {
        pid: None,
        core: None,
    },
    actions: Actions::BREAK,
};

const FREE: FreeCounts = FreeCounts {
    regular_events: 1,
    big_events: 2,
    ept_hooks: 3,
};

fn add(events: &[EventSpec]) -> Vec<u8> {
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
    let cpuid = |leaf| EventSpec {
        trigger: Trigger::Cpuid { leaf },
        ..HOOK
    };
    assert_eq!(add(&[cpuid(None)]), [1, 3, 0x01]);
    assert_eq!(add(&[cpuid(Some(5))]), [1, 3, 0x81, 5]);
    let filter = Filter {
        pid: Some(9),
        core: Some(CoreId(2)),
    };
    let actions = Actions::empty();
    let all = EventSpec {
        filter,
        actions,
        ..cpuid(Some(5))
    };
    assert_eq!(add(&[all]), [1, 3, 0xf1, 5, 9, 2, 0]);
}

#[test]
fn unknown_trigger_is_rejected() {
    request_is_malformed(ADD_EVENTS, &[1, 3, 0x02, 0]);
}

#[test]
fn hook_with_a_leaf_is_rejected() {
    request_is_malformed(ADD_EVENTS, &[1, 3, 0x80, 0]);
}

#[test]
fn break_in_the_long_form_is_rejected() {
    request_is_malformed(ADD_EVENTS, &[1, 3, 0x41, 1]);
}

#[test]
fn unknown_action_is_rejected() {
    request_is_malformed(ADD_EVENTS, &[1, 3, 0x41, 2]);
}

#[test]
fn fewer_events_than_announced_are_rejected() {
    request_is_malformed(ADD_EVENTS, &[1, 5, 0, 0]);
}

#[test]
fn more_events_than_announced_are_rejected() {
    request_is_malformed(ADD_EVENTS, &[1, 3, 0, 0, 0, 0]);
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
    request_is_malformed(ADD_EVENTS, &body);
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
        free: FREE,
        digest: 0x1234,
    });
    assert_eq!(body, [2, 6, 1, 14, 1, 2, 3, 0x34, 0x12]);
}

#[test]
fn odd_result_is_rejected() {
    reply_is_malformed(ADD_EVENTS, &[1, 3, 1, 2, 3, 0, 0]);
}

#[test]
fn result_with_an_unknown_refusal_is_rejected() {
    reply_is_malformed(ADD_EVENTS, &[1, 1, 0xff, 1, 2, 3, 0, 0]);
}

#[test]
fn change_of_all_takes_one_byte() {
    let all = |change| {
        let event = None;
        request_body(Request::ChangeEvents { change, event })
    };
    assert_eq!(all(EventChange::Enable), [0]);
    assert_eq!(all(EventChange::Disable), [1]);
    assert_eq!(all(EventChange::Clear), [2]);
    let change = EventChange::Clear;
    let event = Some(EventId(5));
    assert_eq!(
        request_body(Request::ChangeEvents { change, event }),
        [0x12, 5]
    );
}

#[test]
fn unknown_change_is_rejected() {
    request_is_malformed(CHANGE_EVENTS, &[3]);
    request_is_malformed(CHANGE_EVENTS, &[0x20]);
}

#[test]
fn changed_events_are_counted() {
    let body = reply_body(Reply::EventsChanged {
        count: 9,
        free: FREE,
        digest: 0,
    });
    assert_eq!(body, [9, 1, 2, 3, 0, 0]);
}

#[test]
fn entry_has_its_number_its_state_and_its_hits() {
    let mut scratch = [0; 64];
    let entry = EventEntry {
        id: EventId(4),
        spec: HOOK,
        enabled: true,
        hits: 5,
    };
    let entries = EventEntries::encode_into([entry], BASE, &mut scratch).unwrap();
    assert_eq!(reply_body(Reply::Events(entries)), [1, 9, 0, 0x80, 1, 5]);
    assert_eq!(request_body(Request::ListEvents { from: EventId(4) }), [4]);
}

#[test]
fn entry_number_above_32_bits_is_rejected() {
    reply_is_malformed(EVENTS, &[1, 0x80, 0x80, 0x80, 0x80, 0x20, 1, 0]);
}

#[test]
fn longest_entry_fits_the_memory_of_the_digest() {
    let entry = EventEntry {
        id: EventId(u32::MAX),
        spec: EventSpec {
            trigger: Trigger::EptHook {
                address: GuestVirtual(1 << 63),
            },
            filter: Filter {
                pid: Some(u32::MAX),
                core: Some(CoreId(u16::MAX)),
            },
            actions: Actions::empty(),
        },
        enabled: true,
        hits: 0,
    };
    let mut settings = [0; 32];
    let mut out = Writer::new(&mut settings);
    write_settings(&entry, &mut out, &mut 0).unwrap();
    assert_eq!(out.len(), 25);
}
