//! The `patchwright` program.

fn main() {}
