//! Refusals of events and their programs.

use crate::packet::form::forms;
use crate::refusal::EventRefusal;

forms! {
    EventRefusal {
        2 ClearIncomplete { core: core, event: event };
        7 TooManyHooksOnPage { limit: number };
        19 ConditionTooBig { limit_bytes: number, asked_bytes: number };
        20 ActionTooBig { limit_bytes: number, asked_bytes: number };
        21 BufferOverMessage { limit_bytes: number, asked_bytes: number, most_bytes: number };
        22 BufferTooBig { limit_bytes: number, asked_bytes: number };
        23 NoBigEvent {
            part: one,
            regular_bytes: number,
            asked_bytes: number,
            reserved: number,
            object_bytes: number,
            arena_left_bytes: size,
            possible: number,
            refill_ms: number,
        };
        24 BadProgram { part: one, at: number, reason: one };
        25 OptionDoesNotFit { option: one };
        27 OwnPort { port: number };
        28 OwnMsr { msr: number };
        29 NoFeature { feature: one };
        50 NotRam { address: physical };
        51 NoDetour { obstacle: one };
        52 PageTaken { event: event };
    }
}

#[cfg(test)]
mod tests {
    use crate::packet::Reply;
    use crate::packet::kind::ReplyKind;
    use crate::packet::testing::{reply_body, reply_is_malformed};
    use crate::refusal::{EventOption, EventRefusal};

    #[test]
    fn refusal_of_an_option_names_it() {
        let option = EventOption::Stage;
        let refusal = EventRefusal::OptionDoesNotFit { option };
        assert_eq!(reply_body(Reply::Refused(refusal.into())), [25, 4]);
        reply_is_malformed(ReplyKind::Refused, &[25, 10]);
        reply_is_malformed(ReplyKind::Refused, &[29, 2]);
        reply_is_malformed(ReplyKind::Refused, &[24, 2, 0, 0]);
    }
}
