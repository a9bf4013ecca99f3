//! Taking every object that a plan needs, or none.

use crate::ept::monitor::Piece;
use crate::ept::table::SplitPlan;
use crate::ept::watch::NewPage;
use crate::event::installed::Installed;
use crate::event::plan::Plan;
use crate::event::range::Range;
use crate::pool::slab::Reserved;
use crate::port::PhysicalMemory;
use wire_protocol::event::PoolClass;
use wire_protocol::refusal::Refusal;

impl Installed {
    /// Takes every object that the plan needs, or none.
    pub(super) fn reserve(
        &mut self,
        mem: &impl PhysicalMemory,
        plan: &Plan,
    ) -> Result<Reservation, Refusal> {
        let mark = self.pools.mark();
        self.reserve_objects(mem, plan).map_err(|refusal| {
            self.pools.rewind(&mark);
            match (refusal, &plan.range) {
                // What was taken is back, and what is told is what there is.
                (
                    Refusal::PoolExhausted {
                        class: PoolClass::Monitor,
                        ..
                    },
                    Some(range),
                ) => range.exhausted(mem, &self.pools),
                (refusal, _) => refusal,
            }
        })
    }

    fn reserve_objects(
        &mut self,
        mem: &impl PhysicalMemory,
        plan: &Plan,
    ) -> Result<Reservation, Refusal> {
        let event = self
            .pools
            .reserve(plan.event_class)
            .map_err(|refusal| match plan.too_big {
                Some(too_big) => too_big.without_big_event(refusal),
                None => refusal,
            })?;
        let buffer = match plan.buffer_class.map(|class| self.pools.reserve(class)) {
            Some(Err(refusal)) => {
                self.pools.release(event);
                return Err(refusal);
            }
            Some(Ok(buffer)) => Some(buffer),
            None => None,
        };
        let pieces = plan.range.map(|range| self.reserve_pieces(mem, &range));
        if let (PoolClass::ThreadInterception, Some(split)) =
            (plan.event_class, plan.hook.and_then(|hook| hook.new_page))
        {
            return self.divide_interception(event, split);
        }
        let new_page = plan.hook.and_then(|hook| {
            let class = if hook.detour.is_some() {
                PoolClass::EptHook2
            } else {
                PoolClass::EptHook
            };
            Some(self.reserve_page(hook.new_page?, class))
        });
        match (pieces.transpose(), new_page.transpose()) {
            (Ok(_), Ok(new_page)) => Ok(Reservation {
                event,
                buffer,
                new_page,
            }),
            (Err(refusal), _) | (_, Err(refusal)) => {
                self.pools.release(event);
                if let Some(buffer) = buffer {
                    self.pools.release(buffer);
                }
                Err(refusal)
            }
        }
    }

    /// Puts the pieces of the next event in their places, without effect; each keeps its object.
    fn reserve_pieces(&mut self, mem: &impl PhysicalMemory, range: &Range) -> Result<(), Refusal> {
        let event = self.registry.next_id();
        for span in range.spans(mem) {
            let object = span.and_then(|span| Ok((span, self.pools.reserve(PoolClass::Monitor)?)));
            match object {
                Ok((span, object)) => self.watches.add_piece(Piece {
                    span,
                    access: range.access,
                    event,
                    enabled: false,
                    object,
                }),
                Err(refusal) => {
                    while let Some(object) = self.watches.take_back_piece(event) {
                        self.pools.release(object);
                    }
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    pub(in crate::event) fn reserve_page(
        &mut self,
        split: SplitPlan,
        class: PoolClass,
    ) -> Result<NewPage, Refusal> {
        let object = self.pools.reserve(class)?;
        self.page_of(object, split)
    }

    /// The object of an interception has its page.
    fn divide_interception(
        &mut self,
        interception: Reserved,
        split: SplitPlan,
    ) -> Result<Reservation, Refusal> {
        let (page, event) = self.pools.divide(interception);
        match self.page_of(page, split) {
            Ok(new_page) => Ok(Reservation {
                event,
                buffer: None,
                new_page: Some(new_page),
            }),
            Err(refusal) => {
                self.pools.release(event);
                Err(refusal)
            }
        }
    }

    fn page_of(&mut self, object: Reserved, split: SplitPlan) -> Result<NewPage, Refusal> {
        let class = object.class();
        let shadow = self.pools.phys(&object);
        // There are tables enough, see `ept::watch`; if that were wrong, nothing would be lost.
        let enough = u32::from(self.pools.spare_tables()) >= split.tables_needed();
        debug_assert!(enough, "two tables per page object in use");
        let split = enough.then(|| split.take_tables(&mut self.pools)).flatten();
        match split {
            Some(split) => Ok(NewPage {
                object,
                shadow,
                split,
            }),
            None => {
                self.pools.release(object);
                Err(self.pools.exhausted(class, 1))
            }
        }
    }
}

/// Everything one event needs, taken.
pub(super) struct Reservation {
    pub(super) event: Reserved,
    pub(super) buffer: Option<Reserved>,
    pub(super) new_page: Option<NewPage>,
}
