//! On which occasions the machine halts by itself, and what the host wants of the guest's kernel.
//!
//! Changed by `command`, in a halt; looked at by `exit`, by every core for itself.

use crate::cores::exclusive::Exclusive;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use wire_protocol::packet::{Came, Occasion, OccasionRule};

/// One for each occasion.
type Rules = [OccasionRule; Occasion::COUNT];

/// Looks whether the rules are free: another core has them for a moment at most.
const LOOKS: u32 = 1 << 16;

/// See the module.
pub struct Occasions {
    /// A bit for each that halts, whatever its name: most of what comes is not wanted.
    stops: AtomicU32,
    rules: Exclusive<Rules>,
    /// The kernel is to panic.
    crash: AtomicBool,
}

impl Default for Occasions {
    fn default() -> Self {
        let rules = Occasion::ALL.map(OccasionRule::at_first);
        Self {
            stops: AtomicU32::new(bits(&rules)),
            rules: Exclusive::new(rules),
            crash: AtomicBool::new(false),
        }
    }
}

const fn bit(occasion: Occasion) -> u32 {
    1 << occasion.to_wire()
}

fn bits(rules: &[OccasionRule]) -> u32 {
    let stops = rules.iter().filter(|rule| rule.stops);
    stops.map(|rule| bit(rule.occasion)).sum()
}

impl Occasions {
    /// Whether it halts for any name.
    #[must_use]
    pub fn stops_at(&self, occasion: Occasion) -> bool {
        self.stops.load(SeqCst) & bit(occasion) != 0
    }

    /// Whether it halts at this.
    #[must_use]
    pub fn wants(&self, came: &Came) -> bool {
        let is_for = |rules: &mut Rules| rules.iter().any(|rule| rule.is_for(came));
        self.stops_at(came.occasion) && self.with_rules(is_for).unwrap_or(false)
    }

    /// Changes some.
    pub fn change(&self, mut changes: impl Iterator<Item = OccasionRule>) {
        self.with_rules(|rules| {
            for change in changes.by_ref() {
                if let Some(rule) = rules.get_mut(usize::from(change.occasion.to_wire())) {
                    *rule = change;
                }
            }
            self.stops.store(bits(rules), SeqCst);
        });
    }

    /// All, in order.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.with_rules(|rules| *rules)
            .unwrap_or_else(|| Occasion::ALL.map(OccasionRule::at_first))
    }

    /// Nothing, should they not become free.
    fn with_rules<R>(&self, mut work: impl FnMut(&mut Rules) -> R) -> Option<R> {
        (0..LOOKS).find_map(|_| {
            let done = self.rules.try_with(&mut work);
            if done.is_none() {
                core::hint::spin_loop();
            }
            done
        })
    }

    /// The kernel is to panic once the machine goes on.
    pub fn ask_for_crash(&self) {
        self.crash.store(true, SeqCst);
    }

    /// Whoever asked for it is not there any more.
    pub fn forget_host(&self) {
        self.crash.store(false, SeqCst);
    }

    /// Whether it is to; it is told once.
    pub fn take_crash(&self) -> bool {
        self.crash.swap(false, SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::address::GuestVirtual;
    use wire_protocol::packet::OccasionText;

    fn came(occasion: Occasion, name: &[u8]) -> Came {
        Came {
            occasion,
            place: GuestVirtual(0),
            number: 0,
            text: OccasionText::new(name),
        }
    }

    #[test]
    fn a_change_holds_for_its_occasion_and_name() {
        let occasions = Occasions::default();
        assert!(occasions.wants(&came(Occasion::Panic, b"no")));
        assert!(!occasions.wants(&came(Occasion::Program, b"sh")));
        let change = OccasionRule {
            occasion: Occasion::Program,
            stops: true,
            name: OccasionText::new(b"sh"),
        };
        occasions.change([change].into_iter());
        assert!(occasions.wants(&came(Occasion::Program, b"sh")));
        assert!(!occasions.wants(&came(Occasion::Program, b"ls")));
        assert!(occasions.wants(&came(Occasion::Panic, b"no")));
        let never = OccasionRule {
            occasion: Occasion::Panic,
            stops: false,
            name: OccasionText::EMPTY,
        };
        occasions.change([never].into_iter());
        assert!(!occasions.wants(&came(Occasion::Panic, b"no")));
        assert_eq!(occasions.rules()[13], change);
    }

    #[test]
    fn what_is_asked_for_is_told_once() {
        let occasions = Occasions::default();
        assert!(!occasions.take_crash());
        occasions.ask_for_crash();
        assert!(occasions.take_crash() && !occasions.take_crash());
        occasions.ask_for_crash();
        occasions.forget_host();
        assert!(!occasions.take_crash());
    }
}
