//! What a remote has: its address checked, and its branches and tags listed.
//!
//! Invariant: an address has a scheme that we allow and no credential in it.

use std::collections::BTreeMap;
use std::path::Path;

use url::Url;

use super::{Git, GitError};
use crate::forge::Remote;

/// The address of a remote, checked.
#[derive(Clone, Debug)]
pub(crate) struct Address(Url);

impl Address {
    /// Checks the address of a remote.
    pub(crate) fn of(remote: &Remote) -> Result<Self, GitError> {
        let refuse =
            |what: &str| Err(GitError::Unsupported { what: format!("cannot use the repository's address: {what}") });
        let Ok(url) = Url::parse(&remote.url) else { return refuse("it is not a URL") };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it has a user name or a password in it; configure the token as a secret instead");
        }
        match url.scheme() {
            "https" | "http" | "file" => Ok(Self(url)),
            other => refuse(&format!("the scheme `{other}` is not supported; use https")),
        }
    }

    /// `https`, `http` or `file`.
    pub(crate) fn scheme(&self) -> &str {
        self.0.scheme()
    }

    /// The address as given to git.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed address.
    pub(crate) const fn url(&self) -> &Url {
        &self.0
    }
}

/// The branches and tags of a remote.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RemoteRefs {
    /// The branch that HEAD points to.
    pub(crate) default_branch: Option<String>,
    /// Full names and what they point to (for annotated tags the tag object).
    pub(crate) refs: BTreeMap<String, String>,
}

/// Asks a remote for those of its refs that match one of the patterns.
pub(crate) async fn list(git: &Git, dir: &Path, remote: &Remote, patterns: &[&str]) -> Result<RemoteRefs, GitError> {
    let address = Address::of(remote)?;
    let mut args = vec!["ls-remote", "--quiet", "--symref", "--", address.as_str()];
    args.extend(patterns);
    let doing = format!("read the branches of {}", address.as_str());
    let refs = parse(&git.run(dir, &args, Some(remote), &[]).await?.succeeded(&doing)?.stdout);
    if refs.refs.values().any(|id| id.len() != 40) {
        let what = format!("cannot {doing}: it is a SHA-256 repository, and only SHA-1 repositories are supported");
        return Err(GitError::Unsupported { what });
    }
    Ok(refs)
}

/// Reads the output of `git ls-remote --symref`.
fn parse(text: &str) -> RemoteRefs {
    let mut found = RemoteRefs::default();
    for (value, name) in text.lines().filter_map(|line| line.split_once('\t')) {
        if let Some(target) = value.strip_prefix("ref: ") {
            if name == "HEAD" {
                found.default_branch = target.strip_prefix("refs/heads/").map(str::to_owned);
            }
        } else if (name.starts_with("refs/heads/") || name.starts_with("refs/tags/")) && !name.ends_with("^{}") {
            found.refs.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address, GitError> {
        Address::of(&Remote { url: url.to_owned(), authorization: None })
    }

    #[test]
    fn an_address_with_a_credential_or_a_strange_scheme_is_refused_without_repeating_it() {
        for url in ["https://bob:hunter2@forge.test/x.git", "ext::sh -c hunter2", "ssh://git@forge.test/x", "/tmp/x"] {
            let error = address(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(address("https://forge.test/acme/web.git").is_ok());
    }

    #[test]
    fn a_listing_gives_the_default_branch_and_the_refs_without_peeled_tags() {
        let a = "a".repeat(40);
        let found = parse(&format!(
            "ref: refs/heads/main\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/main\n{a}\trefs/tags/v1\n{a}\trefs/tags/v1^{{}}\n"
        ));
        assert_eq!(found.default_branch.as_deref(), Some("main"));
        assert_eq!(found.refs.keys().map(String::as_str).collect::<Vec<_>>(), ["refs/heads/main", "refs/tags/v1"]);
    }
}
