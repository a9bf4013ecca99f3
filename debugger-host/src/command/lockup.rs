//! Lockups: the kernel tells nobody of them but its log, so a hidden breakpoint stands where it does. It is set with `sxe`
//! and cleared with `sxd`.

use super::debugger::Lockup;
use super::{Action, CommandError, Debugger, parse_line};
use crate::answer::Answer;
use crate::answer::occasion::{OccasionLine, OccasionName};
use wire_protocol::address::EventId;
use wire_protocol::event::{EventChange, Selection};

/// What is found, and the breakpoint that finds it: of a soft lockup the kernel takes note by this taint; of a hard one it
/// prints what begins with "NMI watchdog: Watchdog detecte", behind two bytes of the message's level.
const LOCKUPS: [(OccasionName, &str); 2] = [
    (
        OccasionName::SoftLockup,
        "bp vmlinux!add_taint condition { @rdi == 0xe }",
    ),
    (
        OccasionName::HardLockup,
        "bp vmlinux!_printk condition { dq(@rdi + 0x10) == 0x676f646863746157 && dq(@rdi + 0x18) == 0x6574636574656420 }",
    ),
];

/// What a word names.
pub(super) fn named(word: &str) -> Option<OccasionName> {
    let mut names = LOCKUPS.iter().map(|(name, _)| *name);
    names.find(|name| name.is_called(word))
}

/// Whether the debuggee halts at each.
pub(super) fn lines(debugger: &mut Debugger) -> Result<Vec<OccasionLine>, CommandError> {
    let line = |(name, _): &(OccasionName, &str)| {
        Ok(OccasionLine {
            name: *name,
            halts: debugger.lockup_hook(*name)?.is_some(),
            only: None,
        })
    };
    LOCKUPS.iter().map(line).collect()
}

/// Halts at it, or not any more.
pub(super) struct Change(pub(super) OccasionName, pub(super) bool);

impl Action for Change {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let Self(name, halts) = *self;
        debugger.session.must_be_halted()?;
        match (debugger.lockup_hook(name)?, halts) {
            (None, true) => debugger.hook_lockup(name)?,
            (Some(_), false) => debugger.forget_lockup(name)?,
            (Some(_), true) | (None, false) => {}
        }
        let mut occasions = lines(debugger)?;
        occasions.retain(|line| line.name == name);
        Ok(Answer::Occasions { occasions })
    }
}

impl Debugger {
    /// The breakpoint for it, if it is there.
    fn lockup_hook(&mut self, name: OccasionName) -> Result<Option<EventId>, CommandError> {
        let session = self.session.identity().session;
        let mut all = self.lockups.iter();
        let Some(found) = all.find(|it| it.name == name && it.session == session) else {
            return Ok(None);
        };
        let id = found.id;
        let is_there = self.session.events()?.iter().any(|entry| entry.id == id);
        Ok(is_there.then_some(id))
    }

    /// Which lockup a breakpoint is there for that halted the debuggee.
    pub(super) fn lockup_of(&self, id: EventId) -> Option<OccasionName> {
        let session = self.session.identity().session;
        let mut all = self.lockups.iter();
        let found = all.find(|it| it.id == id && it.session == session)?;
        Some(found.name)
    }

    fn hook_lockup(&mut self, name: OccasionName) -> Result<(), CommandError> {
        let line = LOCKUPS.iter().find(|(of, _)| *of == name);
        let Some((_, line)) = line else { return Ok(()) };
        let Some(action) = parse_line(line)? else {
            return Ok(());
        };
        if let Answer::EventAdded { id, .. } = action.run(self)? {
            let session = self.session.identity().session;
            self.lockups.retain(|it| it.name != name);
            self.lockups.push(Lockup {
                session,
                id: EventId(id),
                name,
            });
        }
        Ok(())
    }

    /// Clears the breakpoint for it, if it is there.
    pub(super) fn forget_lockup(&mut self, name: OccasionName) -> Result<(), CommandError> {
        if let Some(id) = self.lockup_hook(name)? {
            let which = Selection::One(id);
            self.session.change_events(EventChange::Clear, which)?;
            self.kept.change(EventChange::Clear, which);
        }
        self.lockups.retain(|it| it.name != name);
        Ok(())
    }

    /// The same of all.
    pub(super) fn forget_lockups(&mut self) -> Result<(), CommandError> {
        LOCKUPS
            .iter()
            .try_for_each(|(name, _)| self.forget_lockup(*name))
    }
}
