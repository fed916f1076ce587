//! What the store promises, whatever database is behind it.
//!
//! Invariant: what `accept` returned is on disk; every write by a worker names its lease and fails with
//! [`StoreError::LeaseLost`] when a later claim has replaced it.

pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::alert::Alert;
use crate::clock::Moment;
use crate::job::{Attempt, EventKind, Job, JobEvent, JobId, Lease, Stage, State};
use crate::outcome::Outcome;
use crate::redact::Redacted;

/// Why a call to the store failed; each variant is a decision for the caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another claim has replaced this lease: stop working at once and write nothing more.
    #[error("the lease on job {0} was lost to another worker")]
    LeaseLost(JobId),
    /// There is no such job.
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    /// The job's state does not allow it.
    #[error("job {job} is {state}: {advice}")]
    NotNow {
        /// The job.
        job: JobId,
        /// The state it is in.
        state: State,
        /// What to do instead.
        advice: &'static str,
    },
    /// The database did not do it; trying again later may help.
    #[error("the database did not answer as it should: {0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// The database holds something that this version cannot read.
    #[error("the database holds something this version cannot read: {0}")]
    Corrupt(String),
}

/// A verified delivery, to be kept as it came.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Name of the source.
    pub source: String,
    /// The source's name for the kind of delivery, such as `event_alert`.
    pub resource: String,
    /// The source's id of the request.
    pub request_id: Option<String>,
    /// Headers worth keeping, without signature, authorization and cookies.
    pub headers: Vec<(String, String)>,
    /// The raw body, to be stored compressed.
    pub body: Vec<u8>,
    /// Which of the active secrets verified it (`env:NAME`, never the value).
    pub verified_by: String,
}

/// What shall become of a delivery.
#[derive(Clone, Debug)]
pub enum Intent {
    /// It starts or joins a job.
    Work {
        /// What it means.
        alert: Box<Alert>,
        /// The repository that the job's concurrency is counted against, `owner/name`.
        repository: String,
        /// See `[sentry] regression_window`.
        regression_window: Duration,
    },
    /// It is kept and answered, and nothing else happens.
    Close(Outcome),
}

/// What became of an accepted delivery.
#[derive(Clone, PartialEq, Debug)]
pub struct Accepted {
    /// Number of the delivery (of the first one, for the same bytes again).
    pub delivery: i64,
    /// `Queued`, `Attached` or `Ignored`.
    pub outcome: Outcome,
}

/// A delivery as it is kept.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// Name of the source.
    pub source: String,
    /// The source's name for the kind of delivery.
    pub resource: String,
    /// When it arrived.
    pub received_at: Moment,
    /// The raw body.
    pub body: Vec<u8>,
    /// What became of it.
    pub outcome: Outcome,
    /// The job that it belongs to.
    pub job: Option<JobId>,
}

/// A line for a job's history.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The stage that writes it.
    pub stage: Stage,
    /// What kind of line it is.
    pub kind: EventKind,
    /// The line.
    pub text: Redacted<String>,
}

/// A pull request that we opened, as the store remembers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownPullRequest {
    /// The job that opened it.
    pub job: JobId,
    /// The repository, `owner/name`.
    pub repository: String,
    /// Our branch.
    pub branch: String,
    /// The forge's number.
    pub number: u64,
    /// Address for a person's browser.
    pub url: String,
    /// Whether the forge holds it as a draft.
    pub draft: bool,
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug)]
pub struct JobFilter {
    /// Only those in this state.
    pub state: Option<State>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// Durable deliveries, jobs and their history.
///
/// All times are the database's own clock; implementations are safe to share between tasks.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Keeps a delivery and, in the same transaction, queues or finds its job.
    ///
    /// The same bytes from the same source a second time are `Ignored(Duplicate)` where they belong to a job; else they
    /// are looked at anew, and take the place of those before. For [`Intent::Work`], with the issue's newest job (highest
    /// epoch) as `last`:
    /// no `last` → a new job in epoch 0; `last` not done → `Attached`, and its alert learns what it did not know
    /// ([`Alert::joined_by`]); `last` done as `Ignored`, or the reason is `Requested` → the same job is queued again with
    /// this alert ([`Alert::followed_by`]); reason `Regressed`, unless a regression became part of `last` less than
    /// `regression_window` ago → a new job in the next epoch; else `Attached`. A job that is queued again because of an
    /// alert starts from the beginning: what was saved for its earlier alert is dropped.
    async fn accept(&self, delivery: NewDelivery, intent: Intent) -> Result<Accepted, StoreError>;

    /// Puts the jobs back whose leases have expired, and takes the next one that is due and whose repository has fewer
    /// than `per_repository` running jobs. A job that was taken up `max_runs` times without coming to an end is ended as
    /// `Opened` where it has opened pull requests, else as `Failed`; one that a person wanted stopped as `Cancelled`; one
    /// that this version cannot read as `Failed`.
    async fn claim(&self, claim: &Claim) -> Result<Option<(Job, Lease)>, StoreError>;

