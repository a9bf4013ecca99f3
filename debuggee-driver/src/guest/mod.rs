//! The guest's memory and processes, read from VMX-root without the guest's help: page walks,
//! reads and writes by virtual and physical address, and process lookup from layout data.

pub mod instruction;
pub mod kernel;
pub mod layout;
pub mod linux;
mod linux_tasks;
pub mod memory;
pub mod process;
pub mod task;
pub mod walk;
