//! Log lines on standard error.
//!
//! Invariant: what is logged is a fixed message with numbers, names and outcomes; never a body, a header, a prompt or
//! a command's output.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// Starts logging. `filter` is in `tracing`'s filter syntax, such as `info` or `patchwright=debug`.
///
/// A filter that cannot be read becomes `info`, with a warning: a typo must not keep the service down.
pub fn start(filter: &str, format: LogFormat) {
    let parsed = EnvFilter::try_new(filter);
    let bad = parsed.is_err();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed.unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if bad && started.is_ok() {
        tracing::warn!("the log filter could not be read; logging at `info`");
    }
}
