//! The stores under test, and the words in which the contracts are told.
//!
//! Invariant: every store is a fresh one on a disk of its own, and nothing here knows how it keeps things.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use patchwright::alert::{Alert, Reason};
use patchwright::clock::{self, Moment};
use patchwright::job::{EventKind, Job, JobId, Lease, Stage, State};
use patchwright::outcome::{Ignored, Opened, Outcome};
use patchwright::redact::{Redacted, Redactor};
use patchwright::store::sqlite::SqliteStore;
use patchwright::store::{Accepted, Claim, Intent, JobFilter, KnownPullRequest, NewDelivery, NewEvent, Store};
use serde_json::Value;

/// A database that can be opened more than once.
#[async_trait]
pub(super) trait Database: Send + Sync {
    /// A store on it, as a program that starts would open it.
    async fn open(&self) -> Arc<dyn Store>;
}

/// A SQLite file in a folder that is removed in the end.
pub(super) struct SqliteFile(tempfile::TempDir);

impl SqliteFile {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One in memory where the machine has a file system for it, for tests that make hundreds and never ask what a disk
    /// keeps.
    pub(super) fn fleeting() -> Self {
        Self(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }
}

#[async_trait]
impl Database for SqliteFile {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0.path().join("patchwright.db")).await.unwrap())
    }
}

/// Makes a test of each contract for each kind of database.
macro_rules! contracts {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(&crate::store::given::SqliteFile::new()).await;
                }
            )*
        }
    };
}
pub(super) use contracts;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// An alert about an issue of `acme/web`.
pub(super) fn alert(issue: &str, reason: Reason) -> Alert {
    Alert {
        source: "sentry".into(),
        org: "acme".into(),
        project: "web".into(),
        issue: issue.into(),
        reason,
        short_id: Some(format!("WEB-{issue}")),
        title: "KeyError: 'total' — größer als Ω".into(),
        level: Some("error".into()),
        environment: Some("production".into()),
        release: None,
        event_id: None,
        web_url: None,
    }
}

/// A delivery with these bytes.
pub(super) fn delivery_of(body: &[u8]) -> NewDelivery {
    NewDelivery {
        source: "sentry".into(),
        resource: "event_alert".into(),
        request_id: Some("5e0c7b1b".into()),
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_vec(),
        verified_by: "env:SENTRY_WEBHOOK_SECRET".into(),
    }
}

/// A delivery whose bytes no other delivery has.
pub(super) fn delivery() -> NewDelivery {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    delivery_of(format!("{{\"number\":{}}}", NEXT.fetch_add(1, Ordering::Relaxed)).as_bytes())
}

/// To work on an alert in a repository, with a long regression window.
pub(super) fn work_in(repository: &str, alert: Alert) -> Intent {
    Intent::Work { alert: Box::new(alert), repository: repository.into(), regression_window: HOUR }
}

/// To work on an alert in `acme/web`, with a long regression window.
pub(super) fn work(alert: Alert) -> Intent {
    work_in("acme/web", alert)
}

/// To work on an alert, where an issue that comes back is new work at once.
pub(super) fn work_without_window(alert: Alert) -> Intent {
    Intent::Work { alert: Box::new(alert), repository: "acme/web".into(), regression_window: Duration::ZERO }
}

/// Accepts a new delivery.
pub(super) async fn accept(store: &dyn Store, intent: Intent) -> Accepted {
    store.accept(delivery(), intent).await.unwrap()
}

/// The job of a new issue.
pub(super) async fn queued(store: &dyn Store, issue: &str) -> JobId {
    queued_in(store, "acme/web", issue).await
}

/// The job of a new issue of a repository.
pub(super) async fn queued_in(store: &dyn Store, repository: &str, issue: &str) -> JobId {
    match accept(store, work_in(repository, alert(issue, Reason::New))).await.outcome {
        Outcome::Queued { job } => job,
        other => panic!("issue {issue} was not new: {other}"),
    }
}

/// A claim with room for everything and a long lease.
pub(super) fn claim() -> Claim {
    Claim { owner: "worker-a".into(), lease: HOUR, per_repository: 1_000, max_runs: 3, alive: Vec::new() }
}

/// A claim whose lease has run out as soon as it is given.
pub(super) fn claim_and_die() -> Claim {
    Claim { lease: Duration::ZERO, ..claim() }
}

/// The next job, which has to be there.
pub(super) async fn take(store: &dyn Store) -> (Job, Lease) {
    store.claim(&claim()).await.unwrap().expect("a job is due")
}

/// A job that runs.
pub(super) async fn running(store: &dyn Store, issue: &str) -> (JobId, Lease) {
    let id = queued(store, issue).await;
    let (job, lease) = take(store).await;
    assert_eq!(job.id, id);
    (id, lease)
}

/// A job that has ended with this outcome.
pub(super) async fn done(store: &dyn Store, issue: &str, outcome: Outcome) -> JobId {
    let (id, lease) = running(store, issue).await;
    store.finish(&lease, &clean(&outcome)).await.unwrap();
    id
}

pub(super) async fn state(store: &dyn Store, job: JobId) -> State {
    store.job(job).await.unwrap().state
}

pub(super) fn opened() -> Outcome {
    let opened =
        Opened { repository: "acme/web".into(), url: "https://forge.test/acme/web/pull/7".into(), draft: true };
    Outcome::Opened { pull_requests: vec![opened] }
}

pub(super) fn ignored() -> Outcome {
    Outcome::Ignored { why: Ignored::OpenPullRequest { url: "https://forge.test/acme/web/pull/7".into() } }
}

/// Jobs that can all be read, newest first.
pub(super) async fn jobs(store: &dyn Store, state: Option<State>, limit: u32) -> Vec<Job> {
    store.jobs(JobFilter { state, limit }).await.unwrap().into_iter().map(Result::unwrap).collect()
}

/// An outcome as it comes out of redaction.
pub(super) fn clean(outcome: &Outcome) -> Redacted<Outcome> {
    Redactor::default().data(outcome).unwrap()
}

/// Data as it comes out of redaction.
pub(super) fn clean_json(value: Value) -> Redacted<Value> {
    Redactor::default().json(value)
}

pub(super) fn line(text: &str) -> NewEvent {
    NewEvent { stage: Stage::Agent, kind: EventKind::Output, text: Redactor::default().text(text) }
}

pub(super) fn pull_request(job: JobId, number: u64) -> KnownPullRequest {
    KnownPullRequest {
        job,
        repository: "acme/web".into(),
        branch: format!("patchwright/web-1f-{job}"),
        number,
        url: format!("https://forge.test/acme/web/pull/{number}"),
        draft: true,
    }
}

/// A moment so many hours from now, before now where negative.
pub(super) fn in_hours(hours: i64) -> Moment {
    clock::now() + chrono::TimeDelta::hours(hours)
}
