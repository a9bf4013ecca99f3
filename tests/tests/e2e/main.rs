//! The debugger against a real kernel in the lab. Each file is a theme; each test boots a machine of its own.

mod actors;
mod budget;
mod changing;
mod churn;
mod cores;
mod costs;
mod detours;
mod documents;
mod edges;
mod ends;
mod errors;
mod events;
mod exits;
mod forms;
mod hits;
mod lab;
mod link;
mod loading;
mod messages;
mod monitors;
mod pools;
mod programs;
mod protection;
mod refusals;
mod scripts;
mod stillness;
