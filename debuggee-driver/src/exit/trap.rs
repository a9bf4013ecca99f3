//! The monitor trap flag: the end of a step, of an instruction carried out natively, or one more
//! instruction of a traced core.

use super::native::{self, Native};
use super::step::{self, Step};
use super::{Core, Outcome};
use crate::event::{Kind, Moment, Occasion};
use crate::hit::{self, Comes};
use crate::port::Ports;
use crate::shared::Shared;

/// Ends what is done, and serves traces.
pub fn handle<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    native::on_trap(core, shared);
    if core.step != Step::None {
        step::on_trap(core, shared);
    }
    if core.step == Step::None && core.native == Native::None {
        executed(core, shared);
    }
    Outcome::Stay
}

/// One more instruction was executed.
pub fn executed<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    if shared.published.traces(core.id) {
        let occasion = Occasion::new(Kind::Trace, 0);
        let moment = Moment::Pre;
        hit::fire(
            core.id,
            &mut core.cpu,
            shared,
            &occasion,
            moment,
            Comes::Once,
        );
    }
}

/// Turns the trap flag on for a traced core, and off for one that is traced no more.
pub fn before_entry<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let traces = shared.published.traces(core.id);
    if traces || core.traced {
        let steps = core.step != Step::None || core.native != Native::None;
        step::set_trap(&mut core.cpu, traces || steps);
        core.traced = traces;
    }
}
