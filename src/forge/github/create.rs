//! One attempt to open a pull request, and what GitHub's refusals of it mean.
//!
//! Invariant: only an answer of 201 is a new pull request, and only a refusal is none; all else is unclear.

use serde::Serialize;

use crate::forge::github::answer::{Action, Answer};
use crate::forge::github::client::Client;
use crate::forge::github::text;
use crate::forge::github::wire::{Detail, Pull};
use crate::forge::{ForgeError, NewPullRequest, PullRequest, RepositoryId};

/// What one attempt came to, where it was not refused for good.
pub(super) enum Created {
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

/// Asks for a draft pull request, and for a normal one where drafts are not supported and the caller wants that.
pub(super) async fn create(client: &Client, id: &RepositoryId, new: &NewPullRequest) -> Result<Created, ForgeError> {
    let action = client.action(format!("open a pull request in {id}"));
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
            Err(error @ ForgeError::RateLimited { .. }) => return Err(error),
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
