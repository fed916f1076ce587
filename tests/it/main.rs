//! The one integration-test binary: real git, real SQLite, real processes; other people's servers are faked.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up has to fail, also in the functions that several tests share"
)]

mod fake;

mod agents;
mod attacks;
mod commands;
mod config;
mod demo;
mod end_to_end;
mod evidence;
mod forge_directory;
mod forge_github;
mod git;
mod held;
mod intake;
mod outside;
mod process;
mod program;
mod prompt;
mod redact;
mod restart;
mod sentry;
mod stopping;
mod store;
mod tidy;
mod trouble;
