//! tallow
fn main() {}
