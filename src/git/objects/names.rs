//! Which names and link targets may be published.
//!
//! Invariant: a name that means `.git` on any file system (Windows, macOS) is refused on every one, as git itself does
//! with `core.protectNTFS` and `core.protectHFS`.

/// Characters that HFS+ ignores in names (git's `utf8.c`, `next_hfs_char`).
const HFS_IGNORED: [char; 16] = [
    '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}',
    '\u{206a}', '\u{206b}', '\u{206c}', '\u{206d}', '\u{206e}', '\u{206f}', '\u{feff}',
];

/// What tools leave behind and nobody means to publish, by the name of a file or folder; only for files that the base
/// does not have.
const LITTER: [&str; 22] = [
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    ".tox",
    ".nox",
    ".venv",
    ".eggs",
    ".coverage",
    "node_modules",
    ".npm",
    ".pnpm-store",
    ".yarn-cache",
    ".gradle",
    ".bundle",
    ".phpunit.result.cache",
    ".cache",
    ".DS_Store",
    "Thumbs.db",
    "nohup.out",
    ".patchwright",
];

/// Endings of the same kind.
const LITTER_ENDINGS: [&str; 6] = [".pyc", ".pyo", ".swp", ".swo", "~", ".egg-info"];

/// Whether one component of a path means `.git` somewhere.
pub(super) fn is_dot_git(name: &str) -> bool {
    name.split('\\').map(as_seen_elsewhere).any(|seen| seen == ".git" || seen == "git~1")
}

/// Whether one component of a path means `.gitmodules` somewhere. NTFS has the short names `gitmod~1` to `gitmod~4`, and
/// where those are taken, `gi7eba~1` and the like (git's `path.c`, `is_ntfs_dotgitmodules`).
pub(crate) fn is_dot_gitmodules(name: &str) -> bool {
    name.split('\\').map(as_seen_elsewhere).any(|seen| {
        let short = seen.len() == 8
            && seen.split_once('~').is_some_and(|(start, number)| {
                (start == "gitmod" || "gi7eba".starts_with(start))
                    && number.starts_with(|c: char| c.is_ascii_digit() && c != '0')
                    && number.bytes().all(|byte| byte.is_ascii_digit())
            });
        seen == ".gitmodules" || short
    })
}

/// A name as other file systems see it. HFS+ ignores some characters. NTFS ignores dots and spaces at the end, and `:`
/// begins a stream. Both ignore case.
fn as_seen_elsewhere(name: &str) -> String {
    let seen: String = name.chars().filter(|c| !HFS_IGNORED.contains(c)).collect();
    seen.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']).to_lowercase()
}

/// Why a new name cannot be published, if it cannot.
pub(super) fn refuse_name(name: &str) -> Option<&'static str> {
    if is_dot_git(name) {
        Some("has a name that means `.git` to some file system")
    } else if name.chars().any(char::is_control) {
        Some("has control characters in its name")
    } else {
        None
    }
}

/// Whether a name is litter.
pub(super) fn is_litter(name: &str) -> bool {
    LITTER.contains(&name) || name.starts_with(".aider") || LITTER_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Why a link at `path` (from the root of the repository) cannot be published, if it cannot.
pub(super) fn refuse_link(path: &str, target: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if is_dot_gitmodules(name) {
        return Some("is a link, which git refuses for this name");
    }
    if target.is_empty() || target.starts_with('/') || target.contains(['\\', '\0']) {
        return Some("is a link to an absolute path");
    }
    let depth = path.matches('/').count();
    let parts: Vec<&str> = target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    // `..` first is exact, since a link lies in real folders. Later it could follow another link.
    let up = parts.iter().take_while(|part| **part == "..").count();
    if up > depth || parts.iter().skip(up).any(|part| *part == "..") {
        Some("is a link that leaves the repository")
    } else if parts.iter().any(|part| is_dot_git(part)) {
        Some("is a link into a `.git` folder")
    } else {
        None
    }
}

/// A path as it may be shown: control characters replaced, not longer than 200 characters.
pub(super) fn printable(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_dot_git_is_known() {
        for name in
            [".git", ".GIT", ".gIt", "git~1", "GIT~1", ".git.", ".git ", ".git::$INDEX_ALLOCATION", ".g\u{200c}it"]
        {
            assert!(is_dot_git(name), "{name:?}");
        }
        assert!(is_dot_git("a\\.git\\hooks"));
        for name in [".github", ".gitignore", "git", "git~2", ".gitattributes", "x.git"] {
            assert!(!is_dot_git(name), "{name:?}");
        }
    }

    #[test]
    fn every_spelling_of_dot_gitmodules_is_known() {
        for name in [
            ".gitmodules",
            ".GitModules",
            "gitmod~1",
            "GITMOD~4",
            "gi7eba~1",
            "gi7e~123",
            ".gitmodules ",
            ".gitmodules::$INDEX_ALLOCATION",
            ".git\u{200c}modules",
        ] {
            assert!(is_dot_gitmodules(name), "{name:?}");
            assert!(refuse_link(name, "x").is_some(), "{name:?}");
        }
        for name in ["gitmodules", ".gitmodule", "gitmod~", "gitmod~0", "gi7ebb~1", ".gitmodules.txt"] {
            assert!(!is_dot_gitmodules(name), "{name:?}");
        }
    }

    #[test]
    fn a_link_stays_in_the_repository() {
        for (path, target) in [
            ("a", "/etc/passwd"),
            ("a", "../x"),
            ("d/a", "../../x"),
            ("d/a", "b/../../../x"),
            ("a", ".git/config"),
            ("a", ".GIT"),
            ("a", ""),
            ("a", "c:\\x"),
            (".gitmodules", "x"),
        ] {
            assert!(refuse_link(path, target).is_some(), "{path} -> {target}");
        }
        for (path, target) in [("a", "b"), ("d/a", "../b"), ("d/e/a", "../../b/c"), ("a", "./b"), ("a", "b//c")] {
            assert_eq!(refuse_link(path, target), None, "{path} -> {target}");
        }
    }

    #[test]
    fn litter_is_known_by_name_and_ending() {
        assert!(is_litter("__pycache__") && is_litter("a.pyc") && is_litter(".aider.chat.history.md"));
        assert!(!is_litter("target") && !is_litter("cache") && !is_litter("a.py"));
    }
}
