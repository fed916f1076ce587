//! Repositories and pull requests on github.com or a GitHub Enterprise.
//!
//! Invariant: only this file and its parts know octocrab; its retries are off, its models unused, each call bounded.

mod address;
mod answer;
mod client;
mod create;
mod decorate;
mod pulls;
mod text;
mod wire;

use std::fmt;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use self::address::Address;
use self::answer::NEEDS;
use self::client::Client;
pub use self::client::Timing;
use self::wire::{Pull, User};
use crate::forge::{
    Access, Forge, ForgeError, NewPullRequest, Placed, PullRequest, Remote, RepositoryId, RepositoryInfo,
};
use crate::redact::Redacted;

/// A GitHub, seen through one token.
pub struct GitHub {
    address: Address,
    token: Option<SecretString>,
    client: Client,
}

impl GitHub {
    /// The GitHub whose REST API is at `api_url`: `https://api.github.com`, or `https://HOST/api/v3`. Without a token
    /// only public repositories can be read. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ForgeError::Refused`] for an address that a token may not be sent to, [`ForgeError::Unauthorized`] for a
    /// token that cannot be one.
    pub fn new(api_url: &str, token: Option<SecretString>) -> Result<Self, ForgeError> {
        Self::with_timing(api_url, token, Timing::default())
    }

    /// As [`GitHub::new`], with other waiting times.
    ///
    /// # Errors
    /// As [`GitHub::new`].
    pub fn with_timing(api_url: &str, token: Option<SecretString>, timing: Timing) -> Result<Self, ForgeError> {
        let address = Address::parse(api_url)?;
        let client = Client::new(&address, token.clone(), timing)?;
        Ok(Self { address, token, client })
    }
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("api", &self.address.api.as_str()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Forge for GitHub {
    fn name(&self) -> &'static str {
        "GitHub"
    }

    async fn access(&self) -> Result<Access, ForgeError> {
        let action = self.client.action("sign in".to_owned());
        if self.token.is_none() {
            return Err(ForgeError::Unauthorized {
                what: format!(
                    "no GitHub token is configured, so only public repositories can be read: set GITHUB_TOKEN, or \
                     `forge.token` in patchwright.toml, to a token with {NEEDS}"
                ),
            });
        }
        let answer = match self.client.get(&action, "/user").await {
            // The token of an app's installation works, but belongs to no user.
            Err(ForgeError::Forbidden { what }) if what.contains("Resource not accessible by integration") => {
                return Ok(Access { identity: "an app's installation".to_owned(), scopes: None, expires: None });
            }
            answer => answer?,
        };
        // Fine-grained tokens have no such header; a classic one without scopes has an empty one.
        let scopes = answer.header("x-oauth-scopes").map(|scopes| {
            scopes.split(',').map(|scope| scope.trim().to_owned()).filter(|scope| !scope.is_empty()).collect()
        });
        let expires = answer.header("github-authentication-token-expiration").map(str::to_owned);
        Ok(Access { identity: answer.read::<User>(&action)?.login, scopes, expires })
    }

    async fn repository(&self, id: &RepositoryId) -> Result<RepositoryInfo, ForgeError> {
        pulls::repository(&self.client, id).await
    }

    async fn remote(&self, id: &RepositoryId) -> Result<Remote, ForgeError> {
        // GitHub takes every kind of token under this user name (docs, *Authenticating as a GitHub App installation*).
        let authorization = self.token.as_ref().map(|token| {
            let pair = SecretString::from(format!("x-access-token:{}", token.expose_secret()));
            SecretString::from(format!("Basic {}", STANDARD.encode(pair.expose_secret())))
        });
        Ok(Remote { url: self.address.repository(id), authorization })
    }

    async fn find_pull_request(&self, id: &RepositoryId, branch: &str) -> Result<Option<PullRequest>, ForgeError> {
        pulls::newest(&self.client, id, branch).await
    }

    async fn pull_request(&self, id: &RepositoryId, number: u64) -> Result<PullRequest, ForgeError> {
        pulls::by_number(&self.client, id, number).await.map(Pull::into_pull_request)
    }

    async fn open_pull_request(&self, id: &RepositoryId, new: &NewPullRequest) -> Result<Placed, ForgeError> {
        pulls::open(&self.client, id, new).await
    }

    async fn rewrite_pull_request(
        &self,
        id: &RepositoryId,
        number: u64,
        title: &Redacted<String>,
        body: &Redacted<String>,
    ) -> Result<(), ForgeError> {
        pulls::rewrite(&self.client, id, number, title.as_str(), body.as_str()).await
    }

    async fn decorate(&self, id: &RepositoryId, number: u64, labels: &[String], reviewers: &[String]) -> Vec<String> {
        decorate::decorate(&self.client, id, number, labels, reviewers).await
    }
}
