//! What commands cost on the line, from live traffic. `cargo lab bench` prints it.

#[path = "e2e/budget.rs"]
mod budget;
#[allow(
    dead_code,
    reason = "the measurements need less of the lab than the tests"
)]
#[path = "e2e/lab.rs"]
mod lab;
