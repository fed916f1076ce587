//! Sentry: signed webhooks in, evidence from its API.
//!
//! Invariant: every text that comes from Sentry may have been written by an outsider and is marked so.

pub mod api;
pub mod category;
pub mod event;
pub mod locate;
pub mod signature;
pub mod webhook;
