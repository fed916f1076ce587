//! Mirrors, checkouts, objects and pushes, with the real `git` on real repositories.
//!
//! Invariant: no network beyond loopback; every test has its own folder.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a fixture that cannot be built fails the test")]

mod checkout;
mod credentials;
pub(crate) mod fixture;
mod history;
mod hostile;
mod lfs;
mod mirror;
mod push;
mod snapshot;
