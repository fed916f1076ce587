//! Finds and opens pull requests.
//!
//! Invariant: every POST is preceded by a look whether the pull request is there; one whose answer was lost is
//! followed by another look before anything else is sent.

use url::form_urlencoded;

use crate::forge::github::client::{Client, TRIES};
use crate::forge::github::create::{Created, create};
use crate::forge::github::text;
use crate::forge::github::wire::{Pull, Repository};
use crate::forge::{ForgeError, NewPullRequest, Placed, PullRequest, PullRequestState, RepositoryId, RepositoryInfo};

/// What GitHub says of a repository. A renamed one answers under its new name.
pub(super) async fn repository(client: &Client, id: &RepositoryId) -> Result<RepositoryInfo, ForgeError> {
    let action = client.action(format!("look up the repository {id}"));
    let answer = client.get(&action, &format!("/repos/{}/{}", id.owner(), id.name())).await?;
    let repository: Repository = answer.read(&action)?;
    Ok(RepositoryInfo {
        id: repository.full_name,
        default_branch: repository.default_branch,
        can_push: repository.permissions.map(|permissions| permissions.push),
        archived: repository.archived,
    })
}

/// The newest pull request from this branch, in any state.
pub(super) async fn newest(
    client: &Client,
    id: &RepositoryId,
    branch: &str,
) -> Result<Option<PullRequest>, ForgeError> {
    // The filter by head names the owner, so it has to be the present one.
    let id = repository(client, id).await?.id;
    let pulls = from_branch(client, &id, branch).await?;
    Ok(pulls.into_iter().max_by_key(|pull| pull.number))
}

/// One pull request by its number.
pub(super) async fn by_number(client: &Client, id: &RepositoryId, number: u64) -> Result<Pull, ForgeError> {
    let action = client.action(format!("read pull request {number} of {id}"));
    client.get(&action, &format!("/repos/{}/{}/pulls/{number}", id.owner(), id.name())).await?.read(&action)
}

/// Opens a draft pull request, or returns the open one from the same branch.
pub(super) async fn open(client: &Client, id: &RepositoryId, new: &NewPullRequest) -> Result<Placed, ForgeError> {
    let mut tries = 0;
    loop {
        let repository = repository(client, id).await?;
        if let Some(pull_request) = open_from_branch(client, &repository.id, &new.branch).await? {
            return Ok(Placed { pull_request, created: false });
        }
        if repository.archived {
            return Err(ForgeError::Refused {
                what: format!("cannot open a pull request in {id}: the repository is archived; unarchive it first"),
            });
        }
        let unclear = match create(client, &repository.id, new).await? {
            Created::Opened(pull_request) => return Ok(Placed { pull_request, created: true }),
            Created::Unclear(error) => error,
        };
        tries += 1;
        tracing::warn!(error = %unclear, tries, repository = %id, "not clear whether a pull request was opened");
        client.pause(tries).await;
        if tries == TRIES {
            // The last request, too, may have been carried out.
            let pull_request = open_from_branch(client, &repository.id, &new.branch).await?.ok_or(unclear)?;
            return Ok(Placed { pull_request, created: false });
        }
    }
}

/// Gives a pull request another title and body.
pub(super) async fn rewrite(
    client: &Client,
    id: &RepositoryId,
    number: u64,
    title: &str,
    body: &str,
) -> Result<(), ForgeError> {
    // A PATCH to the old name of a renamed repository is not carried out.
    let id = repository(client, id).await?.id;
    let action = client.action(format!("describe pull request {number} of {id} anew"));
    let route = format!("/repos/{}/{}/pulls/{number}", id.owner(), id.name());
    let text = serde_json::json!({ "title": text::title(title), "body": text::body(body) });
    client.patch(&action, &route, &text).await.map(drop)
}

async fn open_from_branch(client: &Client, id: &RepositoryId, branch: &str) -> Result<Option<PullRequest>, ForgeError> {
    let pulls = from_branch(client, id, branch).await?;
    Ok(pulls.into_iter().find(|pull| pull.state == PullRequestState::Open))
}

/// All pull requests from this branch, newest first (GitHub's default order); a closed one counts, because a person
/// decided on it.
async fn from_branch(client: &Client, id: &RepositoryId, branch: &str) -> Result<Vec<PullRequest>, ForgeError> {
    let action = client.action(format!("list the pull requests of {id}"));
    // Without its owner the head is ignored, and everything is returned.
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("head", &format!("{}:{branch}", id.owner()))
        .append_pair("state", "all")
        .finish();
    let route = format!("/repos/{}/{}/pulls?{query}", id.owner(), id.name());
    let pulls: Vec<Pull> = client.get(&action, &route).await?.read(&action)?;
    Ok(pulls.into_iter().filter(|pull| pull.is_from(id, branch)).map(Pull::into_pull_request).collect())
}
