//! What every store promises, run against each store; and what only the SQLite store has to promise.
//!
//! Invariant: a contract sees a store only through the trait, so that the next store runs the same ones.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod contract;
mod crowd;
mod given;
mod model;
mod queue;
mod sqlite;
