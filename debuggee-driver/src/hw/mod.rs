//! The hardware: most of what is `unsafe` stands here. Everything is a thin layer; what to do is
//! decided elsewhere.

pub mod apart;
pub mod apic;
pub mod code;
pub mod detour;
pub mod host_pages;
pub mod instructions;
pub mod io;
pub mod ioapic;
pub mod launch;
pub mod network;
pub mod percore;
pub mod phys;
pub mod vmx_cpu;
mod volatile;
