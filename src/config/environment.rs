//! The process environment, read once.
//!
//! Invariant: this is the only place that reads the environment; everything else is handed an [`Environment`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

/// A copy of the process environment. Of variables that are not UTF-8 only the names are kept. `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    not_text: BTreeSet<String>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable; an empty one counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The folders in which programs are looked up; those of every Unix system where `PATH` is not set.
    #[must_use]
    pub fn path(&self) -> &str {
        self.get("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin")
    }

    /// Whether a terminal may be sent colours: as <https://no-color.org> asks, and not where it is said to show none.
    #[must_use]
    pub fn wants_colours(&self) -> bool {
        self.get("NO_COLOR").is_none() && self.get("TERM").is_some_and(|name| name != "dumb")
    }

    /// The rest of it for a configuration of its own: no setting and no credential of a service that is set up here.
    #[must_use]
    pub fn without_settings(&self) -> Self {
        let ours = |name: &str| {
            name.starts_with("PATCHWRIGHT_")
                || name.starts_with("SENTRY_")
                || matches!(name, "DATABASE_URL" | "GITHUB_TOKEN")
        };
        self.iter().filter(|(name, _)| !ours(name)).collect()
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The names of the variables whose values are not UTF-8.
    pub fn not_text(&self) -> impl Iterator<Item = &str> {
        self.not_text.iter().map(String::as_str)
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            let Ok(name) = name.into().into_string() else { continue };
            match value.into().into_string() {
                Ok(value) => {
                    environment.variables.insert(name, value);
                }
                Err(_) => {
                    environment.not_text.insert(name);
                }
            }
        }
        environment
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_those_who_want_them() {
        let wants = |variables: &[(&str, &str)]| variables.iter().copied().collect::<Environment>().wants_colours();
        assert!(wants(&[("TERM", "xterm")]) && wants(&[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!wants(&[("TERM", "xterm"), ("NO_COLOR", "1")]) && !wants(&[("TERM", "dumb")]) && !wants(&[]));
    }
}
