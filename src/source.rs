//! Systems that send alerts.
//!
//! Invariant: nothing of a delivery is parsed before its signature was verified over the raw bytes.

pub mod sentry;
