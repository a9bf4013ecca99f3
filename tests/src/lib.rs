//! What tests of the whole need beside the lab: the driver's own core as a program of this machine. Tests stand in the
//! `tests` directory.

pub mod core;
