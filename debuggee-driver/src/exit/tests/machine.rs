//! What tests do with a made-up machine: events that only count, and what became of them.

extern crate std;

use crate::command::meeting::OnCore;
use crate::event::{Facts as EventFacts, Installed, Range};
use crate::exit::derived;
use crate::exit::due::Due;
pub(super) use crate::fake::machine::*;
use crate::port::Cpu;
use crate::run::machine;
use crate::vmx::control_field;
use wire_protocol::address::{EventId, GuestPhysical, GuestVirtual};
use wire_protocol::event::{Access, Actions, EventChange, EventSpec, Settings, Space, Trigger};

impl Machine {
    /// Installs an event that only counts.
    fn add(&mut self, trigger: Trigger, facts: EventFacts) -> EventId {
        let mut settings = Settings::new(trigger);
        settings.actions = Actions::empty();
        settings.options = self.options;
        self.install(settings, facts)
    }

    /// Installs an event and lets every core load what it needs.
    pub(super) fn install(&mut self, settings: Settings, facts: EventFacts) -> EventId {
        let spec = EventSpec {
            settings,
            ..EventSpec::new(settings.trigger)
        };
        let mut memory = self.shared.memory.clone();
        let added = self.edit(|installed| installed.add(&mut memory, &spec, &facts).unwrap());
        for core in &mut self.cores {
            self.shared.load_published(core.id, &mut core.cpu);
            core.due |= Due::CONTROLS;
            derived::load(core);
        }
        added
    }

    /// Changes what is installed, by core 0 while the other one executes nothing.
    pub(super) fn edit<R>(&mut self, change: impl FnOnce(&mut Installed) -> R) -> R {
        let [core, other] = &mut self.cores;
        other.seat.wait_for_sipi(|| {
            let mut halt = core.seat.claim().unwrap();
            let mut proof = halt.all_halted().unwrap();
            let installed = proof.edit();
            let result = change(installed);
            self.shared.publish(installed);
            halt.release(&OnCore::new(&mut core.cpu, self.shared), 0);
            result
        })
    }

    /// What a script wants to become of an event.
    pub(super) fn change(&self, event: EventId, change: EventChange) -> bool {
        self.cores[0]
            .seat
            .read(|installed| machine::change(self.shared, installed, event, change))
    }

    pub(super) fn hook(&mut self, at: u64) -> EventId {
        let facts = EventFacts {
            hook: Some(GuestPhysical(at)),
            code: None,
            range: None,
            owner: None,
        };
        let address = GuestVirtual(at);
        self.add(Trigger::EptHook { address }, facts)
    }

    pub(super) fn monitor(&mut self, from: u64, len_bytes: u64, access: Access) -> EventId {
        let range = Range {
            from,
            len_bytes,
            access,
            tables: None,
        };
        let trigger = Trigger::Monitor {
            space: Space::Physical,
            access,
            from,
            len_bytes,
        };
        let facts = EventFacts {
            hook: None,
            code: None,
            range: Some(range),
            owner: None,
        };
        self.add(trigger, facts)
    }

    pub(super) fn hits(&self, event: EventId) -> u64 {
        self.cores[0].seat.read(|installed| {
            let mut entries = installed.entries();
            entries.find(|entry| entry.id == event).unwrap().hits
        })
    }

    /// Every core is back in the hooked view.
    pub(super) fn assert_all_watched(&self) {
        for core in &self.cores {
            assert_eq!(
                core.cpu.vmread(control_field::EPTP_FULL),
                self.shared.fixed.eptp_hooked
            );
            assert_eq!(core.single.view.opened().count(), 0);
        }
    }
}
