//! What is wrong with a configuration: where, what, and what to do about it.
//!
//! Invariant: no problem repeats a value that could be a secret; it names the key and where that is written.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A position in a file; lines and columns count from 1, columns in characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Its line.
    pub line: usize,
    /// The character in that line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Whether Patchwright refuses to start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// It starts, but probably not as intended.
    Warning,
    /// It does not start.
    Error,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The dotted key, such as `worker.count` or `project[0].path`; empty where the file as a whole is meant.
    pub key: String,
    /// What is wrong, as a sentence without its full stop that names the key.
    pub what: String,
    /// What to do about it, as a clause.
    pub remedy: String,
    /// Where it is written, if it is in a file.
    pub place: Option<Place>,
}

impl Problem {
    /// A problem that keeps Patchwright from starting.
    #[must_use]
    pub fn error(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Error, key: key.into(), what: what.into(), remedy: remedy.into(), place: None }
    }

    /// A problem that a person should know of.
    #[must_use]
    pub fn warning(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(key, what, remedy) }
    }

    /// The same problem with its place.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.place = place.or(self.place);
        self
    }

    /// Whether it keeps Patchwright from starting.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `patchwright.toml:12:1: what; remedy`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}: {source}; {}", file.display(), unreadable_remedy(source))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is written there cannot be used; at least one problem, one per line when displayed.
    #[error("{}", lines(problems))]
    Invalid {
        /// Everything that was found, in the order of the file.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// The problems that were found; none where the file could not be read at all.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid { problems } => problems,
        }
    }
}

fn unreadable_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "correct its path, or write one with `patchwright init`",
        io::ErrorKind::PermissionDenied => "let the user that Patchwright runs as read it",
        io::ErrorKind::InvalidData => "save it as UTF-8 text",
        _ => "name a readable file with `--config` or `PATCHWRIGHT_CONFIG`",
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
