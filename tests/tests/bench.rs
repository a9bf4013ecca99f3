//! What commands cost on the line, from live traffic, and what scripts cost. `cargo lab bench`
//! prints it.

#[path = "e2e/budget.rs"]
mod budget;
#[path = "e2e/costs.rs"]
mod costs;
#[path = "bench/interpreter.rs"]
mod interpreter;
#[allow(
    dead_code,
    reason = "the measurements need less of the lab than the tests"
)]
#[path = "e2e/lab.rs"]
mod lab;
#[path = "bench/network.rs"]
mod network;
#[allow(dead_code, reason = "the measurements need less of it than the tests")]
#[path = "net/relay.rs"]
mod relay;
#[path = "bench/scripts.rs"]
mod scripts;
#[path = "../../wire-protocol/tests/support/variables.rs"]
mod variables;
