//! Log lines on standard error.
//!
//! Invariant: what is logged is a fixed message with numbers, names and outcomes; never a body, a header, a prompt or
//! a command's output.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// Libraries that report to the log what we handle ourselves: octocrab calls every request that is retried an error.
/// Directives that the operator gives for the same names take their place.
const QUIET: &str = "error,octocrab=off,tower=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,sqlx=warn";

/// The operator's filter, over ours; none where it cannot be read.
///
/// To the filter syntax a bare word that is no level names a target, so that `debgu` would hide every line of ours.
fn filter_of(filter: &str) -> Option<EnvFilter> {
    let word = |part: &str| part.chars().all(|c| c.is_ascii_alphabetic());
    let unknown = |part: &str| word(part) && !part.is_empty() && part.parse::<LevelFilter>().is_err();
    if filter.split(',').map(str::trim).any(|part| unknown(part) && part != "patchwright") {
        return None;
    }
    EnvFilter::try_new(format!("{QUIET},{filter}")).ok()
}

/// Starts logging. `filter` is in `tracing`'s filter syntax, such as `info` or `patchwright=debug`.
///
/// With `colours` only if standard error is a terminal. A filter that cannot be read becomes `info`, with a warning: a typo must not keep the service down.
pub fn start(filter: &str, format: LogFormat, colours: bool) {
    let parsed = filter_of(filter);
    let bad = parsed.is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed.or_else(|| filter_of("info")).unwrap_or_default())
        .with_writer(std::io::stderr)
        .with_ansi(colours && std::io::stderr().is_terminal())
        .with_target(false);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if bad && started.is_ok() {
        tracing::warn!(
            "the log filter could not be read; logging at `info`: write a level (error, warn, info, debug, trace) or `target=level`"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged under a filter when octocrab, sqlx and we report the same.
    fn logged(filter: &str) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter_of(filter).unwrap())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "octocrab::service", "a 503 of octocrab");
            tracing::info!(target: "sqlx::query", "a query of sqlx");
            tracing::info!(target: "patchwright::worker", "a run of ours");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_misspelt_level_does_not_silence_the_log() {
        for bad in ["debgu", "warm", "info,debgu", "a=b=c"] {
            assert!(filter_of(bad).is_none(), "{bad}");
        }
        for good in ["info", "WARN", "off", "", "patchwright", "info,sqlx=debug", "patchwright::worker=trace"] {
            assert!(filter_of(good).is_some(), "{good}");
        }
    }

    #[test]
    fn libraries_are_quiet_unless_they_are_asked_for_by_name() {
        for filter in ["info", "debug", "patchwright=info"] {
            let text = logged(filter);
            assert!(text.contains("a run of ours"), "{filter}: {text}");
            assert!(!text.contains("octocrab") && !text.contains("sqlx"), "{filter}: {text}");
        }
        let text = logged("info,octocrab=debug,sqlx=debug");
        assert!(text.contains("a 503 of octocrab") && text.contains("a query of sqlx"), "{text}");
    }
}
