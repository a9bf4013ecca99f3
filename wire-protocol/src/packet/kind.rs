//! First byte of a message. A request and its reply share a number where the reply is of one kind;
//! notices have the top bit.

use crate::closed::kinds;

/// This bit makes a message a notice.
pub(super) const NOTICE: u8 = 0x80;

kinds! {
    /// What a request asks for.
    RequestKind {
        Hello = 0x00,
        Go = 0x10,
        Cores = 0x11,
        ShortCircuit = 0x12,
        Step = 0x13,
        ListTasks = 0x14,
        Occasions = 0x15,
        Restart = 0x16,
        Crash = 0x17,
        ReadRegisters = 0x20,
        WriteRegister = 0x21,
        ReadMemory = 0x30,
        WriteMemory = 0x31,
        Translate = 0x32,
        DigestMemory = 0x33,
        AddEvents = 0x40,
        ChangeEvents = 0x41,
        ListEvents = 0x42,
        EventPrograms = 0x43,
        Prealloc = 0x50,
        Pools = 0x51,
        DefineGlobals = 0x60,
        RunScript = 0x61,
        Flush = 0x62,
        ChangeBranches = 0x70,
        ReadBranches = 0x71,
        MessageCounts = 0x63,
    }
}

kinds! {
    /// What a reply answers.
    ReplyKind {
        Hello = 0x00,
        Done = 0x01,
        Refused = 0x02,
        Cores = 0x11,
        Stepped = 0x13,
        Tasks = 0x14,
        Occasions = 0x15,
        Registers = 0x20,
        Memory = 0x30,
        Physical = 0x32,
        Digest = 0x33,
        MemoryAsExpected = 0x34,
        EventsAdded = 0x40,
        EventsChanged = 0x41,
        Events = 0x42,
        EventPrograms = 0x43,
        Carved = 0x50,
        Pools = 0x51,
        GlobalsDefined = 0x60,
        ScriptRan = 0x61,
        Branches = 0x71,
        MessageCounts = 0x63,
    }
}

kinds! {
    /// What a notice tells.
    NoticeKind {
        Stopped = 0x80,
        Fault = 0x81,
        Messages = 0x82,
        Goodbye = 0x84,
        Steps = 0x85,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_bit_tells_notices_from_replies() {
        assert!(
            NoticeKind::ROWS
                .iter()
                .all(|(number, _)| number & NOTICE != 0)
        );
        assert!(
            ReplyKind::ROWS
                .iter()
                .all(|(number, _)| number & NOTICE == 0)
        );
        assert!(
            RequestKind::ROWS
                .iter()
                .all(|(number, _)| number & NOTICE == 0)
        );
    }

    #[test]
    fn numbers_lead_back_to_their_kinds() {
        for (number, _) in RequestKind::ROWS {
            assert_eq!(
                RequestKind::from_wire(*number).map(RequestKind::to_wire),
                Some(*number)
            );
        }
        assert_eq!(ReplyKind::from_wire(0x12), None);
    }
}
