//! Where repositories and pull requests live, behind one trait.
//!
//! Invariant: opening a pull request is find-or-create on its head branch, so that doing it twice makes one; a
//! credential leaves this module only inside [`Remote`].

pub mod directory;
pub mod github;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::config::check::is_repository_name;
use crate::redact::Redacted;

/// A repository's name on its forge.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryId {
    owner: String,
    name: String,
}

impl RepositoryId {
    /// The owner.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The name without its owner.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl FromStr for RepositoryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((owner, name)) if is_repository_name(text) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("`{text}` is not a repository: write `owner/name`")),
        }
    }
}

impl TryFrom<String> for RepositoryId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RepositoryId> for String {
    fn from(id: RepositoryId) -> Self {
        id.to_string()
    }
}

/// How to transfer a repository with git.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Address, without credentials.
    pub url: String,
    /// Value of the `Authorization` header for HTTP transfers.
    pub authorization: Option<SecretString>,
}

/// What the forge says of a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepositoryInfo {
    /// Its present name, which differs from the one asked for when it was renamed.
    pub id: RepositoryId,
    /// Its default branch.
    pub default_branch: String,
    /// Whether our credential may push to it; `None` where the forge does not say.
    pub can_push: Option<bool>,
    /// Whether it is archived and so cannot be changed.
    pub archived: bool,
}

/// Where a pull request stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullRequestState {
    /// Open, draft or not.
    Open,
    /// Closed without a merge.
    Closed,
    /// Merged.
    Merged,
}

/// A pull request as the forge knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// Address for a person's browser.
    pub url: String,
    /// Where it stands.
    pub state: PullRequestState,
    /// Whether it is a draft.
    pub draft: bool,
    /// The commit at the head of its branch.
    pub head: String,
}

/// What asking for a pull request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The pull request.
    pub pull_request: PullRequest,
    /// Whether this call has certainly opened it, with the text that was asked for. One that was there may say
    /// something else.
    pub created: bool,
}

/// A pull request to be opened.
#[derive(Clone, Debug)]
pub struct NewPullRequest {
    /// The branch that holds the change, already pushed.
    pub branch: String,
    /// The branch to merge into.
    pub base: String,
    /// Title, one line.
    pub title: Redacted<String>,
    /// Body, Markdown.
    pub body: Redacted<String>,
    /// Open a normal pull request where drafts are not supported, rather than fail.
    pub ready_without_drafts: bool,
}

/// Why a forge did not do what was asked; each variant is a decision for the caller.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// The credential is missing, wrong or expired.
    #[error("{what}")]
    Unauthorized {
        /// What happened and what to do.
        what: String,
    },
    /// The credential may not do this, or the repository does not exist for it.
    #[error("{what}")]
    Forbidden {
        /// What happened and what to do.
        what: String,
    },
    /// Not found, or not visible to this credential.
    #[error("{what}")]
    NotFound {
        /// What happened and what to do.
        what: String,
    },
    /// The request can never succeed as it is.
    #[error("{what}")]
    Refused {
        /// What happened and what to do.
        what: String,
    },
    /// The branch holds nothing that the base does not have.
    #[error("{what}")]
    NothingToMerge {
        /// What happened.
        what: String,
    },
    /// Too many requests; not before this moment again.
    #[error("{what}")]
    RateLimited {
        /// When to try again.
        retry_at: Moment,
        /// What happened.
        what: String,
    },
    /// The forge could not be reached or broke down; trying again may help.
    #[error("{what}")]
    Unavailable {
        /// What happened.
        what: String,
    },
}

/// One line of `patchwright doctor` about a forge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Who the credential belongs to.
    pub identity: String,
    /// Scopes or permissions that the forge reports, where it does.
    pub scopes: Option<Vec<String>>,
    /// When the credential ends, where the forge says so.
    pub expires: Option<String>,
}

/// A place where repositories and pull requests live.
#[async_trait]
pub trait Forge: Send + Sync + fmt::Debug {
    /// Its name for people, such as `GitHub`.
    fn name(&self) -> &'static str;

    /// Who we are there, and what we may do.
    async fn access(&self) -> Result<Access, ForgeError>;

    /// What the forge says of a repository.
    async fn repository(&self, id: &RepositoryId) -> Result<RepositoryInfo, ForgeError>;

    /// How to transfer a repository with git.
    async fn remote(&self, id: &RepositoryId) -> Result<Remote, ForgeError>;

    /// The newest pull request from this head branch, in any state.
    async fn find_pull_request(&self, id: &RepositoryId, branch: &str) -> Result<Option<PullRequest>, ForgeError>;

    /// One pull request by its number.
    async fn pull_request(&self, id: &RepositoryId, number: u64) -> Result<PullRequest, ForgeError>;

    /// Opens a draft pull request, or returns the open one that is there for the branch already.
    ///
    /// A request whose answer was lost is not sent again before a look whether it was carried out.
    async fn open_pull_request(&self, id: &RepositoryId, new: &NewPullRequest) -> Result<Placed, ForgeError>;

    /// Gives an open pull request another title and body, as its branch has got another commit.
    async fn rewrite_pull_request(
        &self,
        id: &RepositoryId,
        number: u64,
        title: &Redacted<String>,
        body: &Redacted<String>,
    ) -> Result<(), ForgeError>;

    /// Adds labels and asks for reviews, each on its own; returns a sentence for each that did not work.
    async fn decorate(&self, id: &RepositoryId, number: u64, labels: &[String], reviewers: &[String]) -> Vec<String>;
}
