//! Events: planned, installed and removed with every core halted; matched by all cores while the
//! guest runs.
//!
//! [`plan`] says what an event needs, [`programs`] what its programs need and where they are kept, [`range`] where
//! a monitor's range lies, [`installed`] what there is, [`transaction`] reserves and commits,
//! [`registry`] knows what is installed, [`index`] who waits for which [`trigger`], [`controls`]
//! what the processor is told, [`follow`] keeps events with the pages of their [`owner`], [`detour`] where detours lead and [`relocate`] what they carry out there,
//! [`dispatch`] matches exits to events, and [`growth`] takes over
//! memory that the operating system has added.

pub mod controls;
pub mod detour;
pub mod dispatch;
pub mod follow;
pub mod growth;
pub mod index;
pub mod installed;
pub mod owner;
pub mod plan;
pub mod programs;
pub mod range;
pub mod registry;
pub mod relocate;
#[cfg(test)]
mod tests;
pub mod transaction;
pub mod trigger;

pub use controls::{Bitmaps, Controls};
pub use dispatch::{ExitFacts, Hit, Moment, Running, is_of};
pub use follow::Guest;
pub use installed::Installed;
pub use plan::{Facts, Resolver};
pub use range::Range;
pub use trigger::{TriggerInstance, TriggerKind};
