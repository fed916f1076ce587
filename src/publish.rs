//! Pushes the branch and opens the draft pull request, once, whatever crashes in between.
//!
//! Invariant: the order is read the remote tip → check the lease → push with that tip as the expected one → check the
//! lease → find or create; so a worker that lost its job can neither move a branch nor open a second pull request.

use std::time::Duration;

use crate::config::{PublishConfig, WithoutDrafts};
use crate::forge::{Forge, ForgeError, NewPullRequest, PullRequestState, Remote, RepositoryId};
use crate::git::mirror::Mirror;
use crate::git::{Git, GitError, pins, push};
use crate::job::{JobKey, Lease};
use crate::outcome::{Abstained, Opened};
use crate::redact::Redacted;
use crate::store::{KnownPullRequest, Store, StoreError};

/// The lease must hold for so much longer when something outside is about to be changed.
const MARGIN: Duration = Duration::from_secs(1);

/// A change that is ready to be published.
#[derive(Debug)]
pub struct Publication<'a> {
    /// The repository.
    pub repository: &'a RepositoryId,
    /// Our mirror of it, which holds the commit.
    pub mirror: &'a Mirror,
    /// How to reach it.
    pub remote: &'a Remote,
    /// The commit.
    pub commit: &'a str,
    /// Our branch.
    pub branch: &'a str,
    /// The branch to merge into.
    pub base_branch: &'a str,
    /// Title of the pull request.
    pub title: Redacted<String>,
    /// Its body.
    pub body: Redacted<String>,
    /// Whether a person asked for it: what was closed or merged before is then no answer.
    pub requested: bool,
    /// Labels, reviewers and the policy on drafts.
    pub settings: &'a PublishConfig,
}

/// What publishing came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Published {
    /// The pull request is there.
    Opened {
        /// The pull request.
        opened: Opened,
        /// What of labels and reviewers did not work.
        remarks: Vec<String>,
    },
    /// It was not published, on purpose.
    Abstained(Abstained),
}

/// Why publishing broke off.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store said no; a lost lease ends everything.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The transfer did not work.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The forge did not do it.
    #[error(transparent)]
    Forge(#[from] ForgeError),
}

/// The name of the branch for a job's change: the same for every run of the job, another one for every epoch.
#[must_use]
pub fn branch_name(prefix: &str, key: &JobKey) -> String {
    let issue: String = key
        .issue
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(80)
        .collect();
    match key.epoch {
        0 => format!("{prefix}/{}-{issue}", key.source),
        epoch => format!("{prefix}/{}-{issue}-{epoch}", key.source),
    }
}

/// Publishes a change.
///
/// # Errors
/// Where the store, git or the forge did not do their part; nothing was done twice, and doing all of it again is safe.
pub async fn publish(
    publication: &Publication<'_>,
    store: &dyn Store,
    lease: &Lease,
    forge: &dyn Forge,
    git: &Git,
) -> Result<Published, PublishError> {
    if let Some(end) = closed_before(publication, forge).await? {
        return Ok(Published::Abstained(end));
    }
    let pushed = match put(publication, store, lease, git).await {
        // Most likely by the push of an earlier run, which the forge has finished late: a second look tells.
        Err(PublishError::Git(GitError::Stale { .. })) => put(publication, store, lease, git).await?,
        pushed => pushed?,
    };
    let tip = match pushed {
        Ok(tip) => tip,
        Err(what) => return Ok(Published::Abstained(Abstained::Unpublishable { what })),
    };

    store.check_lease(lease, MARGIN).await?;
    let new = NewPullRequest {
        branch: publication.branch.to_owned(),
        base: publication.base_branch.to_owned(),
        title: publication.title.clone(),
        body: publication.body.clone(),
        ready_without_drafts: publication.settings.without_drafts == WithoutDrafts::OpenReady,
    };
    let pull_request = match forge.open_pull_request(publication.repository, &new).await {
        Ok(pull_request) => pull_request,
        // The base has caught up with the change, or somebody merged it by hand.
        Err(ForgeError::NothingToMerge { what }) => {
            return Ok(Published::Abstained(Abstained::Unpublishable { what }));
        }
        Err(error) => return Err(error.into()),
    };
    let repository = publication.repository.to_string();
    let known = KnownPullRequest {
        job: lease.job,
        repository: repository.clone(),
        branch: publication.branch.to_owned(),
        number: pull_request.number,
        url: pull_request.url.clone(),
        draft: pull_request.draft,
    };
    store.save_pull_request(lease, &known).await?;
    if tip.as_deref().is_some_and(|tip| tip != publication.commit) {
        // The branch was there with an earlier commit of ours, which the text of its pull request may still describe.
        forge.rewrite_pull_request(publication.repository, known.number, &new.title, &new.body).await?;
    }
    let settings = publication.settings;
    let remarks =
        forge.decorate(publication.repository, pull_request.number, &settings.labels, &settings.reviewers).await;
    Ok(Published::Opened { opened: Opened { repository, url: pull_request.url, draft: pull_request.draft }, remarks })
}

/// Puts the branch at the commit, and says where it was before; or why it is left alone.
async fn put(
    publication: &Publication<'_>,
    store: &dyn Store,
    lease: &Lease,
    git: &Git,
) -> Result<Result<Option<String>, String>, PublishError> {
    let (remote, branch) = (publication.remote, publication.branch);
    let tip = push::remote_tip(git, remote, branch).await?;
    if let Some(foreign) = foreign_tip(publication, tip.as_deref()).await? {
        return Ok(Err(foreign));
    }
    store.check_lease(lease, MARGIN).await?;
    push::push(git, publication.mirror, remote, publication.commit, branch, tip.as_deref()).await?;
    Ok(Ok(tip))
}

/// A pull request that a person has closed or merged is their answer; only another person's request goes past it.
async fn closed_before(publication: &Publication<'_>, forge: &dyn Forge) -> Result<Option<Abstained>, ForgeError> {
    if publication.requested {
        return Ok(None);
    }
    let found = forge.find_pull_request(publication.repository, publication.branch).await?;
    Ok(found.and_then(|earlier| match earlier.state {
        PullRequestState::Open => None,
        PullRequestState::Closed => Some(Abstained::ClosedByPerson { url: earlier.url }),
        PullRequestState::Merged => Some(Abstained::merged(&earlier.url)),
    }))
}

/// Commits on our branch that we did not make belong to a person and are never pushed over.
async fn foreign_tip(publication: &Publication<'_>, tip: Option<&str>) -> Result<Option<String>, GitError> {
    let Some(tip) = tip else { return Ok(None) };
    if tip == publication.commit || pins::is_pinned(publication.mirror, tip).await? {
        return Ok(None);
    }
    Ok(Some(format!(
        "branch `{}` of {} is at commit {tip}, which Patchwright did not make; delete or rename the branch to let it try again",
        publication.branch, publication.repository
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_named_after_the_issue_and_its_epoch() {
        let mut key = JobKey { source: "sentry".into(), project: "acme/web".into(), issue: "4815".into(), epoch: 0 };
        assert_eq!(branch_name("patchwright", &key), "patchwright/sentry-4815");
        key.epoch = 2;
        assert_eq!(branch_name("bots/pw", &key), "bots/pw/sentry-4815-2");
    }

    #[test]
    fn a_hostile_issue_id_cannot_name_another_ref() {
        let key =
            JobKey { source: "sentry".into(), project: "acme/web".into(), issue: "../heads/main~^:".into(), epoch: 0 };
        assert_eq!(branch_name("patchwright", &key), "patchwright/sentry----heads-main---");
    }
}
