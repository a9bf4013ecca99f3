//! The debugger against a real kernel in the lab. Each file is a theme; each test boots a machine of its own.

mod cores;
mod hits;
mod lab;
mod stillness;
