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
        let own = pull_request.job == job.id;
        if let Some(outcome) = answer(state, own, job.alert.reason, pull_request.url) {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

/// What a pull request for the same issue means for a job; `own` says that this very job has opened it.
fn answer(state: PullRequestState, own: bool, reason: Reason, url: String) -> Option<Outcome> {
    match state {
        PullRequestState::Open if !own => Some(Outcome::Ignored { why: Ignored::OpenPullRequest { url } }),
        // A job that was stopped between opening its pull request and its end goes on and finds it again.
        PullRequestState::Open => None,
        // What ended in an earlier epoch was about an earlier coming of the issue; and a person may change their mind.
        _ if !own || reason == Reason::Requested => None,
        PullRequestState::Closed => Some(Outcome::Abstained { why: Abstained::ClosedByPerson { url } }),
        PullRequestState::Merged => Some(Outcome::Abstained { why: Abstained::merged(&url) }),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(state: PullRequestState, own: bool, reason: Reason) -> Option<&'static str> {
        answer(state, own, reason, "https://forge.test/1".into()).map(|outcome| outcome.name())
    }

    #[test]
    fn an_open_pull_request_of_another_job_ends_even_a_request() {
        for reason in [Reason::New, Reason::Regressed, Reason::Requested] {
            assert_eq!(name(PullRequestState::Open, false, reason), Some("ignored"));
            assert_eq!(name(PullRequestState::Open, true, reason), None);
        }
    }

    #[test]
    fn what_a_person_closed_or_merged_is_an_answer_before_an_agent_is_paid() {
        for state in [PullRequestState::Closed, PullRequestState::Merged] {
            assert_eq!(name(state, true, Reason::New), Some("abstained"));
        }
    }

    #[test]
    fn a_person_who_asks_again_is_not_held_to_the_earlier_answer() {
        for state in [PullRequestState::Closed, PullRequestState::Merged] {
            assert_eq!(name(state, true, Reason::Requested), None);
        }
    }

    #[test]
    fn an_earlier_epoch_does_not_speak_for_this_one() {
        for state in [PullRequestState::Closed, PullRequestState::Merged] {
            assert_eq!(name(state, false, Reason::Regressed), None);
        }
    }
}
