//! Repositories on our side: mirrors, checkouts, objects, pushes.
//!
//! Invariant: the `git` program runs only in folders that an agent cannot have written to and only through [`Git`],
//! whose environment and configuration are ours alone; what an agent wrote is read by git2 as objects, never by `git`.

pub mod checkout;
pub mod mirror;
pub mod objects;
pub mod push;
