//! A remote: its address checked, and where one of its branches is.
//!
//! Invariant: an address has a scheme that we allow and no credential in it.

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

/// Asks a remote for the commit at the head of a branch, by its full name.
pub(crate) async fn head(git: &Git, dir: &Path, remote: &Remote, name: &str) -> Result<Option<String>, GitError> {
    let address = Address::of(remote)?;
    // With `--heads` the other side does not list tags and the refs of pull requests, which may be many.
    let args = ["ls-remote", "--quiet", "--heads", "--", address.as_str(), name];
    let doing = format!("read the branches of {}", address.as_str());
    let printed = git.run(dir, &args, Some(remote), &[]).await?.succeeded(&doing)?;
    // The name is a pattern that also fits `x/refs/heads/b`; only the exact one counts.
    let mut refs = printed.stdout.lines().filter_map(|line| line.split_once('\t'));
    Ok(refs.find(|(_, found)| *found == name).map(|(id, _)| id.to_owned()))
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
}
