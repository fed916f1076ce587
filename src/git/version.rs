//! Which `git` is good enough, as a fact for `patchwright doctor`.
//!
//! Invariant: a version that is not known to be safe is not said to be.

use std::fmt;
use std::str::FromStr;

/// A version of `git`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

/// The oldest `git` that has everything we use.
pub const MINIMUM: Version = Version { major: 2, minor: 40, patch: 0 };

/// The first release of each line that has the fix for CVE-2025-48384 (a carriage return in a submodule's path lets a
/// clone run a hook). Source: advisory GHSA-vwqx-4fm8-6qc9. Later lines have it from their start.
const FIXED: [Version; 8] = [
    Version { major: 2, minor: 43, patch: 7 },
    Version { major: 2, minor: 44, patch: 4 },
    Version { major: 2, minor: 45, patch: 4 },
    Version { major: 2, minor: 46, patch: 4 },
    Version { major: 2, minor: 47, patch: 3 },
    Version { major: 2, minor: 48, patch: 2 },
    Version { major: 2, minor: 49, patch: 1 },
    Version { major: 2, minor: 50, patch: 1 },
];

impl Version {
    /// Whether it has everything we use.
    #[must_use]
    pub fn is_supported(self) -> bool {
        self >= MINIMUM
    }

    /// Whether its number says that CVE-2025-48384 is fixed. A distribution may have fixed it under an older number.
    #[must_use]
    pub fn has_submodule_path_fix(self) -> bool {
        let same_line = |fixed: &&Self| (fixed.major, fixed.minor) == (self.major, self.minor);
        FIXED.iter().find(same_line).map_or_else(
            || FIXED.last().is_some_and(|last| (self.major, self.minor) > (last.major, last.minor)),
            |fixed| self >= *fixed,
        )
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = String;

    /// Reads the output of `git version`, such as `git version 2.47.3` or `git version 2.39.5 (Apple Git-154)`.
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{}` does not look like the output of `git version`", text.trim());
        let number = text.trim().strip_prefix("git version ").ok_or_else(unknown)?;
        let mut parts = number.split([' ', '.', '-']).map(|part| part.parse::<u32>().ok());
        match (parts.next().flatten(), parts.next().flatten()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor, patch: parts.next().flatten().unwrap_or(0) }),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        format!("git version {text}\n").parse().unwrap()
    }

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        assert_eq!(version("2.47.3"), Version { major: 2, minor: 47, patch: 3 });
        assert_eq!(version("2.39.5 (Apple Git-154)"), Version { major: 2, minor: 39, patch: 5 });
        assert_eq!(version("2.51.0-rc1"), Version { major: 2, minor: 51, patch: 0 });
        assert!("hub version 2".parse::<Version>().is_err());
    }

    #[test]
    fn each_line_has_its_own_first_safe_release() {
        for safe in ["2.43.7", "2.47.3", "2.50.1", "2.51.0", "3.0.0"] {
            assert!(version(safe).has_submodule_path_fix(), "{safe}");
        }
        for unsafe_one in ["2.40.0", "2.43.6", "2.47.2", "2.50.0"] {
            assert!(!version(unsafe_one).has_submodule_path_fix(), "{unsafe_one}");
        }
    }
}