    /// Takes this very job for a person: even if it is not yet due, beside whatever else runs in its repository, and
    /// once more than `max_runs`; `None` where it is not queued.
    async fn claim_job(&self, job: JobId, claim: &Claim) -> Result<Option<(Job, Lease)>, StoreError>;

    /// Prolongs a lease; answers whether a person wants the job stopped.
    async fn renew(&self, lease: &Lease, length: Duration) -> Result<bool, StoreError>;

    /// Checks that the lease still holds for at least `margin`. To be called right before an effect outside.
    async fn check_lease(&self, lease: &Lease, margin: Duration) -> Result<(), StoreError>;

    /// Notes the stage that a job is in.
    async fn enter(&self, lease: &Lease, stage: Stage) -> Result<(), StoreError>;

    /// Appends to a job's history.
    async fn record(&self, lease: &Lease, events: &[NewEvent]) -> Result<(), StoreError>;

    /// Keeps a named piece of work, so that it is not done again after a crash. Replaces an earlier one of that name.
    async fn save(&self, lease: &Lease, name: &str, value: &Redacted<Value>) -> Result<(), StoreError>;

    /// A named piece of work that was kept for a job.
    async fn saved(&self, job: JobId, name: &str) -> Result<Option<Value>, StoreError>;

    /// Notes that the agent is about to be started; answers the attempt's number.
    async fn begin_attempt(&self, lease: &Lease, agent: &str) -> Result<i64, StoreError>;

    /// Notes how an attempt came out.
    async fn end_attempt(&self, lease: &Lease, number: i64, result: &Redacted<String>) -> Result<(), StoreError>;

    /// The attempts of a job, oldest first.
    async fn attempts(&self, job: JobId) -> Result<Vec<Attempt>, StoreError>;

    /// Remembers a pull request for the lease's job, at the moment the forge has confirmed it. The same address again
    /// is the same pull request.
    async fn save_pull_request(&self, lease: &Lease, pull_request: &KnownPullRequest) -> Result<(), StoreError>;

    /// The pull requests that jobs of this issue (all epochs) have opened, newest first.
    async fn pull_requests(
        &self,
        source: &str,
        project: &str,
        issue: &str,
    ) -> Result<Vec<KnownPullRequest>, StoreError>;

    /// Ends a job. The sentence of its outcome becomes the last line of its history, as it does for every end that the
    /// store itself gives to a job. One that is to be ignored for what its alert, completed meanwhile, says otherwise
    /// ([`crate::outcome::Ignored::holds_for`]) goes back to the queue instead.
    async fn finish(&self, lease: &Lease, outcome: &Redacted<Outcome>) -> Result<(), StoreError>;

    /// Hands a job back, to be taken up again at `at`. `counts` says whether this run counts against `max_runs`.
    /// A job that a person wants stopped ends as `Cancelled` instead.
    async fn hand_back(&self, lease: &Lease, at: Moment, counts: bool) -> Result<(), StoreError>;

    /// One job.
    async fn job(&self, job: JobId) -> Result<Job, StoreError>;

    /// Jobs, newest first; one that this version cannot read is [`StoreError::Corrupt`] in its place.
    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Result<Job, StoreError>>, StoreError>;

    /// A job's history after position `after`, at most `limit` lines.
    async fn events(&self, job: JobId, after: i64, limit: u32) -> Result<Vec<JobEvent>, StoreError>;

    /// The newest deliveries of a job, at most so many, oldest first. An alert storm is one job with any number of them.
    async fn deliveries(&self, job: JobId, newest: u32) -> Result<Vec<Delivery>, StoreError>;

    /// How many deliveries a job has.
    async fn delivery_count(&self, job: JobId) -> Result<u64, StoreError>;

    /// One delivery.
    async fn delivery(&self, id: i64) -> Result<Option<Delivery>, StoreError>;

    /// Asks for a job to be stopped: a queued one ends at once, and so does one whose lease has run out; a running one ends
    /// when its worker hears of it. Answers the state it is in then; a job that is done is [`StoreError::NotNow`].
    async fn cancel(&self, job: JobId) -> Result<State, StoreError>;

    /// Queues a job again that is done and is the newest of its issue. With `fresh`, what was saved of the earlier run is
    /// dropped; pull requests are never forgotten.
    async fn retry(&self, job: JobId, fresh: bool) -> Result<(), StoreError>;

    /// What tells this database from every other one, for as long as it is kept.
    async fn identity(&self) -> Result<String, StoreError>;

    /// Whether the database can be written to.
    async fn check(&self) -> Result<(), StoreError>;

    /// Ends the connections after the calls under way; every later call is [`StoreError::Unavailable`].
    async fn close(&self);
}

/// The terms of a claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Name of the worker.
    pub owner: String,
    /// How long the lease holds.
    pub lease: Duration,
    /// Most running jobs for one repository.
    pub per_repository: usize,
    /// Most runs of one job.
    pub max_runs: u32,
    /// Jobs and fences of runs that this very process holds. Their leases are not taken for expired, however late it seems
    /// to be: the clock may have jumped.
    pub alive: Vec<(JobId, i64)>,
}
