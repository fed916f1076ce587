//! What went wrong with git, in variants that are the caller's decisions.
//!
//! Invariant: the text of an error holds no credential, no control characters, and not more than a few lines.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// Most bytes of what `git` said that an error repeats.
const MAX_TEXT: usize = 2048;

/// Why git did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GitError {
    /// The credential is missing, wrong, expired, or may not do this.
    #[error("{what}")]
    Unauthorized {
        /// What happened and what to do.
        what: String,
    },
    /// No such repository, branch or commit, or not visible to this credential.
    #[error("{what}")]
    NotFound {
        /// What happened and what to do.
        what: String,
    },
    /// The other side could not be reached or broke down; trying again may help.
    #[error("{what}")]
    Unreachable {
        /// What happened.
        what: String,
    },
    /// The other side asks us to slow down.
    #[error("{what}")]
    RateLimited {
        /// What happened.
        what: String,
    },
    /// The other side understood and said no (protected branch, push rule, size): trying again will not help.
    #[error("{what}")]
    Rejected {
        /// What it said.
        what: String,
    },
    /// The branch is not where we last saw it: read it again, then decide.
    #[error("{what}")]
    Stale {
        /// What happened.
        what: String,
    },
    /// It took too long.
    #[error("{what}")]
    TimedOut {
        /// What happened and what to do.
        what: String,
    },
    /// The job was cancelled or we are shutting down.
    #[error("git was stopped because the job was cancelled or Patchwright is shutting down")]
    Cancelled,
    /// This repository has something that we cannot work with.
    #[error("{what}")]
    Unsupported {
        /// What it is and what to do.
        what: String,
    },
    /// Anything else: a person has to look.
    #[error("{what}")]
    Other {
        /// What happened.
        what: String,
    },
}

impl GitError {
    /// An error of libgit2 or of the file system while we did `what`.
    pub(crate) fn while_doing(what: &str, error: impl std::fmt::Display) -> Self {
        let said = error.to_string();
        if said.contains("unknown object format") || said.contains("extensions.") {
            return Self::Unsupported {
                what: format!("cannot {what}: {said}; only SHA-1 repositories with the files ref format are supported"),
            };
        }
        let remedy = if said.contains("is not owned by current user") {
            "; give the data folder to the user that Patchwright runs as (chown -R)"
        } else if said.contains("class=Config") || said.contains(".gitconfig") {
            "; mend the git configuration of the user that Patchwright runs as (~/.gitconfig), or set HOME to a folder \
             without one"
        } else {
            ""
        };
        Self::Other { what: format!("cannot {what}: {said}{remedy}") }
    }

    /// The same with what to do where the error tells of objects of a mirror that are damaged.
    pub(crate) fn in_mirror(self, folder: &Path) -> Self {
        const DAMAGE: [&str; 14] = [
            "class=Odb",
            "class=Zlib",
            "class=Object",
            "class=Indexer",
            "class=Tree",
            "corrupt",
            "bad object",
            "bad tree",
            "unable to read",
            "unable to parse",
            "missing necessary objects",
            "garbage at end of loose object",
            "does not match index",
            "inflate",
        ];
        let damaged = |what: &str| DAMAGE.iter().any(|text| what.contains(text));
        let advised = |what| format!("{what}; if the mirror is damaged, remove {}: it is made again", folder.display());
        match self {
            Self::Other { what } if damaged(&what) => Self::Other { what: advised(what) },
            Self::NotFound { what } if damaged(&what) => Self::NotFound { what: advised(what) },
            other => other,
        }
    }
}

type Decision = fn(String) -> GitError;

/// Texts of git, curl and the forges, and what they mean; the first line that fits decides.
const MEANINGS: [(&[&str], Decision, &str); 13] = [
    (
        &["fsck error", "fsck-objects", "error in object", "unpack-objects --strict", "error: object"],
        |what| GitError::Unsupported { what },
        "the repository holds an object that git finds malformed; repair its history (`git fsck` names the object), \
         or make a repaired copy and configure that",
    ),
    (
        &["mismatched algorithms", "unknown object format", "unsupported object format"],
        |what| GitError::Unsupported { what },
        "it is a SHA-256 repository, and only SHA-1 repositories are supported",
    ),
    // Before 403, which GitHub's secondary limits come as.
    (
        &["error: 429", "rate limit", "Rate limit", "Too many requests", "Too Many Requests"],
        |what| GitError::RateLimited { what },
        "the forge limits how much we may ask of it",
    ),
    (&["stale info"], |what| GitError::Stale { what }, "somebody else moved the branch"),
    (
        &["GH006", "GH013", "GH001", "remote rejected", "hook declined", "refusing to allow", "protected branch"],
        |what| GitError::Rejected { what },
        "the forge refuses this push; see what it says",
    ),
    (
        &["Authentication failed", "could not read Username", "terminal prompts disabled", "error: 401"],
        |what| GitError::Unauthorized { what },
        "the forge does not accept the token; check that it is right and has not expired",
    ),
    (
        &["error: 403", "Permission to", "Write access to repository not granted"],
        |what| GitError::Unauthorized { what },
        "the token may not do this; give it *Contents: write* and *Pull requests: write* for this repository",
    ),
    (
        &["error: 301", "error: 302", "error: 307", "error: 308", "unable to update url base from redirection"],
        |what| GitError::NotFound { what },
        "the address redirects elsewhere, as it does when a repository was renamed; configure its present name",
    ),
    (
        &["error: 404", "Repository not found", "does not appear to be a git repository", "does not exist"],
        |what| GitError::NotFound { what },
        "check the repository's name, and that the token can see it",
    ),
    (&["not found"], |what| GitError::NotFound { what }, "check the repository's name, and that the token can see it"),
    (
        &["dubious ownership"],
        |what| GitError::Other { what },
        "give the folder to the user that Patchwright runs as (chown -R)",
    ),
    (&["No space left", "certificate"], |what| GitError::Other { what }, "a person has to mend this"),
    (
        &[
            "Could not resolve",
            "Failed to connect",
            "Couldn't connect",
            "Connection",
            "error: 5",
            "early EOF",
            "unexpected disconnect",
            "hung up",
            "RPC failed",
            "Operation too slow",
            "transfer closed",
            "Empty reply",
            "SSL",
            "TLS",
        ],
        |what| GitError::Unreachable { what },
        "trying again may help",
    ),
];

