//! The order of the stages: from a claimed job to its outcome.
//!
//! Invariant: every stage can be run again; what costs money or minutes is saved the moment it exists, and a later run
//! of the job starts from there.

mod bench;
mod brief;
mod finish;
pub mod journal;
pub mod prepare;
pub mod preview;
mod saved;
mod take;
mod work;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::alert::Reason;
use crate::clock::{self, Moment};
use crate::config::Config;
use crate::config::environment::Environment;
use crate::config::secret::Secrets;
use crate::context::Setback;
use crate::forge::{Forge, ForgeError};
use crate::git::{Git, GitError};
use crate::job::{Job, Lease};
use crate::outcome::Outcome;
use crate::prompt::Prompts;
use crate::publish::{self, Place};
use crate::redact::Redactor;
use crate::source::sentry::api::Sentry;
use crate::store::{Store, StoreError};
use crate::triage::before_work::TriageError;
use journal::Journal;
use prepare::Site;

/// How long to leave a forge alone that limits git: `git` does not show what the forge's `Retry-After` said. GitHub asks for
/// "at least one minute" (docs, *Best practices for using the REST API*).
const GIT_LIMIT: TimeDelta = TimeDelta::seconds(60);

/// How long a run tries to keep what it has done, and the pause between two tries.
const INSISTENCE: Duration = Duration::from_secs(120);
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// Everything outside that a run needs.
#[derive(Debug)]
pub struct Seams {
    /// The configuration.
    pub config: Config,
    /// Our environment.
    pub environment: Environment,
    /// The resolved secrets.
    pub secrets: Secrets,
    /// Takes secrets out of everything that is kept or sent.
    pub redactor: Arc<Redactor>,
    /// Where jobs are kept.
    pub store: Arc<dyn Store>,
    /// Where pull requests are opened.
    pub forge: Arc<dyn Forge>,
    /// Where evidence comes from.
    pub sentry: Sentry,
    /// The prompt templates.
    pub prompts: Prompts,
    /// This program's own executable, which supervises commands.
    pub executable: PathBuf,
}

/// One run of one job.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Everything outside.
    pub seams: Arc<Seams>,
    /// The job as it was when it was claimed.
    pub job: Job,
    /// The right to work on it.
    pub lease: Lease,
    /// Its live history.
    pub journal: Journal,
    /// Ends the run.
    pub cancel: CancellationToken,
    /// Cancelled when this process was told to end; the run may still have its grace.
    pub stopping: CancellationToken,
}

/// Why a run stopped without an outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Halt {
    /// Another worker has the job now.
    LeaseLost,
    /// The run was told to stop.
    Cancelled,
    /// Something outside is not there now; the job goes on later.
    Later {
        /// When.
        at: Moment,
        /// What is not there.
        why: String,
        /// Whether it has asked us to wait; that is no failed try.
        asked: bool,
    },
    /// A person has to look.
    Broken {
        /// What happened and what to do.
        message: String,
    },
}

/// Runs a job through all stages.
///
/// # Errors
/// [`Halt`] where the run stopped without an outcome.
pub async fn run(desk: &Desk) -> Result<Outcome, Halt> {
    let project = match prepare::triage(desk).await? {
        Ok(project) => project,
        Err(outcome) => return Ok(outcome),
    };
    let ground = match prepare::ground(desk, &project).await? {
        Ok(ground) => ground,
        Err(outcome) => return Ok(outcome),
    };
    let evidence = match prepare::evidence(desk, &ground).await? {
        Ok(evidence) => evidence,
        Err(outcome) => return Ok(outcome),
    };
    let fix = match work::fix(desk, &ground, &evidence).await? {
        Ok(fix) => fix,
        Err(outcome) => return Ok(outcome),
    };
    let proven = match finish::proof(desk, &ground, &fix).await? {
        Ok(proven) => proven,
        Err(outcome) => return Ok(outcome),
    };
    finish::publish(desk, &ground, &evidence, &fix, &proven).await
}

impl Desk {
    /// A saved piece of work of an earlier run.
    async fn saved<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Halt> {
        let Some(value) = self.seams.store.saved(self.job.id, name).await? else { return Ok(None) };
        match serde_json::from_value(value) {
            Ok(saved) => Ok(Some(saved)),
            // Written by another version: doing the work again is the safe way on.
            Err(error) => {
                tracing::warn!(job = self.job.id.0, name, %error, "a saved point could not be read; it is made again");
                Ok(None)
            }
        }
    }

    /// Keeps a piece of work.
    async fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Halt> {
        let json =
            serde_json::to_value(value).map_err(|error| Halt::broken(format!("cannot keep `{name}`: {error}")))?;
        let json = self.seams.redactor.json(json);
        self.insist(|| self.seams.store.save(&self.lease, name, &json)).await
    }

