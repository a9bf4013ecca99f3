//! The debugger against a real kernel in the lab. Each file is a theme; each test boots a machine of its own.

mod actors;
mod baud;
mod boot;
mod budget;
mod cards;
mod changing;
mod churn;
mod code;
mod cores;
mod costs;
mod detours;
mod doctor;
mod documents;
mod edges;
mod ends;
mod errors;
mod events;
mod exits;
mod faults;
mod forms;
mod halted;
mod hits;
mod hosts;
mod kernel_selftests;
mod lab;
mod link;
mod loading;
mod messages;
mod monitors;
mod network;
mod packages;
mod paths;
mod pools;
mod programs;
mod protection;
mod recorded;
mod refusals;
#[allow(dead_code, reason = "what only the tests without a machine need")]
#[path = "../net/relay.rs"]
mod relay;
mod replays;
mod resets;
mod scripts;
mod steps;
mod strangers;
mod windows;
