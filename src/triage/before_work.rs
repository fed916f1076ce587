//! The second half of triage, when a worker has the job: is somebody or something on it already?
//!
//! Invariant: asks, never writes; a forge that cannot be asked is an error, never a "go".

use crate::alert::Reason;
use crate::forge::{Forge, ForgeError, PullRequestState, RepositoryId};
use crate::job::Job;
use crate::outcome::{Abstained, Ignored, Outcome};
use crate::store::{KnownPullRequest, Store, StoreError};

/// Why the question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum TriageError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The forge did not answer.
    #[error(transparent)]
    Forge(#[from] ForgeError),
}

/// Looks at the pull requests that we opened for this issue; answers the outcome that ends the job, or `None` for "go".
///
/// # Errors
/// Where the store or the forge cannot be asked.
pub async fn before_work(job: &Job, store: &dyn Store, forge: &dyn Forge) -> Result<Option<Outcome>, TriageError> {
    let known = store.pull_requests(&job.key.source, &job.key.project, &job.key.issue).await?;
    for pull_request in known {
        let Some(state) = state_of(&pull_request, forge).await? else { continue };
        // A job that was stopped between opening its pull request and its end goes on and finds it again.
        let own = pull_request.job == job.id;
        match state {
            PullRequestState::Open if !own => {
                return Ok(Some(Outcome::Ignored { why: Ignored::OpenPullRequest { url: pull_request.url } }));
            }
            PullRequestState::Closed if own && job.alert.reason != Reason::Requested => {
                return Ok(Some(Outcome::Abstained { why: Abstained::ClosedByPerson { url: pull_request.url } }));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Where a pull request stands; `None` where the forge no longer has it.
async fn state_of(known: &KnownPullRequest, forge: &dyn Forge) -> Result<Option<PullRequestState>, ForgeError> {
    let Ok(repository) = known.repository.parse::<RepositoryId>() else { return Ok(None) };
    match forge.pull_request(&repository, known.number).await {
        Ok(pull_request) => Ok(Some(pull_request.state)),
        Err(ForgeError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
