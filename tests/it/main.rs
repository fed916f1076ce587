//! The one integration-test binary: real git, real SQLite, real processes; other people's servers are faked.

mod fake;

mod config;
mod forge_directory;
mod forge_github;
mod git;
mod intake;
mod process;
mod prompt;
mod redact;
mod sentry;
mod store;