/// The error that text on standard error (already cleaned) means.
pub(crate) fn classify(doing: &str, stderr: &str) -> GitError {
    // In a sentence the lines would run together.
    let said = if stderr.is_empty() { "git gave no reason".to_owned() } else { stderr.replace('\n', "; ") };
    for (texts, decision, remedy) in MEANINGS {
        if texts.iter().any(|text| said.contains(text)) {
            return decision(format!("cannot {doing}: {remedy}. git said: {said}"));
        }
    }
    GitError::Other { what: format!("cannot {doing}: {said}") }
}

/// Text of `git` without the credential, user names and passwords in addresses, control characters, and cut to the
/// last 2 KiB.
pub(crate) fn clean(text: &str, authorization: Option<&str>) -> String {
    static USERINFO: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"://[^/\s@]*@").ok());
    let mut text = text.to_owned();
    // The header's value is a scheme and the secret proper; each is taken out alone, too.
    for secret in authorization.into_iter().flat_map(|whole| std::iter::once(whole).chain(whole.split(' ').next_back()))
    {
        if secret.len() >= 4 {
            text = text.replace(secret, "[removed]");
        }
    }
    if let Some(userinfo) = USERINFO.as_ref() {
        text = userinfo.replace_all(&text, "://").into_owned();
    }
    let lines = text.split(['\n', '\r']).map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>());
    let text = lines.filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n");
    let start = (text.len().saturating_sub(MAX_TEXT)..text.len()).find(|at| text.is_char_boundary(*at));
    start.and_then(|start| text.get(start..)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(stderr: &str) -> String {
        let error = classify("fetch acme/web", stderr);
        format!("{error:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_git_says_becomes_a_decision() {
        for (stderr, expected) in [
            ("fatal: Authentication failed for 'https://forge.test/acme/web.git/'", "Unauthorized"),
            ("fatal: could not read Username for 'https://forge.test': terminal prompts disabled", "Unauthorized"),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 403", "Unauthorized"),
            ("remote: Repository not found.\nfatal: repository 'https://x/' not found", "NotFound"),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 301", "NotFound"),
            ("fatal: '/nowhere' does not appear to be a git repository", "NotFound"),
            ("fatal: unable to access 'https://x/': Could not resolve host: x", "Unreachable"),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 502", "Unreachable"),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 429", "RateLimited"),
            ("error: RPC failed; HTTP 429 curl 22 The requested URL returned error: 429", "RateLimited"),
            ("remote: You have exceeded a secondary rate limit.\nfatal: the URL returned error: 403", "RateLimited"),
            ("fetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF", "Unreachable"),
            ("error: object 1234: badDate: invalid author\nfatal: fsck error in packed object", "Unsupported"),
            ("fatal: mismatched algorithms: client sha1; server sha256", "Unsupported"),
            ("remote: error: GH006: Protected branch update failed for refs/heads/main.", "Rejected"),
            ("fatal: something new", "Other"),
        ] {
            assert_eq!(meaning(stderr), expected, "{stderr}");
        }
    }

    #[test]
    fn a_configuration_that_libgit2_cannot_read_is_named_as_what_has_to_be_mended() {
        for said in [
            "failed to parse config file: missing ']' in section header (in /root/.gitconfig:1); class=Config (7)",
            "failed to open '/root/.gitconfig': Permission denied; class=Os (2)",
        ] {
            let error = GitError::while_doing("open the mirror of acme/web", said).to_string();
            assert!(error.contains("(~/.gitconfig), or set HOME"), "{error}");
        }
    }

    #[test]
    fn a_damaged_mirror_is_to_be_removed_and_a_commit_that_is_not_there_says_nothing_of_damage() {
        let folder = Path::new("/data/mirrors/acme/web.git");
        let damaged = GitError::Other { what: "cannot fetch acme/web: fatal: bad object refs/heads/main".to_owned() };
        assert!(damaged.in_mirror(folder).to_string().ends_with("remove /data/mirrors/acme/web.git: it is made again"));
        let absent = GitError::NotFound { what: "cannot fetch acme/web: fatal: not found".to_owned() };
        assert_eq!(absent.clone().in_mirror(folder), absent);
    }

    #[test]
    fn neither_the_credential_nor_a_password_in_an_address_is_repeated() {
        let said = "fatal: https://bob:hunter2@forge.test/x: bad header Basic c2VjcmV0, token c2VjcmV0";
        let cleaned = clean(said, Some("Basic c2VjcmV0"));
        assert_eq!(cleaned, "fatal: https://forge.test/x: bad header [removed], token [removed]");
    }

    #[test]
    fn a_flood_is_cut_to_its_end_and_loses_its_escapes() {
        let cleaned = clean(&format!("{}\n\u{1b}[31mlast\u{7} line", "é".repeat(5000)), None);
        assert!(cleaned.len() <= MAX_TEXT && cleaned.ends_with("[31mlast line"));
        assert!(!cleaned.chars().any(|c| c.is_control() && c != '\n'));
    }
}
