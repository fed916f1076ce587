//! Finds and opens pull requests.
//!
//! Invariant: every POST is preceded by a look whether the pull request is there; one whose answer was lost is
//! followed by another look before anything else is sent.

use serde::Serialize;
use url::form_urlencoded;

use crate::forge::github::answer::{Action, Answer};
use crate::forge::github::client::{Client, TRIES};
use crate::forge::github::text;
use crate::forge::github::wire::{Detail, Pull, Repository};
use crate::forge::{ForgeError, NewPullRequest, PullRequest, PullRequestState, RepositoryId, RepositoryInfo};

const READ: &str = "*Pull requests: read*";
const WRITE: &str = "*Pull requests: write* and *Contents: write*";

/// What GitHub says of a repository. A renamed one answers under its new name.
pub(super) async fn repository(client: &Client, id: &RepositoryId) -> Result<RepositoryInfo, ForgeError> {
    let action = client.action(format!("look up the repository {id}"), "*Metadata: read*");
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
    let action = client.action(format!("read pull request {number} of {id}"), READ);
    client.get(&action, &format!("/repos/{}/{}/pulls/{number}", id.owner(), id.name())).await?.read(&action)
}

/// Opens a draft pull request, or returns the open one from the same branch.
pub(super) async fn open(client: &Client, id: &RepositoryId, new: &NewPullRequest) -> Result<PullRequest, ForgeError> {
    let mut tries = 0;
    loop {
        let repository = repository(client, id).await?;
        if let Some(pull) = open_from_branch(client, &repository.id, &new.branch).await? {
            return Ok(pull);
        }
        if repository.archived {
            return Err(ForgeError::Refused {
                what: format!("cannot open a pull request in {id}: the repository is archived; unarchive it first"),
            });
        }
        let unclear = match create(client, &repository.id, new).await? {
            Created::Opened(pull) => return Ok(pull),
            Created::Unclear(error) => error,
        };
        tries += 1;
        tracing::warn!(error = %unclear, tries, repository = %id, "not clear whether a pull request was opened");
        client.pause(tries).await;
        if tries == TRIES {
            // The last request, too, may have been carried out.
            return open_from_branch(client, &repository.id, &new.branch).await?.ok_or(unclear);
        }
    }
}

async fn open_from_branch(client: &Client, id: &RepositoryId, branch: &str) -> Result<Option<PullRequest>, ForgeError> {
    let pulls = from_branch(client, id, branch).await?;
    Ok(pulls.into_iter().find(|pull| pull.state == PullRequestState::Open))
}

/// All pull requests from this branch, newest first (GitHub's default order); a closed one counts, because a person
/// decided on it.
async fn from_branch(client: &Client, id: &RepositoryId, branch: &str) -> Result<Vec<PullRequest>, ForgeError> {
    let action = client.action(format!("list the pull requests of {id}"), READ);
    // Without its owner the head is ignored, and everything is returned.
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("head", &format!("{}:{branch}", id.owner()))
        .append_pair("state", "all")
        .finish();
    let route = format!("/repos/{}/{}/pulls?{query}", id.owner(), id.name());
    let pulls: Vec<Pull> = client.get(&action, &route).await?.read(&action)?;
    Ok(pulls.into_iter().filter(|pull| pull.is_from(id, branch)).map(Pull::into_pull_request).collect())
}

/// What one attempt to create came to, where it was not refused for good.
enum Created {
    Opened(PullRequest),
    /// It may have been opened, by this request or by another: look before anything else.
    Unclear(ForgeError),
}

/// The body of `POST /repos/{owner}/{repo}/pulls`.
#[derive(Serialize)]
struct Creation<'a> {
    title: String,
    body: String,
    head: &'a str,
    base: &'a str,
    draft: bool,
}

async fn create(client: &Client, id: &RepositoryId, new: &NewPullRequest) -> Result<Created, ForgeError> {
    let action = client.action(format!("open a pull request in {id}"), WRITE);
    let route = format!("/repos/{}/{}/pulls", id.owner(), id.name());
    let mut creation = Creation {
        title: text::title(new.title.as_str()),
        body: text::body(new.body.as_str()),
        head: &new.branch,
        base: &new.base,
        draft: true,
    };
    loop {
        let answer = match client.post(&action, &route, &creation).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Created::Unclear(error)),
        };
        if answer.status == 201 {
            return Ok(match answer.read::<Pull>(&action) {
                Ok(pull) => Created::Opened(pull.into_pull_request()),
                Err(error) => Created::Unclear(error),
            });
        }
        match Refusal::of(&answer) {
            Refusal::NoDrafts if creation.draft && new.ready_without_drafts => creation.draft = false,
            refusal => return refusal.resolve(&answer, &action, id, new),
        }
    }
}

/// The refusals of `POST /pulls` that mean something to us. GitHub tells them apart by text alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    AlreadyExists,
    NoCommits,
    NoDrafts,
    NoHead,
    NoBase,
    /// A redirect or a breakdown.
    NotDone,
    Other,
}

impl Refusal {
    fn of(answer: &Answer) -> Self {
        if answer.is_success() || answer.is_breakdown() || (300..400).contains(&answer.status) {
            return Self::NotDone;
        }
        if answer.status != 422 {
            return Self::Other;
        }
        let reason = answer.reason();
        let invalid = |name: &str| {
            answer.problem().errors.iter().any(|detail| {
                matches!(detail, Detail::Object { field: Some(field), code: Some(code), .. }
                    if field == name && code == "invalid")
            })
        };
        match () {
            () if reason.contains("pull request already exists") => Self::AlreadyExists,
            () if reason.contains("No commits between") => Self::NoCommits,
            () if reason.contains("Draft pull requests are not supported") => Self::NoDrafts,
            () if invalid("head") => Self::NoHead,
            () if invalid("base") => Self::NoBase,
            () => Self::Other,
        }
    }

    fn resolve(
        self,
        answer: &Answer,
        action: &Action,
        id: &RepositoryId,
        new: &NewPullRequest,
    ) -> Result<Created, ForgeError> {
        let NewPullRequest { branch, base, .. } = new;
        let what = match self {
            Self::NoCommits => {
                let what = format!("`{branch}` of {id} holds no commit that `{base}` does not have: nothing to merge");
                return Err(ForgeError::NothingToMerge { what });
            }
            Self::AlreadyExists => {
                let what = format!(
                    "cannot open a pull request in {id}: GitHub says that there is one for `{branch}`, but does not \
                     list it yet; try again"
                );
                return Ok(Created::Unclear(ForgeError::Unavailable { what }));
            }
            Self::NotDone if answer.is_success() => {
                let what = format!(
                    "cannot open a pull request in {id}: GitHub answered {} where it answers 201; try again",
                    answer.status
                );
                return Ok(Created::Unclear(ForgeError::Unavailable { what }));
            }
            Self::NotDone => return Ok(Created::Unclear(answer.refusal(action))),
            Self::Other => return Err(answer.refusal(action)),
            Self::NoDrafts => format!(
                "{id} does not support draft pull requests (private repositories on some plans): set \
                 `publish.without_drafts = \"open_ready\"` to open normal ones there"
            ),
            Self::NoHead => format!("cannot open a pull request in {id}: it has no branch `{branch}`; push it first"),
            Self::NoBase => format!(
                "cannot open a pull request in {id}: it has no branch `{base}` to merge into; check the base branch"
            ),
        };
        Err(ForgeError::Refused { what })
    }
}