    /// Writes down what work has come to. That is worth more than a few tries: with a failed write the work would be lost,
    /// which may have cost money, and a database that is busy or full often recovers. Ends with the lease.
    async fn insist<T, W>(&self, mut write: impl FnMut() -> W) -> Result<T, Halt>
    where
        W: Future<Output = Result<T, StoreError>>,
    {
        let last = Instant::now() + INSISTENCE;
        loop {
            match write().await {
                Err(StoreError::Unavailable(error)) if Instant::now() < last => {
                    tracing::warn!(job = self.job.id.0, %error, "the run's work could not be kept; trying again");
                    tokio::select! {
                        () = self.cancel.cancelled() => return Err(Halt::Cancelled),
                        () = sleep(BETWEEN_TRIES) => {}
                    }
                }
                written => return Ok(written?),
            }
        }
    }

    /// The `git` program under our terms.
    fn git(&self) -> Result<Git, Halt> {
        self.seams.git(self.cancel.clone())
    }

    /// The branch for the job's change.
    fn branch(&self) -> String {
        publish::branch_name(&self.seams.config.git.branch_prefix, &self.job.key)
    }

    /// Where the job's change of a repository goes.
    fn place<'a>(&self, site: &'a Site, branch: &'a str) -> Place<'a> {
        let requested = self.job.alert.reason == Reason::Requested;
        Place { repository: &site.id, mirror: &site.mirror, remote: &site.remote, branch, requested }
    }
}

/// Waits for answers from outside, but not beyond the end of the run. For questions only: what changes something outside,
/// or has started a program, is not left in the middle.
async fn unless_cancelled<T, E: Into<Halt>>(
    cancel: &CancellationToken,
    question: impl Future<Output = Result<T, E>>,
) -> Result<T, Halt> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Halt::Cancelled),
        answer = question => answer.map_err(Into::into),
    }
}

/// Work on files that may take a while, off the threads of the runtime. `what` it does is for people.
async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Halt> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
    done.map_err(|error| Halt::broken(format!("cannot {what}: {error}")))
}

impl Seams {
    /// The `git` program under our terms.
    ///
    /// # Errors
    /// Where its private HOME cannot be made.
    pub fn git(&self, cancel: CancellationToken) -> Result<Git, Halt> {
        let home = self.config.data_dir.path().join("git-home");
        std::fs::create_dir_all(&home)
            .map_err(|error| Halt::broken(format!("cannot make the folder {}: {error}", home.display())))?;
        let timeout = self.config.git.transfer_timeout.0;
        Ok(Git::new(self.environment.path(), home, self.executable.clone(), timeout, cancel)
            .with_network_variables(self.environment.iter()))
    }
}

impl Halt {
    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::Broken { message: message.into() }
    }

    /// Something that may work after a pause, which the worker chooses.
    pub(crate) fn soon(why: impl Into<String>) -> Self {
        Self::Later { at: clock::now(), why: why.into(), asked: false }
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost(_) => Self::LeaseLost,
            StoreError::Unavailable(_) => Self::soon(error.to_string()),
            other => Self::broken(other.to_string()),
        }
    }
}

impl From<ForgeError> for Halt {
    fn from(error: ForgeError) -> Self {
        match error {
            ForgeError::RateLimited { retry_at, what } => Self::Later { at: retry_at, why: what, asked: true },
            ForgeError::Unavailable { what } => Self::soon(what),
            other => Self::broken(other.to_string()),
        }
    }
}

impl From<GitError> for Halt {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Cancelled => Self::Cancelled,
            GitError::RateLimited { .. } => {
                Self::Later { at: clock::now() + GIT_LIMIT, why: error.to_string(), asked: true }
            }
            GitError::Unreachable { .. } | GitError::TimedOut { .. } => Self::soon(error.to_string()),
            error => Self::broken(error.to_string()),
        }
    }
}

impl From<TriageError> for Halt {
    fn from(error: TriageError) -> Self {
        match error {
            TriageError::Store(error) => error.into(),
            TriageError::Forge(error) => error.into(),
        }
    }
}

impl From<Setback> for Halt {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Wait { until, why, asked } => Self::Later { at: until, why, asked },
            Setback::Refused { why } => Self::broken(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forge_that_limits_git_is_left_alone_for_a_minute() {
        let before = clock::now();
        let Halt::Later { at, why, asked: true } = Halt::from(GitError::RateLimited { what: "429".to_owned() }) else {
            panic!("not to be tried again")
        };
        assert!(at >= before + GIT_LIMIT && why == "429", "{at}");
    }

    #[tokio::test]
    async fn a_question_that_is_never_answered_ends_with_the_run() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let question = std::future::pending::<Result<(), Halt>>();
        assert_eq!(unless_cancelled(&cancel, question).await, Err(Halt::Cancelled));
    }
}
