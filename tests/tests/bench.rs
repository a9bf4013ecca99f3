//! What commands cost on the line.
fn main() {}
