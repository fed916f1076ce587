//! The front door: what a delivery means, and how the server treats those who send them.
//!
//! Invariant: no clock is waited for; every wait is for an event and has a deadline.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml allows them in tests; these are the helpers of tests"
)]

mod clients;
pub(crate) mod server;
mod webhooks;
