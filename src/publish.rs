//! Pushes the branch and opens the draft pull request, once, whatever crashes in between.
//!
//! Invariant: the order is read the remote tip → check the lease → push with that tip as the expected one → check the
//! lease → find or create; so a worker that lost its job can neither move a branch nor open a second pull request. What a
//! person has taken over, closed or merged is left as it is.

use std::time::Duration;

use crate::config::{PublishConfig, WithoutDrafts};
use crate::forge::{Forge, ForgeError, NewPullRequest, Placed, PullRequestState, Remote, RepositoryId};
use crate::git::mirror::Mirror;
use crate::git::{Git, GitError, pins, push};
use crate::job::{JobKey, Lease};
use crate::outcome::{Abstained, Opened};
use crate::redact::Redacted;
use crate::store::{KnownPullRequest, Store, StoreError};

/// The lease must hold for so much longer when something outside is about to be changed.
const MARGIN: Duration = Duration::from_secs(1);

/// Where a change goes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The repository.
    pub repository: &'a RepositoryId,
    /// Our mirror of it.
    pub mirror: &'a Mirror,
    /// How to reach it.
    pub remote: &'a Remote,
    /// Our branch.
    pub branch: &'a str,
    /// Whether a person asked for it: what was closed or merged before is then no answer.
    pub requested: bool,
}

/// A change that is ready to be published.
#[derive(Debug)]
pub struct Publication<'a> {
    /// Where it goes.
    pub place: Place<'a>,
    /// The commit, which the mirror holds.
    pub commit: &'a str,
    /// The branch to merge into.
    pub base_branch: &'a str,
    /// Title of the pull request.
    pub title: Redacted<String>,
    /// Its body.
    pub body: Redacted<String>,
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
    let placed = match put(publication, store, lease, forge, git).await {
        // Most likely by the push of an earlier run, which the forge has finished late: a second look tells.
        Err(PublishError::Git(GitError::Stale { .. })) => put(publication, store, lease, forge, git).await?,
        placed => placed?,
    };
    if let Err(end) = placed {
        return Ok(Published::Abstained(end));
    }
    let place = &publication.place;

    store.check_lease(lease, MARGIN).await?;
    let new = NewPullRequest {
        branch: place.branch.to_owned(),
        base: publication.base_branch.to_owned(),
        title: publication.title.clone(),
        body: publication.body.clone(),
        ready_without_drafts: publication.settings.without_drafts == WithoutDrafts::OpenReady,
    };
    let Placed { pull_request, created } = match forge.open_pull_request(place.repository, &new).await {
        Ok(placed) => placed,
        // The base has caught up with the change, or somebody merged it by hand.
        Err(ForgeError::NothingToMerge { what }) => {
            return Ok(Published::Abstained(Abstained::Unpublishable { what }));
        }
        Err(error) => return Err(error.into()),
    };
    let repository = place.repository.to_string();
    let known = KnownPullRequest {
        job: lease.job,
        repository: repository.clone(),
        branch: place.branch.to_owned(),
        number: pull_request.number,
        url: pull_request.url.clone(),
        draft: pull_request.draft,
    };
    store.save_pull_request(lease, &known).await?;
    // Its text may describe an earlier commit of ours: a run that was to rewrite it may have ended between push and text.
    if !created && pull_request.draft {
        forge.rewrite_pull_request(place.repository, known.number, &new.title, &new.body).await?;
    }
    let settings = publication.settings;
    let remarks = forge.decorate(place.repository, pull_request.number, &settings.labels, &settings.reviewers).await;
    Ok(Published::Opened { opened: Opened { repository, url: pull_request.url, draft: pull_request.draft }, remarks })
}

/// Puts the branch at the commit; or says why it is left alone.
async fn put(
    publication: &Publication<'_>,
    store: &dyn Store,
    lease: &Lease,
    forge: &dyn Forge,
    git: &Git,
) -> Result<Result<(), Abstained>, PublishError> {
    let (place, commit) = (&publication.place, publication.commit);
    let tip = match look(place, Some(commit), forge, git).await? {
        Ok(tip) => tip,
        Err(end) => return Ok(Err(end)),
    };
    store.check_lease(lease, MARGIN).await?;
    push::push(git, place.mirror, place.remote, commit, place.branch, tip.as_deref()).await?;
    Ok(Ok(()))
}

/// Why nothing can be published there, whatever the change will be: asked before an agent is paid.
///
/// # Errors
/// Where the forge cannot be asked.
pub async fn answered(place: &Place<'_>, forge: &dyn Forge, git: &Git) -> Result<Option<Abstained>, PublishError> {
    Ok(look(place, None, forge, git).await?.err())
}

/// The commit at the head of our branch, where a change may take its place; or why none may.
async fn look(
    place: &Place<'_>,
    commit: Option<&str>,
    forge: &dyn Forge,
    git: &Git,
) -> Result<Result<Option<String>, Abstained>, PublishError> {
    let found = forge.find_pull_request(place.repository, place.branch).await?;
    let tip = push::remote_tip(git, place.remote, place.branch).await?;
    // A run that was cut off after its push goes on, whatever a person did with the pull request since.
    let is_there = tip.is_some() && tip.as_deref() == commit;
    let decided = found.and_then(|earlier| match earlier.state {
        PullRequestState::Open if earlier.draft || is_there => None,
        PullRequestState::Open => Some(Abstained::TakenOver { url: earlier.url }),
        // Their answer; only another person's request goes past it.
        _ if place.requested => None,
        PullRequestState::Closed => Some(Abstained::ClosedByPerson { url: earlier.url }),
        PullRequestState::Merged => Some(Abstained::merged(&earlier.url)),
    });
    if let Some(decided) = decided {
        return Ok(Err(decided));
    }
    // Commits on our branch that we did not make belong to a person and are never pushed over.
    match &tip {
        Some(tip) if !is_there && !pins::is_pinned(place.mirror, tip).await? => Ok(Err(Abstained::Unpublishable {
            what: format!(
                "branch `{}` of {} is at commit {tip}, which this Patchwright does not know; delete or rename the branch to \
                 let it try again",
                place.branch, place.repository
            ),
        })),
        _ => Ok(Ok(tip)),
    }
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
