//! What is known of a core of the machine: the values that it left its guest with last, and which of them the core beside
//! it is given.

use super::super::recording::place;
use debuggee_driver::exit::hypercall;
use debuggee_driver::fake::cpu::Place;
use debuggee_driver::port::gpr;
use debuggee_driver::vmx::{control_field, guest, reason, ro};
use debugger_host::recording::input::Change;

/// A processor's NMIs are of this type.
const NMI_TYPE: u64 = 2;

/// Fields that the driver decides on, each for its own memory and time.
const OWN_FIELDS: [u32; 9] = [
    control_field::EPTP_FULL,
    control_field::EPTP_LIST_ADDR_FULL,
    control_field::IO_BITMAP_A_ADDR_FULL,
    control_field::IO_BITMAP_B_ADDR_FULL,
    control_field::MSR_BITMAPS_ADDR_FULL,
    control_field::TSC_OFFSET_FULL,
    guest::VMX_PREEMPTION_TIMER_VALUE,
    guest::LINK_PTR_FULL,
    ro::VM_INSTRUCTION_ERROR,
];
/// Fields for the controls that the processor changes at an exit.
const ENTRY_FIELDS: [u32; 3] = [
    control_field::VMENTRY_INTERRUPTION_INFO_FIELD,
    control_field::VMENTRY_EXCEPTION_ERR_CODE,
    control_field::VMENTRY_INSTRUCTION_LEN,
];

/// Whether an exit will come again, since the driver does not deal with one while another core halts.
#[derive(Default)]
enum Doubt {
    #[default]
    None,
    /// The next one may.
    Next,
    /// This one may.
    Last(Vec<Change>),
}

/// See the module.
pub(super) struct Latest {
    values: Vec<Change>,
    /// It is known to have come where it halts.
    pub(super) has_come: bool,
    doubt: Doubt,
    /// The core has its values that only the driver changes.
    is_begun: bool,
}

impl Latest {
    pub(super) const fn new(values: Vec<Change>) -> Self {
        Self {
            values,
            has_come: false,
            doubt: Doubt::None,
            is_begun: false,
        }
    }

    /// It left its guest once more. Whether the core beside it is to know: timers and NMIs are the machine's own affair.
    pub(super) fn leaves(&mut self, values: Vec<Change>) -> bool {
        self.values = values;
        if self.is_nmi() {
            self.has_come = true;
            self.doubt = Doubt::None;
            return false;
        }
        if self.reason() == reason::PREEMPTION_TIMER {
            return false;
        }
        match std::mem::take(&mut self.doubt) {
            Doubt::None => true,
            Doubt::Next => {
                self.doubt = Doubt::Last(self.place());
                true
            }
            Doubt::Last(before) => before != self.place(),
        }
    }

    /// Another core halts for a moment, in the driver as well, but nobody knows until when.
    pub(super) fn may_repeat(&mut self) {
        self.doubt = Doubt::Next;
    }

    /// What is the same when an instruction leaves its guest again that did nothing.
    fn place(&self) -> Vec<Change> {
        let fields = [ro::EXIT_REASON, guest::RIP, guest::RSP, guest::RFLAGS];
        let is_part =
            |value: &&Change| value.kind == 1 || value.kind == 0 && fields.contains(&value.number);
        self.values.iter().filter(is_part).copied().collect()
    }

    /// It calls the driver.
    pub(super) fn calls(&self) -> bool {
        self.reason() == reason::VMCALL
    }

    fn value(&self, field: u32) -> u64 {
        let values = self.values.iter();
        let mut found = values.filter(|value| value.kind == 0 && value.number == field);
        found.next().map_or(0, |value| value.value)
    }

    fn reason(&self) -> u16 {
        self.value(ro::EXIT_REASON) as u16
    }

    fn is_nmi(&self) -> bool {
        let info = self.value(ro::VMEXIT_INTERRUPTION_INFO);
        self.reason() == reason::EXCEPTION_OR_NMI && info >> 8 & 7 == NMI_TYPE
    }

    /// It asks to leave the hypervisor, together with all others.
    pub(super) fn asks_to_leave(&self) -> bool {
        let register = |wanted: usize| {
            let mut values = self.values.iter();
            let is_it = |value: &&Change| value.kind == 1 && value.number == wanted as u32;
            values.find(is_it).map(|value| value.value)
        };
        self.calls()
            && register(gpr::RAX) == Some(hypercall::MAGIC)
            && register(gpr::RCX) == Some(hypercall::LEAVE)
    }

    /// What the core is given: all that is not the driver's own.
    pub(super) fn for_core(&mut self) -> Vec<(Place, u64)> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let values = self.values.iter().filter(|value| {
            let is_control = value.kind == 0 && value.number >> 10 & 3 == 0;
            let is_entry = ENTRY_FIELDS.contains(&value.number);
            let is_own = value.kind == 0 && OWN_FIELDS.contains(&value.number);
            !is_own && (!is_control || is_entry || is_first)
        });
        values
            .filter_map(|value| Some((place(value)?, value.value)))
            .collect()
    }

    /// The same, as if its timer had run out.
    pub(super) fn for_timer(&mut self) -> Vec<(Place, u64)> {
        let mut values = self.for_core();
        let reason = Place::Field(ro::EXIT_REASON);
        values.retain(|(place, _)| *place != reason);
        values.push((reason, u64::from(reason::PREEMPTION_TIMER)));
        values
    }
}
