//! Which settings make no sense together. The host asks before it sends, the driver before it
//! installs.

use super::{Actions, Breakpoint, EventSpec, Programs, Settings, Trigger};
use crate::refusal::{EventOption, EventRefusal, Refusal};

impl EventSpec<'_> {
    /// Whether the parts fit together.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), Refusal> {
        self.settings.check()?;
        if self.settings.is_interception() && !self.is_plain_hook() {
            let option = EventOption::Breakpoint;
            return Err(Refusal::Event(EventRefusal::OptionDoesNotFit { option }));
        }
        for (action, program, option) in [
            (Actions::SCRIPT, self.programs.script, EventOption::Script),
            (Actions::CODE, self.programs.code, EventOption::Code),
        ] {
            if self.settings.actions.contains(action) == program.is_empty() {
                return Err(Refusal::Event(EventRefusal::OptionDoesNotFit { option }));
            }
        }
        Ok(())
    }

    /// It is a hook that halts and does nothing else: all that an intercepted thread has room for.
    fn is_plain_hook(&self) -> bool {
        let Settings {
            trigger,
            options,
            actions,
            ..
        } = &self.settings;
        matches!(trigger, Trigger::EptHook { .. })
            && *actions == Actions::BREAK
            && options.buffer_bytes == 0
            && self.programs == Programs::NONE
    }
}

impl Settings {
    /// Whether the parts fit together.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), Refusal> {
        let Self {
            trigger, options, ..
        } = self;
        trigger.check()?;
        let misfits = [
            (
                options.short_circuit && (!trigger.can_short_circuit() || options.stage.has_post()),
                EventOption::ShortCircuit,
            ),
            (
                options.stage.has_post() && !trigger.has_stages(),
                EventOption::Stage,
            ),
        ];
        if let Some((_, option)) = misfits.into_iter().find(|(misfit, _)| *misfit) {
            return Err(Refusal::Event(EventRefusal::OptionDoesNotFit { option }));
        }
        self.breakpoint.map_or(Ok(()), |of| of.check(self))
    }
}

impl Breakpoint {
    /// It is at an instruction or in memory, and halts.
    fn check(self, settings: &Settings) -> Result<(), Refusal> {
        let can_be = matches!(
            settings.trigger,
            Trigger::EptHook { .. } | Trigger::Monitor { .. }
        );
        let option = EventOption::Breakpoint;
        if !can_be || !settings.actions.contains(Actions::BREAK) {
            return Err(Refusal::Event(EventRefusal::OptionDoesNotFit { option }));
        }
        if self.first_pass == 0 {
            return Err(Refusal::ValueOutOfRange {
                value: 0,
                least: 1,
                most: u32::MAX.into(),
            });
        }
        Ok(())
    }
}

impl Trigger {
    fn check(&self) -> Result<(), Refusal> {
        let last = u64::from(Self::LAST_EXCEPTION);
        let (value, least, most) = match *self {
            Self::Exception {
                vector: Some(vector),
            } => (u64::from(vector), 0, last),
            Self::Interrupt { vector } => (u64::from(vector), last + 1, u64::from(u8::MAX)),
            Self::Monitor {
                from, len_bytes, ..
            } => (len_bytes, 1, u64::MAX.wrapping_sub(from).saturating_add(1)),
            Self::CrWrite { mask, .. } => (mask, 1, u64::MAX),
            _ => return Ok(()),
        };
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(Refusal::ValueOutOfRange { value, least, most })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Access, ControlRegister, Modes, Programs, Space, Stage};
    use super::*;
    use crate::address::GuestVirtual;

    fn misfit(option: EventOption) -> Result<(), Refusal> {
        Err(Refusal::Event(EventRefusal::OptionDoesNotFit { option }))
    }

    #[test]
    fn defaults_fit_every_trigger() {
        let address = GuestVirtual(0x1000);
        let to = Modes::USER;
        for trigger in [
            Trigger::EptHook { address },
            Trigger::Tsc,
            Trigger::Mode { to },
        ] {
            assert_eq!(EventSpec::new(trigger).check(), Ok(()));
        }
    }

    #[test]
    fn short_circuit_needs_the_stage_before_and_something_to_skip() {
        let mut settings = Settings::new(Trigger::Tsc);
        settings.options.short_circuit = true;
        assert_eq!(settings.check(), Ok(()));
        for stage in [Stage::Post, Stage::All] {
            settings.options.stage = stage;
            assert_eq!(settings.check(), misfit(EventOption::ShortCircuit));
        }
        let address = GuestVirtual(0);
        let to = Modes::all();
        for trigger in [Trigger::EptHook { address }, Trigger::Mode { to }] {
            let mut settings = Settings::new(trigger);
            settings.options.short_circuit = true;
            assert_eq!(settings.check(), misfit(EventOption::ShortCircuit));
            settings.options.short_circuit = false;
            settings.options.stage = Stage::All;
            assert_eq!(settings.check(), misfit(EventOption::Stage));
        }
    }

    #[test]
    fn a_program_and_its_action_come_together() {
        let mut spec = EventSpec::new(Trigger::Pmc);
        spec.programs = Programs {
            script: &[1],
            ..Programs::NONE
        };
        assert_eq!(spec.check(), misfit(EventOption::Script));
        spec.settings.actions |= Actions::SCRIPT | Actions::CODE;
        assert_eq!(spec.check(), misfit(EventOption::Code));
        spec.programs.code = &[0x90];
        assert_eq!(spec.check(), Ok(()));
    }

    #[test]
    fn a_breakpoint_is_at_code_or_memory_and_halts() {
        let breakpoint = Some(Breakpoint::DEFAULT);
        let address = GuestVirtual(0x1000);
        let at_code = Settings {
            breakpoint,
            ..Settings::new(Trigger::EptHook { address })
        };
        assert_eq!(at_code.check(), Ok(()));
        let elsewhere = Settings {
            trigger: Trigger::Tsc,
            ..at_code
        };
        assert_eq!(elsewhere.check(), misfit(EventOption::Breakpoint));
        let silent = Settings {
            actions: Actions::SCRIPT,
            ..at_code
        };
        assert_eq!(silent.check(), misfit(EventOption::Breakpoint));
        let never = Settings {
            breakpoint: Some(Breakpoint {
                first_pass: 0,
                ..Breakpoint::DEFAULT
            }),
            ..at_code
        };
        assert!(never.check().is_err());
    }

    #[test]
    fn values_have_bounds() {
        let monitor = |from, len_bytes| {
            let access = Access::WRITE;
            let space = Space::Physical;
            Settings::new(Trigger::Monitor {
                space,
                access,
                from,
                len_bytes,
            })
            .check()
        };
        assert_eq!(monitor(u64::MAX, 1), Ok(()));
        assert!(monitor(u64::MAX, 2).is_err());
        assert!(monitor(0x1000, 0).is_err());
        let vector = Some(0x20);
        let exception = Settings::new(Trigger::Exception { vector }).check();
        assert_eq!(
            exception,
            Err(Refusal::ValueOutOfRange {
                value: 0x20,
                least: 0,
                most: 0x1f
            })
        );
        assert!(
            Settings::new(Trigger::Interrupt { vector: 0x1f })
                .check()
                .is_err()
        );
        let register = ControlRegister::Cr0;
        assert!(
            Settings::new(Trigger::CrWrite { register, mask: 0 })
                .check()
                .is_err()
        );
    }
}
