//! Halts that the host does not hear of: every core stands still for the moment in which what is
//! installed is changed, because a script asked for it or memory was added.

use crate::command::meeting::OnCore;
use crate::event::Installed;
use crate::port::{Cpu, Ports};
use crate::shared::{Seat, Shared, Writer};

/// Why nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEdited {
    /// Another core halts right now.
    OtherCoreHalts,
    /// Not every core came.
    CoreMissing,
}

/// Changes what is installed and makes every core take it over before it runs again. The time it
/// takes is hidden like that of any halt.
///
/// # Errors
/// Nothing was changed.
pub fn edit<P: Ports, R>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    change: impl FnOnce(&mut Installed, &mut P::Memory) -> R,
) -> Result<R, NotEdited> {
    let mut halt = seat.claim().ok_or(NotEdited::OtherCoreHalts)?;
    let limit_ticks = shared.clock.timeout_ticks();
    let still_since = halt.gather(&OnCore::new(cpu, shared), limit_ticks);
    let edited = match halt.all_halted() {
        Ok(mut proof) => {
            let installed = proof.edit();
            let result = change(installed, &mut shared.memory.clone());
            shared.publish(installed);
            Ok(result)
        }
        Err(_) => Err(NotEdited::CoreMissing),
    };
    if edited.is_ok() {
        shared.load_published(halt.owner(), cpu);
        // A core that does not acknowledge is held and takes it over before it runs.
        let _ = halt.commit_everywhere(&OnCore::new(cpu, shared), limit_ticks);
    }
    if shared.facts.constants.hide_time {
        shared.add_hidden_ticks(cpu.tsc().saturating_sub(still_since));
    }
    halt.put_back(&OnCore::new(cpu, shared), limit_ticks);
    edited
}

/// Carries out what scripts wanted to be changed, and lets events follow the pages of their processes, once the hit is dealt with. What cannot be done
/// because another core halts, or one does not come, is done by the next core that comes here.
pub fn carry_out_wanted<P: Ports>(seat: &mut Seat<'_>, cpu: &mut P::Cpu, shared: &Shared<P>) {
    if !shared.changes.take() {
        return;
    }
    let by = Writer {
        core: seat.core(),
        tsc: cpu.tsc(),
    };
    let edited = edit(seat, cpu, shared, |installed, memory| {
        installed.carry_out_wanted(memory);
        shared.follow(installed, by);
    });
    if edited.is_err() {
        shared.changes.want();
    }
}
